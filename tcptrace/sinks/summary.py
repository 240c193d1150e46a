"""What a trace came to, on a screen: outcomes, waits, each listener's queues, what was missed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from tcptrace.lifecycle.connection import Listener, Role
from tcptrace.lifecycle.names import Names
from tcptrace.sinks.terminal import flow, process_text, safe_text
from tcptrace.sinks.units import duration, plural
from tcptrace.sinks.whereabouts import places
from tcptrace.sinks.words import (
    OUTCOME_COLOURS,
    OUTCOME_WORDS,
    PARTIAL_WORDS,
    STAGE_WORDS,
)
from tcptrace.wire.events import Stage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tcptrace.lifecycle.histogram import Histogram
    from tcptrace.lifecycle.summary import Summary
    from tcptrace.sinks.terminal import Paint
    from tcptrace.wire.head import Losses, TraceHead

_MAX_LISTENERS: Final = 10
_MAX_HOLDERS: Final = 5
_WIDTH: Final = 100
_ROLE_WORDS: Final = {Role.SERVER: "server", Role.CLIENT: "client", Role.UNKNOWN: "role unseen"}


class TraceFacts(NamedTuple):
    """What the summary says about the trace itself."""

    head: TraceHead
    losses: Losses
    elapsed_ns: int
    """From the trace's begin to its end."""
    unexpected: int = 0
    """Records that fitted no life."""
    names: Names | None = None
    """Of cgroups and network namespaces."""


def render_summary(
    summary: Summary, facts: TraceFacts, paint: Paint, width: int | None = None
) -> str:
    """Returns the summary's lines.

    Args:
        summary: all lives and listeners added.
        facts: the trace itself.
        paint: colours, or none.
        width: columns to wrap at; None for 100.
    """
    width = width or _WIDTH
    lines = [_title(summary, facts, paint)]
    lines += _outcomes(summary, paint, width)
    lines += _waits(summary)
    lines += _listeners(summary, paint, facts.names or Names())
    lines += _retransmits(summary, paint)
    lines += [paint(line, "warn") for line in _doubts(summary, facts, width)]
    return "\n".join(lines)


def _title(summary: Summary, facts: TraceFacts, paint: Paint) -> str:
    connections = plural(summary.connection_count, "connection")
    if summary.pairs and summary.pairs == summary.connection_count:
        connections += ", both ends on this host,"
    elif summary.pairs:
        connections += f" ({summary.pairs:,} with both ends on this host)"
    what = safe_text(facts.head.what)
    text = f"{connections} in {duration(facts.elapsed_ns)} · {what}"
    return paint(text, "strong")


def _outcomes(summary: Summary, paint: Paint, width: int) -> Iterator[str]:
    for role, role_words in _ROLE_WORDS.items():
        outcomes = summary.outcomes[role]
        if not outcomes:
            continue
        colours = {}
        for outcome, count in outcomes.most_common():
            colours[f"{OUTCOME_WORDS[outcome]} {count:,}"] = OUTCOME_COLOURS.get(outcome, "bad")
        title = f"  {role_words:12}{outcomes.total():>9,}   "
        for line in flow(list(colours), width - len(title)):
            pieces = [paint(piece, colours[piece]) for piece in line.split(" · ")]
            yield title + " · ".join(pieces)
            title = " " * len(title)
    if summary.open_states:
        states = [f"{state.name} {count:,}" for state, count in summary.open_states.most_common()]
        yield f"  still open  {', '.join(states)}"
    if summary.close_wait_holders:
        held = [
            f"{process_text(process) if process else 'a process not seen'} ×{count:,}"
            for process, count in summary.close_wait_holders.most_common(_MAX_HOLDERS)
        ]
        yield paint(f"  CLOSE_WAIT  closed by the peer, still held by {', '.join(held)}", "bad")
    if summary.close_wait_queued:
        queued = f"{summary.close_wait_queued:,}"
        yield paint(f"  CLOSE_WAIT  closed by the peer, waiting for accept() ×{queued}", "bad")


def _waits(summary: Summary) -> Iterator[str]:
    rows: list[tuple[str, Histogram]] = [
        ("handshake, server", summary.handshakes[Role.SERVER]),
        ("handshake, client", summary.handshakes[Role.CLIENT]),
        ("wait in SYN queue", summary.syn_queue_wait),
        ("wait in accept queue", summary.accept_wait),
    ]
    rows = [(name, histogram) for name, histogram in rows if histogram.count]
    if rows:
        yield f"  {'':21}{'count':>9}{'p50':>8}{'p99':>8}{'max':>8}"
    for name, histogram in rows:
        numbers = (histogram.quantile(0.5), histogram.quantile(0.99), histogram.max)
        cells = "".join(f"{duration(number):>8}" for number in numbers)
        yield f"  {name:21}{histogram.count:>9,}{cells}"


def _listeners(summary: Summary, paint: Paint, names: Names) -> Iterator[str]:
    ranked = sorted(summary.listeners, key=_trouble_of, reverse=True)
    for listener in ranked[:_MAX_LISTENERS]:
        yield from _listener(listener, paint, names)
    if len(ranked) > _MAX_LISTENERS:
        yield f"  and {plural(len(ranked) - _MAX_LISTENERS, 'listener')} more, with no more trouble"


def _trouble_of(listener: Listener) -> tuple[int, int, int]:
    """Orders listeners: by what they dropped, then by their queues' peaks."""
    return sum(listener.drops.values()), listener.accept_queue_peak, listener.syn_queue_peak


def _listener(listener: Listener, paint: Paint, names: Names) -> Iterator[str]:
    if listener.folded:
        yield f"  {plural(listener.folded, 'listener')} closed before those"
    else:
        yield from _queues(listener, paint, names)
    for stage, count in sorted(listener.drops.items(), key=lambda drop: -drop[1]):
        yield paint(f"    ✗ {count:,} × {STAGE_WORDS[stage]}", "bad")
    if listener.cookies_sent:
        yield paint(f"    ! {listener.cookies_sent:>7,}  SYN cookies sent: SYN queue full", "warn")


def _queues(listener: Listener, paint: Paint, names: Names) -> Iterator[str]:
    told = [process_text(listener.process)] if listener.process else []
    workload = names.workload(listener.cgroup)
    told += places(listener.netns, workload, listener.process, names)
    where = f" {' · '.join(told)}" if told else ""
    yield f"  listener {paint(str(listener.local), 'strong')}{where}"
    limit = listener.accept_queue_limit
    accept_full = listener.accept_queue_peak > limit
    # Cookies answer what a full SYN queue can't take, and some hosts send them always.
    has_cookies = bool(listener.cookies_sent) and listener.syn_queue_peak >= limit
    syn_full = has_cookies or bool(listener.drops.get(Stage.SYN_SYN_QUEUE_FULL))
    cells = []
    for name, peak, full in (
        ("accept queue", listener.accept_queue_peak, accept_full),
        ("SYN queue", listener.syn_queue_peak, syn_full),
    ):
        text = f"{name} peak {peak:,}/{limit:,}"
        cells.append(paint(f"{text} FULL", "bad") if full else text)
    yield f"    {', '.join(cells)}"


def _retransmits(summary: Summary, paint: Paint) -> Iterator[str]:
    counts = (
        (summary.syn_retransmits, "SYN"),
        (summary.synack_retransmits, "SYN-ACK"),
        (summary.data_retransmits, "other segment"),
    )
    told = [plural(count, noun) for count, noun in counts if count]
    if told:
        yield paint(f"  retransmitted: {', '.join(told)}", "warn")


def _doubts(summary: Summary, facts: TraceFacts, width: int) -> Iterator[str]:
    """Says what this trace did not see, so that nobody takes a gap for the truth."""
    losses = facts.losses
    if summary.partial_count:
        reasons = ", ".join(
            f"{count:,} {PARTIAL_WORDS[reason]}" for reason, count in summary.partial.most_common()
        )
        noun = "life" if summary.partial_count == 1 else "lives"
        yield f"  {summary.partial_count:,} partial {noun}: {reasons}"
    if summary.folded:
        yield f"  {plural(summary.folded, 'connection')} folded: more open than --max-connections"
    if losses.lost_records:
        yield f"  {plural(losses.lost_records, 'record')} lost: the ring was full"
        lost = [f"{safe_text(hook)} {count:,}" for hook, count in losses.lost_by_hook.items()]
        for line in flow(lost, width - len("    of hooks: "), " · ") if lost else ():
            yield f"    of hooks: {line}"
    if facts.unexpected:
        yield f"  {plural(facts.unexpected, 'record')} fitted no life"
    if losses.missed_by_hook:
        runs = [f"{safe_text(hook)} {count:,}" for hook, count in losses.missed_by_hook.items()]
        for line in flow(runs, width - len("  skipped probe runs: "), ", "):
            yield f"  skipped probe runs: {line}"
    if losses.uncounted_hooks:
        hooks = plural(len(losses.uncounted_hooks), "hook")
        yield f"  this kernel does not tell what kprobes miss: {hooks} uncounted"
