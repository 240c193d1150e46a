"""The listeners of a host as rows: what stands in the ledger, with rates and waits. Pure."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tcptrace.lifecycle.accept_waits import AcceptWaits
    from tcptrace.lifecycle.ledger import Address, Ledger, Listening
    from tcptrace.wire.events import Stage

RATE_WINDOW_NS: Final = 5_000_000_000
PAST_PERIOD_NS: Final = 100_000_000
"""How far apart the looks are that rates are reckoned from: no more of them are kept."""


@dataclass(frozen=True, slots=True)
class Row:
    """One listener, now."""

    listening: Listening
    drops: Mapping[Stage, int]
    """Since the trace began, zeros included."""
    drop_rates: Mapping[Stage, float]
    """A second, over the last RATE_WINDOW_NS."""
    accepts: int
    accept_rate: float
    accept_wait_p99_ns: int | None

    @property
    def drop_count(self) -> int:
        """All drops."""
        return sum(self.drops.values())

    @property
    def drop_rate(self) -> float:
        """All drops a second."""
        return sum(self.drop_rates.values())

    @property
    def accept_queue_fill(self) -> float:
        """Peak over capacity of its fullest socket; 0 without one."""
        fills = (member.accept_queue_fill for member in self.listening.members.values())
        return max(fills, default=0.0)


@dataclass(frozen=True, slots=True)
class _Past:
    at_ns: int
    drops: Mapping[Address, Mapping[Stage, int]]
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
            {one.address: one.drops for one in listeners},
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
    drops, before = now.drops[address], past.drops.get(address, {})
    accepts = now.accepts.get(address, 0)
    return Row(
        listening,
        drops,
        {stage: _rate(count, before.get(stage, 0), seconds) for stage, count in drops.items()},
        accepts,
        _rate(accepts, past.accepts.get(address, 0), seconds),
        wait.quantile(0.99, now.at_ns) if wait else None,
    )


def _rate(now: int, before: int, seconds: float) -> float:
    """What was counted a second; a listener that was forgotten in between counts from 0 again."""
    if not seconds:
        return 0.0
    return (now - before if now >= before else now) / seconds
