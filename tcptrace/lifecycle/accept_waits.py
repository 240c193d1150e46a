"""How long a listener's connections wait for accept(): totals, and quantiles of the last minute."""

from __future__ import annotations

from typing import Final

from tcptrace.lifecycle.histogram import Histogram

WINDOW_NS: Final = 30_000_000_000


class AcceptWaits:
    """The waits of one listener.

    Attributes:
        count: connections that accept() took.
        sum_ns: their waits.
        last_at_ns: when the last one ended.
    """

    __slots__ = ("_before", "_begin_ns", "_now", "count", "last_at_ns", "sum_ns")

    def __init__(self) -> None:
        self.count = 0
        self.sum_ns = 0
        self.last_at_ns = 0
        self._begin_ns = 0
        self._now = Histogram()
        self._before = Histogram()

    @property
    def total(self) -> tuple[int, int]:
        """How many connections accept() took, and how long they had waited, ns."""
        return self.count, self.sum_ns

    def add(self, wait_ns: int, at_ns: int) -> None:
        """Counts a wait that ended then."""
        self._turn(at_ns)
        self.count += 1
        self.sum_ns += wait_ns
        self.last_at_ns = max(self.last_at_ns, at_ns)
        self._now.add(wait_ns)

    def add_all(self, waits: Histogram, sum_ns: int, at_ns: int) -> None:
        """Counts waits that all ended lately, the last one then."""
        self._turn(at_ns)
        self.count += waits.count
        self.sum_ns += sum_ns
        self.last_at_ns = max(self.last_at_ns, at_ns)
        self._now.absorb(waits)

    def quantile(self, share: float, at_ns: int) -> int | None:
        """The quantile of the last 30 to 60 s, ns; None if nobody was accepted."""
        self._turn(at_ns)
        both = Histogram()
        both.absorb(self._now)
        both.absorb(self._before)
        return both.quantile(share)

    def _turn(self, at_ns: int) -> None:
        passed_ns = at_ns - self._begin_ns
        if passed_ns < WINDOW_NS:
            return
        self._before = self._now if passed_ns < 2 * WINDOW_NS else Histogram()
        self._now = Histogram()
        self._begin_ns += passed_ns // WINDOW_NS * WINDOW_NS
