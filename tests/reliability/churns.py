"""Connections that come and go: are they counted, and are the sockets that are left `ss`'s?"""

from __future__ import annotations

import os
import signal
import threading
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Final

from live.namespaces import Namespace
from live.probes import Probes
from live.serving import Serving
from live.sockets import in_thread
from live.states import last_compared
from live.traffic import mix
from live.waiting import until

from .faults import NONE, Fault, lost_by
from .kernel import tcp_counters
from .rows import Row, Scene

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_PORT: Final = 8001
_CONNECTIONS: Final = 400
_ADDRESSES: Final = ("127.0.0.1", "::1")
_LOAD: Final = f"{len(_ADDRESSES)} × {_CONNECTIONS} connections, IPv4 and IPv6, ended in every way"
_STATES: Final = ("inet_sock_set_state", "tcp_set_state")
_CONNECTING: Final = ("tcp_connect", *_STATES)
_ACCEPTING: Final = (
    *("inet_csk_accept", "security_sock_graft", "tcp_v4_syn_recv_sock", "tcp_v6_syn_recv_sock"),
    *_STATES,
)
"""What a life needs in order to be counted."""
_PLAYED_S: Final = 300.0
_SNAPSHOT_S: Final = 100.0
"""A snapshot comes at least once a minute."""


def churn(attach: str, fault: Fault = NONE) -> Iterator[Row]:
    """Opens and closes connections, and compares what was opened and what is left."""
    with ExitStack() as stack:
        namespaces = _namespaces(stack)
        serving = stack.enter_context(Serving("--attach", attach, *fault.options))
        serving.wait_until_tracing()
        with fault.lasting(serving):
            _play(namespaces, stack)
        sockets = _sockets(serving, namespaces)
        scrape = serving.scrape()
        counted = [tcp_counters(one) for one in namespaces]
    scene = Scene(f"connections come and go, {attach}", _LOAD, fault.with_losses(scrape))
    healed = scrape.total("tcptrace_healed_lives_total")
    told = f"sockets by state, {healed:,} healed" if healed else "sockets by state"
    yield scene.row(told, sockets)
    for figure, name, hooks in (
        ("ActiveOpens", "tcptrace_connects_total", _CONNECTING),
        ("PassiveOpens", "tcptrace_listener_accepts_total", _ACCEPTING),
    ):
        pairs = [
            (kernel[figure], scrape.total(name, netns=one.inode))
            for kernel, one in zip(counted, namespaces, strict=True)
        ]
        yield scene.row(figure, pairs, lost_by(scrape, hooks))


def restart() -> Iterator[Row]:
    """Kills the collector, and compares what the next one finds."""
    with ExitStack() as stack:
        namespaces = _namespaces(stack)
        before = Probes.now()
        with Serving() as first:
            first.wait_until_tracing()
            _play(namespaces, stack)
            os.kill(first.pid, signal.SIGKILL)
        until(lambda: Probes.now() == before, "the probes of the killed collector to go")
        second = stack.enter_context(Serving()).wait_until_tracing()
        sockets = _sockets(second, namespaces)
    faults = "collector killed, nothing left attached, started anew"
    scene = Scene("sockets from before", _LOAD, faults)
    yield scene.row("sockets by state", sockets)


def _namespaces(stack: ExitStack) -> list[Namespace]:
    return [stack.enter_context(Namespace(f"churn-{n}")) for n in range(len(_ADDRESSES))]


def _play(namespaces: Sequence[Namespace], kept: ExitStack) -> None:
    players = [
        in_thread(partial(mix, namespace, (address, _PORT), kept, range(_CONNECTIONS)))
        for namespace, address in zip(namespaces, _ADDRESSES, strict=True)
    ]
    until(lambda: not any(map(threading.Thread.is_alive, players)), "the traffic", _PLAYED_S)


def _sockets(serving: Serving, namespaces: Sequence[Namespace]) -> list[tuple[int, int]]:
    """The kernel's sockets and ours of each state and namespace, once they agree, if they do.

    Where an event was lost, a snapshot makes it right.
    """
    return [
        pair
        for namespace in namespaces
        for pair in last_compared(serving, namespace, _SNAPSHOT_S).values()
    ]
