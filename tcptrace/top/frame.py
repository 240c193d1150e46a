"""What is shown of a watched host at one moment: taken under its lock, looked at without it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tcptrace.lifecycle.overview import Overview
from tcptrace.lifecycle.queue_history import Step
from tcptrace.sinks.agreement import standing
from tcptrace.tcp import State
from tcptrace.top.diagram import Traffic

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tcptrace.lifecycle.connection import Connection
    from tcptrace.lifecycle.counts import StateCounts
    from tcptrace.lifecycle.ledger import Address
    from tcptrace.lifecycle.overview import Row
    from tcptrace.lifecycle.queue_history import QueueHistory
    from tcptrace.lifecycle.recent import Drop, Recent
    from tcptrace.verdicts.verdict import Verdict
    from tcptrace.watching import Watch


@dataclass(frozen=True)
class Frame:
    """One moment.

    Attributes:
        at_ns: when, on the records' clock.
        rows: every listener.
        history: their last 15 minutes; only what is visible is taken out of it, since that is much.
        traffic: states and transitions.
        drops: the last ones, the latest first.
        drop_count: how many there were.
        slow: slow lives, the slowest first.
        failed: lives that came to nothing, the latest first.
        failed_count: how many there were.
        verdicts: most harm first.
        standing: how far the figures are the kernel's, and what was lost; safe for a terminal.
    """

    at_ns: int
    rows: Sequence[Row]
    history: QueueHistory
    traffic: Traffic
    drops: Sequence[Drop]
    drop_count: int
    slow: Sequence[Connection]
    failed: Sequence[Connection]
    failed_count: int
    verdicts: Sequence[Verdict]
    standing: Sequence[str]

    def fills_of(self, address: Address) -> list[float | None]:
        """How full a listener's accept queue was, the oldest first; None where it isn't known."""
        past = self.history.pasts.get(address)
        series = self.history.series_of(past) if past is not None else None
        if series is None:
            return []
        told = dict(zip(Step._fields, series, strict=True))
        peaks, limits = told["accept_queue_peak"], told["accept_queue_limit"]
        return [_fill(*one) for one in zip(peaks, limits, strict=True)]

    @property
    def span_ns(self) -> int:
        """How far back those go."""
        times = self.history.times_ns
        return times[-1] - times[0] if times else 0

    def row_of(self, address: Address) -> Row | None:
        """A listener's row."""
        return next((row for row in self.rows if row.listening.address == address), None)


class Camera:
    """Takes frames.

    Args:
        watch: with what is recent.
        recent: its.
    """

    def __init__(self, watch: Watch, recent: Recent) -> None:
        self._watch = watch
        self._recent = recent
        self._overview = Overview()

    def take(self) -> Frame:
        """Everything as of now."""
        watch, recent = self._watch, self._recent
        losses = watch.source.losses()
        at_ns = watch.source.now_ns()
        with watch.lock:
            watch.catch_up()
            return Frame(
                at_ns,
                self._overview.look(watch.ledger, watch.tally.waits, at_ns),
                recent.queues,
                Traffic(
                    sockets_of(watch.tracker.counts), watch.tally.transitions, recent.transitions
                ),
                list(reversed(recent.drops)),
                recent.drop_count,
                recent.slow,
                list(reversed(recent.failed)),
                recent.failed_count.total(),
                watch.verdicts(),
                standing(watch.agreement.findings(losses), losses),
            )


def _fill(peak: int | None, limit: int | None) -> float | None:
    return None if peak is None or limit is None else peak / (limit + 1)


def sockets_of(counts: StateCounts) -> dict[State, int]:
    """How many sockets are in each state, in all namespaces together."""
    cells = counts.sockets.values()
    return {state: sum(numbers[state] for numbers in cells) for state in State}
