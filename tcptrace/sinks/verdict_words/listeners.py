"""Words for a listener's verdicts: its queues, and handshakes that stay half-open."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tcptrace.sinks.units import duration, plural
from tcptrace.sinks.verdict_words.told import clauses, rate_text, seconds

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tcptrace.sinks.verdict_words.told import Told

_SECOND: Final = 1_000_000_000

# The accept queue.


def accept_queue(told: Told) -> Iterator[str]:
    """Full, or crowded; what is dropped; how it is emptied."""
    limit, share = told.text("accept_queue_limit"), told.figures.get("accept_queue_full_share")
    full = f"was full in {told.percent('accept_queue_full_share')} of the seconds" if share else ""
    if not full and told.verdict.stage is not None:
        full = "was full"
    yield clauses(f"its accept queue (limit {limit}) {full}" if full else "", _drops(told))
    if not full:
        mean = told.figures.get("accept_queue_mean", 0)
        yield f"{mean:,.0f} connections wait in its accept queue (limit {limit}) on average"
    yield _waiting(told)
    yield _accepting(told)


def _drops(told: Told) -> str:
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


def _waiting(told: Told) -> str:
    """Which timers make clients wait."""
    delays = told.verdict.delays_ns
    if not delays:
        return ""
    by = "SYN" if told.has("syns_dropped") else "SYN-ACK"
    return f"clients wait {seconds(delays)}: the {by}'s retransmits"


def _accepting(told: Told) -> str:
    wait = told.figures.get("accept_wait_ns")
    if wait is None:
        is_read = "accept_queue_mean" in told.figures
        return "accept() takes nobody" if is_read else "no accept() was seen"
    rate = rate_text(float(told.figures.get("accept_rate", 0)))
    return f"accept() takes {rate}; connections wait {duration(int(wait))} for it"


def _roomy(told: Told) -> int:
    """A limit that would have held what was dropped at once: a power of two."""
    needed = told.number("accept_queue_limit") + 1 + told.number("drops_at_once")
    return 1 << needed.bit_length()


def raise_limit(told: Told) -> Iterator[str]:
    """A longer accept queue."""
    limit = told.number("accept_queue_limit")
    if not told.has("somaxconn"):
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


def raise_somaxconn(told: Told) -> Iterator[str]:
    """What caps it."""
    roomy, somaxconn = _roomy(told), told.text("somaxconn")
    yield (
        f"raise net.core.somaxconn (now {somaxconn}) to {roomy:,} or more: the listener asked for"
        f" {somaxconn} or more and got {told.text('accept_queue_limit')}"
    )
    yield "a new limit holds from the next listen(): mostly a restart"


def accept_faster(told: Told) -> Iterator[str]:
    """A quicker process."""
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


def no_abort(told: Told) -> Iterator[str]:
    """No RSTs, and then the accept queue."""
    yield (
        "set net.ipv4.tcp_abort_on_overflow (now 1) to 0: a dropped ACK heals by itself, a RST"
        " does not"
    )
    wait, rate = told.figures.get("accept_wait_ns", 0), told.figures.get("accept_rate", 0)
    if not rate or wait > _SECOND // 2:
        yield "then accept faster: connections wait for the process, not for room"
    else:
        yield from raise_limit(told)


# The SYN queue.


def _syn_queue(told: Told) -> Iterator[str]:
    share = told.percent("syn_queue_full_share")
    full = (
        f"its SYN queue (limit {told.text('syn_queue_limit')}) was full in {share} of the seconds"
    )
    dropped = (
        f"{plural(told.number('syns_dropped'), 'SYN')} dropped" if told.has("syns_dropped") else ""
    )
    yield clauses(full if told.has("syn_queue_full_share") else "its SYN queue was full", dropped)
    if told.has("cookies_sent"):
        sent = plural(told.number("cookies_sent"), "SYN cookie")
        yield f"{sent} sent, {told.text('cookies_valid')} of them answered"
    yield _waiting(told)


def peers_answer(told: Told) -> Iterator[str]:
    """Full, without a flood."""
    yield from _syn_queue(told)
    if told.has("defer_accept"):
        yield (
            "it takes nobody without data (TCP_DEFER_ACCEPT): who sends none stays in the SYN"
            " queue, so whether it is a flood can't be told"
        )
    else:
        yield "most peers do answer, so it is no flood: they are many, or far away"


def flood(told: Told) -> Iterator[str]:
    """Full by a flood."""
    yield from _syn_queue(told)
    requests, gone = told.number("requests"), told.number("requests_expired")
    if gone:
        yield f"{gone:,} of {plural(requests, 'request')} expired without a final ACK"


def cookies_help(told: Told) -> Iterator[str]:  # noqa: ARG001 - as the others
    """What is left to do where cookies help."""
    yield "nothing urgent: who answers a cookie gets in, at worst without window scaling and SACK"
    yield "drop the flood upstream; a lower net.ipv4.tcp_synack_retries frees the SYN queue sooner"


def cookies_on(told: Told) -> Iterator[str]:
    """Cookies."""
    now = told.number("syncookies")
    yield f"set net.ipv4.tcp_syncookies (now {now}) to 1: peers that answer get in again"
    yield "then drop the flood upstream"


def raise_syn_queue(told: Told) -> Iterator[str]:
    """A longer SYN queue."""
    if told.has("defer_accept"):
        yield "let it take connections without data (nginx: no `deferred`)"
    limit, somaxconn = told.number("accept_queue_limit"), told.number("somaxconn")
    if somaxconn <= limit:
        raised = (
            f"raise net.core.somaxconn (now {somaxconn:,}, all that it gets) and, if it asks for no"
            " more, the listen backlog; then listen again"
        )
    else:
        raised = (
            f"raise the listen backlog (the limit is {limit:,}; net.core.somaxconn is"
            f" {somaxconn:,}) and listen again"
        )
    if told.has("syncookies"):
        yield raised
        return
    backlog = told.number("max_syn_backlog")
    usable = backlog - (backlog >> 2)
    if told.has("max_syn_backlog") and usable <= limit:
        yield (
            f"raise net.ipv4.tcp_max_syn_backlog (now {backlog:,}, of which {usable:,} count; the"
            f" listen backlog, {limit:,}, is not the limit here), or set net.ipv4.tcp_syncookies"
            " (now 0) to 1"
        )
    else:
        yield (
            f"{raised} (net.ipv4.tcp_max_syn_backlog, {backlog:,}, is not the limit here), or set"
            " net.ipv4.tcp_syncookies (now 0) to 1"
        )


# Half-open.


def half_open(told: Told) -> Iterator[str]:
    """Whose final ACKs are missing."""
    expired, waiting = told.number("requests_expired"), told.number("requests_unanswered")
    requests = plural(told.number("requests"), "request")
    parts = [f"{expired:,} of {requests} expired without a final ACK" if expired else ""]
    parts += [f"{waiting:,} wait for one, their SYN-ACK sent again" if waiting else ""]
    yield ", ".join(part for part in parts if part)
    lost = "SYN-ACKs or final ACKs get lost on the way, or the senders never answer"
    yield f"neither queue was full, no cookie was sent: {lost}" if _had_room(told) else lost
    if told.has("defer_accept"):
        yield (
            "it takes nobody without data (TCP_DEFER_ACCEPT): who answered, and was gone before it"
            " sent any, looks so too"
        )


def _had_room(told: Told) -> bool:
    """Whether both queues were looked at, and were never seen full."""
    signs = ("syns_dropped", "acks_dropped", "cookies_sent")
    return (
        "syn_queue_limit" in told.figures
        and not any(map(told.has, signs))
        and told.number("accept_queue_peak") <= told.number("accept_queue_limit")
        and told.number("syn_queue_peak") < told.number("syn_queue_limit")
    )


def mend_path(told: Told) -> Iterator[str]:  # noqa: ARG001 - as the others
    """Where packets get lost."""
    yield (
        "see whether the answer takes the way that the SYN came (`ip route get CLIENT`), and what"
        " filters drop (`nft list ruleset`, conntrack); a port scan looks so too, and needs nothing"
    )


def mend_way_back(told: Told) -> Iterator[str]:  # noqa: ARG001 - as the others
    """Where SYN-ACKs get lost."""
    yield (
        "see what drops packets on the way back: this host's and the path's filters (`nft list"
        " ruleset`, conntrack), a full link (`ip -s link`), a load balancer that answers elsewhere"
    )


def late(told: Told) -> Iterator[str]:
    """SYN-ACKs that were answered late."""
    number = told.number("syn_acks_late")
    if number:
        yield (
            f"{plural(number, 'connection')} came to be after the SYN-ACK was sent again, and none"
            " of their packets was dropped here"
        )
    else:
        hurt = plural(told.verdict.hurt, "connection")
        yield (
            f"both ends are traced: to most of {hurt} from here the listener sent its SYN-ACK again"
            " and again, and it dropped none of their packets"
        )
    delays = told.verdict.delays_ns
    if delays:
        yield f"they took {seconds(delays)}: the SYN-ACK's retransmits"
    if number and "defer_accept" not in told.figures:
        yield "nobody asked whether it waits for data (TCP_DEFER_ACCEPT): quiet clients look so too"
