"""Two thousand connections in a row: every life is told, whole, and none is forgotten."""

from __future__ import annotations

from .lives import (
    CLIENT_OPENING,
    CLOSED_FIRST,
    CLOSED_SECOND,
    SERVER_OPENING,
    Lives,
    ends_of_timewait,
)
from .sockets import accept, connect, wait_for_fin
from .stage import Played, Scenario, Script, Stage, scenario

_MANY = 2000


def test_lives_are_what_was_done(played: Played, part: Scenario) -> None:
    played.check(part)


@scenario()
def two_thousand_in_a_row(stage: Stage) -> Script:
    """The kernel gives some ports out again, once their TIME_WAIT is a second old."""
    sources = []
    with stage.listen() as listener:
        for _ in range(_MANY):
            client = connect(stage.server)
            sources.append(client.getsockname())
            with accept(listener) as server:
                client.close()
                wait_for_fin(server)

    lives: Lives = yield
    partial = [life for life in lives if life.partial]
    assert not partial, f"{len(partial)} partial of {len(lives)}, such as {partial[:3]}"
    pairs = lives.pairs()
    assert [clients_life.local for clients_life, _ in pairs] == sources
    ends = ends_of_timewait([clients_life for clients_life, _ in pairs])
    for (clients_life, servers_life), (after, end) in zip(pairs, ends, strict=True):
        stage.source = clients_life.local
        assert clients_life.account() == stage.client(
            (*CLIENT_OPENING, *CLOSED_FIRST, *after), "local fin", "closed", time_wait=end
        )
        assert servers_life.account() == stage.accepted(
            (*SERVER_OPENING, *CLOSED_SECOND), "remote fin", "closed"
        )
        assert servers_life.told["accept_wait_ns"] is not None
