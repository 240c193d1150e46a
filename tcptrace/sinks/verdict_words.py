"""What each cause is called, what its numbers say, and what to change: words for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tcptrace.sinks.units import duration, plural
from tcptrace.verdicts.verdict import Cause, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_SECOND: Final = 1_000_000_000

TITLES: Final = {
    Cause.ACCEPT_QUEUE_TOO_SMALL: "accept queue too small for its bursts",
    Cause.ACCEPT_LOOP_SLOW: "accept loop too slow",
    Cause.SYN_QUEUE_FULL: "SYN queue full",
    Cause.SYN_FLOOD_WITH_COOKIES: "SYN flood, held off by cookies",
    Cause.SYN_FLOOD_WITHOUT_COOKIES: "SYN flood, and no cookies against it",
    Cause.SOMAXCONN_CAPS_BACKLOG: "accept queue too small: somaxconn caps the listen backlog",
    Cause.REMOTE_SILENT: "remote does not answer",
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
    Cause.SYN_ACK_LOST: "TcptraceRequestsExpiring",
    Cause.CLOSE_WAIT_LEAK: "TcptraceCloseWaitLeak",
    Cause.EPHEMERAL_PORTS_IN_TIME_WAIT: "TcptraceTimeWaitNearPortExhaustion",
    Cause.REMOTE_SILENT: "TcptraceSynRetransmits",
    Cause.REMOTE_LISTENER_DROPS: "TcptraceSynRetransmits",
}
"""The alert of the same fault, and the runbook's section; the others have none."""


class _Told:
    """A verdict's numbers, as text."""

    def __init__(self, verdict: Verdict) -> None:
        self.verdict = verdict
        self.figures = verdict.figures

    def number(self, key: str) -> int:
        """A figure; 0 if it isn't known."""
        return int(self.figures.get(key, 0))

    def text(self, key: str) -> str:
        """`1,204`."""
        return f"{self.number(key):,}"

    def has(self, key: str) -> bool:
        """Whether it is known, and not 0."""
        return bool(self.figures.get(key))

    def percent(self, key: str) -> str:
        """`41 %`."""
        return percent(float(self.figures.get(key, 0)))


def percent(share: float) -> str:
    """Writes `41 %`, `0.3 %`."""
    number = 100 * share
    return f"{number:.1f} %" if 0 < number < 1 else f"{number:.0f} %"


def evidence(verdict: Verdict) -> list[str]:
    """What was seen, a sentence each."""
    return [text for text in _EVIDENCE[verdict.cause](_Told(verdict)) if text]


def change(verdict: Verdict) -> list[str]:
    """What to change, a sentence each."""
    return [text for text in _CHANGES[verdict.cause](_Told(verdict)) if text]


# The accept queue.


def _accept_queue(told: _Told) -> Iterator[str]:
    limit, share = told.text("accept_queue_limit"), told.figures.get("accept_queue_full_share")
    full = f"was full in {told.percent('accept_queue_full_share')} of the seconds" if share else ""
    if not full and _drops(told):
        full = "was full"
    yield _sentence(f"its accept queue (limit {limit}) {full}" if full else "", _drops(told))
    if not full:
        mean = told.figures.get("accept_queue_mean", 0)
        yield f"{mean:,.0f} connections wait in its accept queue (limit {limit}) on average"
    yield _waiting(told)
    yield _accepting(told)


def _drops(told: _Told) -> str:
    parts = [
        plural(told.number(key), noun)
        for key, noun in (("acks_dropped", "final ACK"), ("syns_dropped", "SYN"))
        if told.has(key)
    ]
    dropped = f"{' and '.join(parts)} dropped" if parts else ""
    if told.has("acks_reset"):
        reset = f"{plural(told.number('acks_reset'), 'final ACK')} answered with RST"
        dropped = f"{reset}, {dropped}" if dropped else reset
    return dropped


def _waiting(told: _Told) -> str:
    """Which timers make clients wait."""
    delays = told.verdict.delays_ns
    if not delays:
        return ""
    by = "SYN" if told.has("syns_dropped") else "SYN-ACK"
    return f"clients wait {seconds(delays)}: the {by}'s retransmits"


def seconds(delays_ns: tuple[int, ...]) -> str:
    """Writes `1 s, 3 s`."""
    return ", ".join(f"{round(delay / _SECOND)} s" for delay in delays_ns)


def _accepting(told: _Told) -> str:
    rate = float(told.figures.get("accept_rate", 0))
    if not rate:
        return "accept() takes nobody"
    wait = told.figures.get("accept_wait_ns")
    waits = f"; connections wait {duration(int(wait))} for it" if wait is not None else ""
    return f"accept() takes {_rate(rate)}{waits}"


def _rate(rate: float) -> str:
    return f"{rate:,.0f} a second" if rate >= 10 else f"{rate:.1f} a second"  # noqa: PLR2004


def _roomy(told: _Told) -> int:
    """A limit that would have held what was dropped at once: a power of two."""
    needed = told.number("accept_queue_limit") + 1 + told.number("drops_at_once")
    return 1 << needed.bit_length()


def _raise_limit(told: _Told) -> Iterator[str]:
    limit = told.number("accept_queue_limit")
    if not told.has("drops_at_once"):
        yield f"raise the listen backlog above {limit:,} and listen again, or accept faster"
        return
    roomy, somaxconn = _roomy(told), told.number("somaxconn")
    if roomy <= somaxconn:
        note = f" (net.core.somaxconn is {somaxconn:,}, not the limit here)"
        yield f"raise the listen backlog to {roomy:,} or more{note}, or accept faster"
    else:
        yield (
            f"raise the listen backlog and net.core.somaxconn (now {somaxconn:,}) to {roomy:,} or"
            " more, or accept faster"
        )
    yield "a new limit holds from the next listen(): mostly a restart"


def _raise_somaxconn(told: _Told) -> Iterator[str]:
    roomy, somaxconn = _roomy(told), told.text("somaxconn")
    yield (
        f"raise net.core.somaxconn (now {somaxconn}) to {roomy:,} or more: the listener asked for"
        f" {somaxconn} or more and got {told.text('accept_queue_limit')}"
    )
    yield "a new limit holds from the next listen(): mostly a restart"


def _accept_faster(told: _Told) -> Iterator[str]:
    process = told.verdict.process
    if not told.figures.get("accept_rate") and process is not None:
        yield (
            f"see what process {process.pid} does instead: `cat /proc/{process.pid}/stack`, and"
            " whether it has file descriptors left (at the limit accept() fails)"
        )
    else:
        yield "accept faster: more workers or threads, nothing slow between two accept() calls"
    limits = "the limit is not the cause"
    if told.has("somaxconn"):
        limits = f"neither the limit nor net.core.somaxconn ({told.text('somaxconn')}) is the cause"
    yield f"{limits}: in a longer queue clients would only wait longer"


def _no_abort(told: _Told) -> Iterator[str]:
    yield (
        "set net.ipv4.tcp_abort_on_overflow (now 1) to 0: a dropped ACK heals by itself, a RST"
        " does not"
    )
    wait, rate = told.figures.get("accept_wait_ns", 0), told.figures.get("accept_rate", 0)
    if not rate or wait > _SECOND // 2:
        yield "then accept faster: connections wait for the process, not for room"
    else:
        yield from _raise_limit(told)


# The SYN queue.


def _syn_queue(told: _Told) -> Iterator[str]:
    share = told.percent("syn_queue_full_share")
    full = (
        f"its SYN queue (limit {told.text('syn_queue_limit')}) was full in {share} of the seconds"
    )
    dropped = (
        f"{plural(told.number('syns_dropped'), 'SYN')} dropped" if told.has("syns_dropped") else ""
    )
    yield _sentence(full if told.has("syn_queue_full_share") else "its SYN queue was full", dropped)
    if told.has("cookies_sent"):
        sent = plural(told.number("cookies_sent"), "SYN cookie")
        yield f"{sent} sent, {told.text('cookies_valid')} of them answered"
    yield _waiting(told)


def _peers_answer(told: _Told) -> Iterator[str]:
    yield from _syn_queue(told)
    yield "the peers do answer, so it is no flood: they are many, or far away"


def _flood(told: _Told) -> Iterator[str]:
    yield from _syn_queue(told)
    requests, gone = told.number("requests"), told.number("requests_expired")
    if gone:
        yield f"{gone:,} of {plural(requests, 'request')} expired without a final ACK"


def _cookies_help(told: _Told) -> Iterator[str]:  # noqa: ARG001 - as the others
    yield "nothing urgent: who answers a cookie gets in, at worst without window scaling and SACK"
    yield "drop the flood upstream; a lower net.ipv4.tcp_synack_retries frees the SYN queue sooner"


def _cookies_on(told: _Told) -> Iterator[str]:
    now = told.number("syncookies")
    yield f"set net.ipv4.tcp_syncookies (now {now}) to 1: peers that answer get in again"
    yield "then drop the flood upstream"


def _raise_syn_queue(told: _Told) -> Iterator[str]:
    if told.has("syncookies"):
        yield (
            f"raise the listen backlog (the limit is {told.text('accept_queue_limit')};"
            f" net.core.somaxconn is {told.text('somaxconn')}) and listen again"
        )
        return
    backlog, limit = told.number("max_syn_backlog"), told.number("accept_queue_limit")
    usable = backlog - (backlog >> 2)
    if told.has("max_syn_backlog") and usable <= limit:
        yield (
            f"raise net.ipv4.tcp_max_syn_backlog (now {backlog:,}, of which {usable:,} count; the"
            f" listen backlog, {limit:,}, is not the limit here), or set net.ipv4.tcp_syncookies"
            " (now 0) to 1"
        )
    else:
        yield (
            f"raise the listen backlog (now {limit:,}; net.ipv4.tcp_max_syn_backlog, {backlog:,},"
            " is not the limit here), or set net.ipv4.tcp_syncookies (now 0) to 1"
        )


# Half-open.


def _half_open(told: _Told) -> Iterator[str]:
    expired, waiting = told.number("requests_expired"), told.number("requests_unanswered")
    requests = plural(told.number("requests"), "request")
    parts = [f"{expired:,} of {requests} expired without a final ACK" if expired else ""]
    parts += [f"{waiting:,} wait for one, their SYN-ACK sent again" if waiting else ""]
    yield ", ".join(part for part in parts if part)
    yield "neither queue was full, no cookie was sent: SYN-ACKs or final ACKs get lost on the way"


def _mend_path(told: _Told) -> Iterator[str]:  # noqa: ARG001 - as the others
    yield (
        "see whether the answer takes the way that the SYN came (`ip route get CLIENT`), and what"
        " filters drop (`nft list ruleset`, conntrack); a port scan looks so too, and needs nothing"
    )


def _late(told: _Told) -> Iterator[str]:
    late = plural(told.number("syn_acks_late"), "connection")
    yield f"{late} came to be after the SYN-ACK was sent again, and nothing was dropped here"
    delays = told.verdict.delays_ns
    if delays:
        yield f"they took {seconds(delays)}: the SYN-ACK's retransmits"


def _sentence(*parts: str) -> str:
    return "; ".join(part for part in parts if part)


_EVIDENCE: Final[dict[Cause, Callable[[_Told], Iterator[str]]]] = {
    Cause.ACCEPT_QUEUE_TOO_SMALL: _accept_queue,
    Cause.ACCEPT_LOOP_SLOW: _accept_queue,
    Cause.SOMAXCONN_CAPS_BACKLOG: _accept_queue,
    Cause.ABORT_ON_OVERFLOW: _accept_queue,
    Cause.SYN_QUEUE_FULL: _peers_answer,
    Cause.SYN_FLOOD_WITH_COOKIES: _flood,
    Cause.SYN_FLOOD_WITHOUT_COOKIES: _flood,
    Cause.HALF_OPEN_EXPIRY: _half_open,
    Cause.SYN_ACK_LOST: _late,
}
_CHANGES: Final[dict[Cause, Callable[[_Told], Iterator[str]]]] = {
    Cause.ACCEPT_QUEUE_TOO_SMALL: _raise_limit,
    Cause.ACCEPT_LOOP_SLOW: _accept_faster,
    Cause.SOMAXCONN_CAPS_BACKLOG: _raise_somaxconn,
    Cause.ABORT_ON_OVERFLOW: _no_abort,
    Cause.SYN_QUEUE_FULL: _raise_syn_queue,
    Cause.SYN_FLOOD_WITH_COOKIES: _cookies_help,
    Cause.SYN_FLOOD_WITHOUT_COOKIES: _cookies_on,
    Cause.HALF_OPEN_EXPIRY: _mend_path,
    Cause.SYN_ACK_LOST: _mend_path,
}
