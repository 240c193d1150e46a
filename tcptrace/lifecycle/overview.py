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
        drops = {one.address: one.drops for one in listeners}
        accepts = {address: wait.count for address, wait in waits.items()}
        pasts = self._pasts
        if not pasts or at_ns - pasts[-1].at_ns >= PAST_PERIOD_NS:
            pasts.append(_Past(at_ns, drops, accepts))
        while len(pasts) > 1 and pasts[1].at_ns <= at_ns - RATE_WINDOW_NS:
            pasts.popleft()
        past = pasts[0]
        seconds = (at_ns - past.at_ns) / 1e9
        rows = []
        for one in listeners:
            wait = waits.get(one.address)
            before = past.drops.get(one.address, {})
            accepted = wait.count if wait else 0
            rows.append(
                Row(
                    one,
                    drops[one.address],
                    {
                        stage: _rate(count, before.get(stage, 0), seconds)
                        for stage, count in drops[one.address].items()
                    },
                    accepted,
                    _rate(accepted, past.accepts.get(one.address, 0), seconds),
                    wait.quantile(0.99, at_ns) if wait else None,
                )
            )
        return rows


def _rate(now: int, before: int, seconds: float) -> float:
    """What was counted a second; a listener that was forgotten in between counts from 0 again."""
    if not seconds:
        return 0.0
    return (now - before if now >= before else now) / seconds
