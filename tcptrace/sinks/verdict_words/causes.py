"""What each cause is called, what its numbers say, and what to change: words for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tcptrace.sinks.verdict_words import listeners, sockets
from tcptrace.sinks.verdict_words.told import Told
from tcptrace.verdicts.verdict import Cause, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TITLES: Final = {
    Cause.ACCEPT_QUEUE_TOO_SMALL: "accept queue too small for its bursts",
    Cause.ACCEPT_LOOP_SLOW: "accept loop too slow",
    Cause.SYN_QUEUE_FULL: "SYN queue full",
    Cause.SYN_FLOOD_WITH_COOKIES: "SYN flood, held off by cookies",
    Cause.SYN_FLOOD_WITHOUT_COOKIES: "SYN flood, and no cookies against it",
    Cause.SOMAXCONN_CAPS_BACKLOG: "accept queue too small: somaxconn caps the listen backlog",
    Cause.REMOTE_SILENT: "remote does not answer",
    Cause.REMOTE_LATE: "remote answers late",
    Cause.REMOTE_REFUSES: "remote refuses",
    Cause.REMOTE_LISTENER_DROPS: "remote's listener drops SYNs",
    Cause.SYN_ACK_LOST: "SYN-ACKs get lost",
    Cause.CLOSE_WAIT_LEAK: "connections are never closed (CLOSE_WAIT)",
    Cause.EPHEMERAL_PORTS_IN_TIME_WAIT: "TIME_WAIT holds the ephemeral ports",
    Cause.RESET_STORM: "connections are reset",
    Cause.ABORT_ON_OVERFLOW: "accept queue overflows, and tcp_abort_on_overflow resets clients",
    Cause.HALF_OPEN_EXPIRY: "handshakes stay half-open",
}

RUNBOOK: Final = {
    Cause.ACCEPT_QUEUE_TOO_SMALL: "TcptraceAcceptQueueOverflow",
    Cause.SOMAXCONN_CAPS_BACKLOG: "TcptraceAcceptQueueOverflow",
    Cause.ABORT_ON_OVERFLOW: "TcptraceAcceptQueueOverflow",
    Cause.ACCEPT_LOOP_SLOW: "TcptraceAcceptLoopSlow",
    Cause.SYN_QUEUE_FULL: "TcptraceSynQueueFull",
    Cause.SYN_FLOOD_WITH_COOKIES: "TcptraceSynFlood",
    Cause.SYN_FLOOD_WITHOUT_COOKIES: "TcptraceSynFlood",
    Cause.HALF_OPEN_EXPIRY: "TcptraceRequestsExpiring",
    Cause.SYN_ACK_LOST: "TcptraceSynAckRetransmits",
    Cause.CLOSE_WAIT_LEAK: "TcptraceCloseWaitLeak",
    Cause.EPHEMERAL_PORTS_IN_TIME_WAIT: "TcptraceTimeWaitNearPortExhaustion",
    Cause.REMOTE_SILENT: "TcptraceSynRetransmits",
    Cause.REMOTE_LATE: "TcptraceSynRetransmits",
    Cause.REMOTE_LISTENER_DROPS: "TcptraceSynRetransmits",
    Cause.REMOTE_REFUSES: "TcptraceConnectsRefused",
    Cause.RESET_STORM: "TcptraceResets",
}
"""The alert of the same fault, and the runbook's section."""


def title(verdict: Verdict) -> str:
    """What it is called, in a few words."""
    return TITLES[verdict.cause]


def evidence(verdict: Verdict) -> list[str]:
    """What was seen, a sentence each."""
    return [text for text in _EVIDENCE[verdict.cause](Told(verdict)) if text]


def change(verdict: Verdict) -> list[str]:
    """What to change, a sentence each."""
    return [text for text in _CHANGES[verdict.cause](Told(verdict)) if text]


_EVIDENCE: Final[dict[Cause, Callable[[Told], Iterator[str]]]] = {
    Cause.ACCEPT_QUEUE_TOO_SMALL: listeners.accept_queue,
    Cause.ACCEPT_LOOP_SLOW: listeners.accept_queue,
    Cause.SOMAXCONN_CAPS_BACKLOG: listeners.accept_queue,
    Cause.ABORT_ON_OVERFLOW: listeners.accept_queue,
    Cause.SYN_QUEUE_FULL: listeners.peers_answer,
    Cause.SYN_FLOOD_WITH_COOKIES: listeners.flood,
    Cause.SYN_FLOOD_WITHOUT_COOKIES: listeners.flood,
    Cause.HALF_OPEN_EXPIRY: listeners.half_open,
    Cause.SYN_ACK_LOST: listeners.late,
    Cause.REMOTE_SILENT: sockets.silent,
    Cause.REMOTE_LATE: sockets.late,
    Cause.REMOTE_REFUSES: sockets.refuses,
    Cause.REMOTE_LISTENER_DROPS: sockets.listener_drops,
    Cause.CLOSE_WAIT_LEAK: sockets.close_wait,
    Cause.EPHEMERAL_PORTS_IN_TIME_WAIT: sockets.time_wait,
    Cause.RESET_STORM: sockets.resets,
}
_CHANGES: Final[dict[Cause, Callable[[Told], Iterator[str]]]] = {
    Cause.ACCEPT_QUEUE_TOO_SMALL: listeners.raise_limit,
    Cause.ACCEPT_LOOP_SLOW: listeners.accept_faster,
    Cause.SOMAXCONN_CAPS_BACKLOG: listeners.raise_somaxconn,
    Cause.ABORT_ON_OVERFLOW: listeners.no_abort,
    Cause.SYN_QUEUE_FULL: listeners.raise_syn_queue,
    Cause.SYN_FLOOD_WITH_COOKIES: listeners.cookies_help,
    Cause.SYN_FLOOD_WITHOUT_COOKIES: listeners.cookies_on,
    Cause.HALF_OPEN_EXPIRY: listeners.mend_path,
    Cause.SYN_ACK_LOST: listeners.mend_way_back,
    Cause.REMOTE_SILENT: sockets.look_there,
    Cause.REMOTE_LATE: sockets.look_on_the_way,
    Cause.REMOTE_REFUSES: sockets.start_it,
    Cause.REMOTE_LISTENER_DROPS: sockets.ask_listener,
    Cause.CLOSE_WAIT_LEAK: sockets.close_it,
    Cause.EPHEMERAL_PORTS_IN_TIME_WAIT: sockets.spare_ports,
    Cause.RESET_STORM: sockets.ask_sender,
}
