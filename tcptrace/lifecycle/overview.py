"""The listeners of a host as rows: what stands in the ledger, with rates and waits. Pure."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING, Final

from tcptrace.lifecycle.ledger import DROP_STAGES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tcptrace.lifecycle.accept_waits import AcceptWaits
    from tcptrace.lifecycle.ledger import Address, Ledger, Listening
    from tcptrace.wire.events import Stage

RATE_WINDOW_NS: Final = 5_000_000_000
_drops_in: Final = itemgetter(*DROP_STAGES)
PAST_PERIOD_NS: Final = 100_000_000
"""How far apart the looks are that rates are reckoned from: no more of them are kept."""


@dataclass(frozen=True, slots=True)
class Row:
    """One listener, now. What it drops is reckoned when it is asked for: most drop nothing."""

    listening: Listening
    counts: tuple[int, ...]
    """Everything that was counted since the trace began, by Stage and Count."""
    counts_before: tuple[int, ...]
    """The same so many seconds ago; () if it was not there."""
    seconds: float
    accepts: int
    accept_rate: float
    accept_wait_p99_ns: int | None

    @property
    def drops(self) -> Mapping[Stage, int]:
        """Since the trace began, zeros included."""
        return {stage: self.counts[stage] for stage in DROP_STAGES}

    @property
    def drop_rates(self) -> Mapping[Stage, float]:
        """A second, over the last RATE_WINDOW_NS."""
        before = self.counts_before or (0,) * len(self.counts)
        return {
            stage: _rate(self.counts[stage], before[stage], self.seconds) for stage in DROP_STAGES
        }

    @property
    def drop_count(self) -> int:
        """All drops."""
        return sum(_drops_in(self.counts))

    @property
    def drop_rate(self) -> float:
        """All drops a second."""
        if self.counts == self.counts_before:
            return 0.0
        return sum(self.drop_rates.values())

    @property
    def accept_queue_fill(self) -> float:
        """Peak over capacity of its fullest socket; 0 without one."""
        fills = (member.accept_queue_fill for member in self.listening.members.values())
        return max(fills, default=0.0)


@dataclass(frozen=True, slots=True)
class _Past:
    at_ns: int
    counts: Mapping[Address, tuple[int, ...]]
    accepts: Mapping[Address, int]


class Overview:
    """Rows from one look to the next."""

    def __init__(self) -> None:
        self._pasts: deque[_Past] = deque()

    def look(self, ledger: Ledger, waits: Mapping[Address, AcceptWaits], at_ns: int) -> list[Row]:
        """Returns a row for each listener.

        Args:
            ledger: as of now.
            waits: by listener.
            at_ns: now.
        """
        listeners = list(ledger.listeners)
        now = _Past(
            at_ns,
            {one.address: one.counts for one in listeners},
            {address: wait.count for address, wait in waits.items()},
        )
        past = self._past_of(now)
        return [_row(one, waits.get(one.address), now, past) for one in listeners]

    def _past_of(self, now: _Past) -> _Past:
        """Remembers a look; returns the one that rates are reckoned from."""
        pasts = self._pasts
        if not pasts or now.at_ns - pasts[-1].at_ns >= PAST_PERIOD_NS:
            pasts.append(now)
        while len(pasts) > 1 and pasts[1].at_ns <= now.at_ns - RATE_WINDOW_NS:
            pasts.popleft()
        return pasts[0]


def _row(listening: Listening, wait: AcceptWaits | None, now: _Past, past: _Past) -> Row:
    address, seconds = listening.address, (now.at_ns - past.at_ns) / 1e9
    accepts = now.accepts.get(address, 0)
    return Row(
        listening,
        now.counts[address],
        past.counts.get(address, ()),
        seconds,
        accepts,
        _rate(accepts, past.accepts.get(address, 0), seconds),
        wait.quantile(0.99, now.at_ns) if wait else None,
    )


def _rate(now: int, before: int, seconds: float) -> float:
    """What was counted a second; a listener that was forgotten in between counts from 0 again."""
    if not seconds:
        return 0.0
    return (now - before if now >= before else now) / seconds
