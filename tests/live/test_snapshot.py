"""Sockets that were there before the trace: counted from a snapshot, as `ss` counts them."""

from __future__ import annotations

import random
from collections import Counter
from contextlib import ExitStack, suppress
from functools import partial
from itertools import count, islice
from threading import Event, Thread
from typing import TYPE_CHECKING, Final

from .namespaces import Namespace, tool
from .serving import Serving
from .sockets import accept, connect, in_thread, listen, reset, wait_for_fin
from .waiting import until

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator, Mapping

_PORT: Final = 8001
_CONNECTIONS: Final = 300
_EVERY: Final = 15
"""One in so many stays open to the end, one is closed by one end only."""
_TRAFFIC_S: Final = 240.0
_PACE_S: Final = 0.05
"""Between two connections until the trace has begun: as long as that may take, they are few."""
_LINGERING: Final = 20
"""Of each kind at least."""
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


_ADDRESSES: Final = ("127.0.0.1", "::1")
_AGREE_S: Final = {"fentry": 30.0, "kprobe": 100.0}
"""A kprobe that is skipped leaves a count wrong until the next snapshot, at most a minute later."""


def test_equals_ss_when_started_in_the_middle(attach: str) -> None:
    with ExitStack() as stack:
        namespaces = [
            stack.enter_context(Namespace(f"snapshot-{6 if ':' in address else 4}"))
            for address in _ADDRESSES
        ]
        serving = stack.enter_context(Serving("--attach", attach))
        begun = Event()
        traffic = [
            in_thread(partial(_mix, namespace, address, stack, begun))
            for namespace, address in zip(namespaces, _ADDRESSES, strict=True)
        ]
        serving.wait_until_tracing()
        begun.set()
        until(lambda: not any(map(Thread.is_alive, traffic)), "the traffic to end", _TRAFFIC_S)
        for namespace in namespaces:
            _compare(serving, namespace, _AGREE_S[attach])


def _compare(serving: Serving, namespace: Namespace, agree_s: float) -> None:
    """What the exporter tells lies between what ss lists just before and just after.

    TIME_WAIT and FIN_WAIT2 run out all the while.
    """

    def differences() -> dict[str, tuple[int, int, int]]:
        before = _listed(namespace)
        told = _told(serving, namespace)
        after = _listed(namespace)
        found = {
            state: (before[state], told[state], after[state]) for state in before | told | after
        }
        return {
            state: (first, middle, last)
            for state, (first, middle, last) in found.items()
            if not min(first, last) <= middle <= max(first, last)
        }

    last: list[dict[str, tuple[int, int, int]]] = []

    def agree() -> bool:
        last.append(differences())
        return not last[-1]

    with suppress(AssertionError):
        until(agree, "the counts to be those of ss", agree_s)
    assert last[-1] == {}
    listed = _listed(namespace)
    assert listed["close_wait"] >= _LINGERING
    assert listed["established"] >= 2 * _LINGERING
    assert listed["listen"] == 1


def _mix(namespace: Namespace, address: str, stack: ExitStack, begun: Event) -> None:
    """Connections that end in every way, or don't, until the trace has begun and beyond."""
    choice = random.Random(1)  # noqa: S311 - traffic, no secret
    kept: list[socket.socket] = []
    with namespace.inside():
        listener = stack.enter_context(listen((address, _PORT)))
        for number in _numbers(begun):
            client = connect((address, _PORT))
            server = accept(listener)
            if number % _EVERY == 0:
                kept += [client, server]
                continue
            if number % _EVERY == 1:
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


def _numbers(begun: Event) -> Iterator[int]:
    """Until the trace has begun, and _CONNECTIONS more."""
    numbers = count()
    while not begun.wait(_PACE_S):
        yield next(numbers)
    yield from islice(numbers, _CONNECTIONS)


def _told(serving: Serving, namespace: Namespace) -> Counter[str]:
    states = serving.scrape().by("state", "tcptrace_sockets", netns=namespace.inode)
    return _without_zeros(states)


def _listed(namespace: Namespace) -> Counter[str]:
    rows = tool("ip", "netns", "exec", namespace.name, "ss", "-tanH").splitlines()
    states = Counter(row.split()[0] for row in rows)
    return _without_zeros({name: states[ss] for ss, name in _SS.items()})


def _without_zeros(counts: Mapping[str, int]) -> Counter[str]:
    return Counter({name: count for name, count in counts.items() if count})
