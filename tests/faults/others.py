"""Faults whose alert another one shows plainly: played for their verdicts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tcptrace.verdicts.verdict import Cause

from .plays import API, SILENT, Play

if TYPE_CHECKING:
    from .plays import Script
    from .stage import Stage


def somaxconn_caps_backlog(stage: Stage) -> Script:
    """Bursts of 20 to listen(512), of which net.core.somaxconn leaves 8."""
    stage.server.sysctl("core.somaxconn", 8)
    stage.serve(backlog=512, pause_s=0.2)
    visitors = stage.clients(stay_s=0.1)
    yield
    stage.loop.every(3, lambda: visitors.connect(stage.here, 20))


def abort_on_overflow(stage: Stage) -> Script:
    """Two bursts of 6 to listen(8), from 50 ms away; whose final ACK does not fit in is reset.

    The second burst's SYNs find room, and half of its final ACKs don't.
    """
    stage.server.sysctl("ipv4.tcp_abort_on_overflow", 1)
    stage.client.delay("wire", 50)
    stage.serve(backlog=8, pause_s=0.7)
    visitors = stage.clients(stay_s=0.1)
    yield
    stage.loop.every(1.4, lambda: visitors.connect(stage.here, 6))
    stage.loop.every(1.4, lambda: visitors.connect(stage.here, 6), 0.15)


def remote_answers_late(stage: Stage) -> Script:
    """The first SYN of a call gets lost on the way; the second one gets through."""
    flags = "tcp flags & (syn | ack) == syn"
    stage.drop(stage.client, f"tcp dport {SILENT} {flags} numgen inc mod 2 0")
    stage.serve_elsewhere(API)
    stage.serve_elsewhere(SILENT)
    callers = stage.local_clients()
    yield
    stage.loop.every(1, lambda: callers.connect((stage.there, API)))
    stage.loop.every(2.3, lambda: callers.connect((stage.there, SILENT)), 0.5)


def remote_listener_drops(stage: Stage) -> Script:
    """The server has no route back to one of the clients' addresses, and drops their SYNs."""
    stage.server.ip("route", "add", "unreachable", f"{stage.unlucky}/32")
    stage.serve()
    visitors = stage.clients()
    unlucky = stage.clients(source=stage.unlucky, patience_s=3.5)
    yield
    stage.loop.every(1, lambda: visitors.connect(stage.here))
    stage.loop.every(1, lambda: unlucky.connect(stage.here), 0.5)


OTHERS: Final = {
    "somaxconn-caps-backlog": Play(
        somaxconn_caps_backlog, 30, "TcptraceAcceptQueueOverflow", Cause.SOMAXCONN_CAPS_BACKLOG
    ),
    "abort-on-overflow": Play(
        abort_on_overflow, 30, "TcptraceAcceptQueueOverflow", Cause.ABORT_ON_OVERFLOW
    ),
    "remote-answers-late": Play(
        remote_answers_late, 30, "TcptraceSynRetransmits", Cause.REMOTE_LATE
    ),
    "remote-listener-drops": Play(
        remote_listener_drops,
        30,
        "TcptraceSynRetransmits",
        Cause.REMOTE_LISTENER_DROPS,
        is_wide=True,
    ),
}
