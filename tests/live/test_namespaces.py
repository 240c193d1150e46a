"""Two network namespaces joined by a veth pair: each life tells its own, and names the other."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from .lives import CLIENT_OPENING, CLOSED_FIRST, CLOSED_SECOND, SERVER_OPENING, Lives
from .sockets import accept, wait_for_fin, wait_until_quiet
from .stage import Played, Scenario, Script, Stage, scenario
from .waiting import until

if TYPE_CHECKING:
    from .namespaces import Namespace

_HERE = {"ipv4": "10.8.0.1", "ipv6": "fd00:8::1"}
_THERE = {"ipv4": "10.8.0.2", "ipv6": "fd00:8::2"}


def test_lives_are_what_was_done(played: Played, part: Scenario) -> None:
    played.check(part)


@scenario()
def over_ipv4(stage: Stage) -> Script:
    yield from _from_here_to_there(stage, "ipv4")


@scenario()
def over_ipv6(stage: Stage) -> Script:
    yield from _from_here_to_there(stage, "ipv6")


def _from_here_to_there(stage: Stage, family: str) -> Script:
    here, there = stage.make_namespace("-here"), stage.make_namespace("-there")
    _join(here, there)
    stage.address = _THERE[family]
    with there.inside():
        listener = stage.listen()
    with here.inside():
        client = stage.connect()
    server = accept(listener)
    listener.close()
    client.close()
    wait_for_fin(server)
    server.close()
    with there.inside():
        wait_until_quiet(stage.port, stage.address)

    lives: Lives = yield
    clients_life, servers_life = lives.pair()
    assert stage.source[0] == _HERE[family]
    assert clients_life.account() == replace(
        stage.client(
            (*CLIENT_OPENING, *CLOSED_FIRST), "local fin", "closed", time_wait="open", family=family
        ),
        netns=here.inode,
    )
    assert servers_life.account() == replace(
        stage.accepted((*SERVER_OPENING, *CLOSED_SECOND), "remote fin", "closed", family=family),
        netns=there.inode,
    )


def _join(here: Namespace, there: Namespace) -> None:
    here.ip("link", "add", "veth", "type", "veth", "peer", "name", "veth", "netns", there.name)
    for namespace, addresses in ((here, _HERE), (there, _THERE)):
        namespace.ip("address", "add", f"{addresses['ipv4']}/24", "dev", "veth")
        namespace.ip("address", "add", f"{addresses['ipv6']}/64", "dev", "veth", "nodad")
        namespace.ip("link", "set", "veth", "up")
    until(lambda: _is_up(here) and _is_up(there), "the link to be up")


def _is_up(namespace: Namespace) -> bool:
    return "state UP" in namespace.ip("link", "show", "veth")
