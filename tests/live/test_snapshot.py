"""Sockets that were there before the trace: counted from a snapshot, as `ss` counts them."""

from __future__ import annotations

import random
from collections import Counter
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final

import pytest

from .namespaces import Namespace, tool
from .serving import Serving
from .sockets import accept, connect, in_thread, listen, reset, wait_for_fin
from .waiting import until

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator, Mapping

_PORT: Final = 8001
_CONNECTIONS: Final = 1000
_LINGERING: Final = 40
"""Of each kind that stays open to the end."""
_SS: Final = {
    "ESTAB": "established",
    "SYN-SENT": "syn_sent",
    "FIN-WAIT-1": "fin_wait1",
    "FIN-WAIT-2": "fin_wait2",
    "TIME-WAIT": "time_wait",
    "CLOSE-WAIT": "close_wait",
    "LAST-ACK": "last_ack",
    "LISTEN": "listen",
    "CLOSING": "closing",
}
"""What ss calls a state, but SYN-RECV, which is two."""


@pytest.fixture(params=["127.0.0.1", "::1"])
def address(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def namespace(address: str) -> Iterator[Namespace]:
    with Namespace(f"snapshot-{6 if ':' in address else 4}") as made:
        yield made


def test_equals_ss_when_started_in_the_middle(
    namespace: Namespace, address: str, attach: str
) -> None:
    with ExitStack() as stack:
        serving = Serving("--attach", attach)
        stack.enter_context(serving)
        traffic = in_thread(lambda: _mix(namespace, address, stack))
        serving.wait_until_tracing()
        until(lambda: not traffic.is_alive(), "the traffic to end")

        def agree() -> bool:
            return _told(serving, namespace) == _listed(namespace)

        try:
            until(agree, "the counts to be those of ss", 30)
        except AssertionError:
            assert _told(serving, namespace) == _listed(namespace)
            raise
        listed = _listed(namespace)
        assert listed["close_wait"] >= _LINGERING
        assert listed["established"] >= 2 * _LINGERING
        assert listed["listen"] == 1


def _mix(namespace: Namespace, address: str, stack: ExitStack) -> None:
    """Connections that end in every way, or don't; the same ones each time."""
    choice = random.Random(1)  # noqa: S311 - traffic, no secret
    kept: list[socket.socket] = []
    with namespace.inside():
        listener = stack.enter_context(listen((address, _PORT)))
        for number in range(_CONNECTIONS):
            client = connect((address, _PORT))
            server = accept(listener)
            if number % (_CONNECTIONS // _LINGERING) == 0:
                kept += [client, server]
                continue
            if number % (_CONNECTIONS // _LINGERING) == 1:
                client.close()  # FIN_WAIT2 here, CLOSE_WAIT there
                wait_for_fin(server)
                kept.append(server)
                continue
            first, second = choice.choice([(client, server), (server, client)])
            if choice.random() < 0.3:
                reset(first)
            else:
                first.close()
                wait_for_fin(second)
            second.close()
    for end in kept:
        stack.enter_context(end)


def _told(serving: Serving, namespace: Namespace) -> Counter[str]:
    states = serving.scrape().by("state", "tcptrace_sockets", netns=namespace.inode)
    return _without_zeros(states)


def _listed(namespace: Namespace) -> Counter[str]:
    rows = tool("ip", "netns", "exec", namespace.name, "ss", "-tanH").splitlines()
    states = Counter(row.split()[0] for row in rows)
    return _without_zeros({name: states[ss] for ss, name in _SS.items()})


def _without_zeros(counts: Mapping[str, int]) -> Counter[str]:
    return Counter({name: count for name, count in counts.items() if count})
