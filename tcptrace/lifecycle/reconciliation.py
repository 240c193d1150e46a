"""Compares the ledger with the kernel's own counters, namespace by namespace. Pure.

The kernel's figures are read before and after the ledger's. What moved in between may or may not be
in the ledger; and whatever is under way at that moment may be in one of them alone, since the
kernel counts some things before a probe does and others after it. That is over long before the next
reading. So the ledger of one reading lies anywhere from what the kernel had counted at the one
before to what it has at the one after.
"""

from __future__ import annotations

from typing import NamedTuple

from tcptrace.lifecycle.ledger import Ledger, as_kernel_counters
from tcptrace.wire.ledger import COUNTERS, LedgerReading

_NOTHING = (0,) * len(COUNTERS)
_Interval = tuple[int, int]


class _Past(NamedTuple):
    """The last two comparisons of a namespace, by counter."""

    earlier: tuple[int, ...] | None
    """The kernel's figures at the reading before the last one; None if there was none."""
    latest: tuple[int, ...]
    """The same at the last one."""
    ledger: tuple[int, ...]
    """The ledger's at the last one."""


class Reconciliation:
    """The difference since the first reading.

    Attributes:
        differences: for each namespace that is watched, ledger minus kernel by counter, as of the
            last reading but one; 0 where the two can be the same.
    """

    def __init__(self) -> None:
        self.differences: dict[int, dict[str, int]] = {}
        self._pasts: dict[int, _Past] = {}
        self._zeros: dict[int, tuple[_Interval, ...]] = {}

    def compare(self, reading: LedgerReading, ledger: Ledger) -> None:
        """Compares a reading, after the ledger has absorbed it.

        The first comparison of a namespace takes what was counted before the trace as its zero. A
        namespace that is watched no more is forgotten.
        """
        ours = {netns: as_kernel_counters(counts) for netns, counts in ledger.sums()}
        for figures in reading.namespaces:
            netns = figures.netns
            counted = ours.get(netns, _NOTHING)
            past = self._pasts.get(netns)
            self._pasts[netns] = _Past(past and past.latest, figures.before, counted)
            if past is None or past.earlier is None:
                self.differences[netns] = dict.fromkeys(COUNTERS, 0)
                continue
            around = tuple(
                (low - was, high - was)
                for low, high, was in zip(past.earlier, figures.after, past.ledger, strict=True)
            )
            self._judge(netns, around)
        for netns in self._pasts.keys() - {figures.netns for figures in reading.namespaces}:
            for known in (self._pasts, self.differences, self._zeros):
                known.pop(netns, None)

    def _judge(self, netns: int, around: tuple[_Interval, ...]) -> None:
        """Compares kernel minus ledger, as an interval for each counter, with what it was."""
        zeros = self._zeros.get(netns, around)
        self.differences[netns] = {
            name: _distance(zero, now)
            for name, zero, now in zip(COUNTERS, zeros, around, strict=True)
        }
        self._zeros[netns] = tuple(
            zero if _distance(zero, now) else (max(zero[0], now[0]), min(zero[1], now[1]))
            for zero, now in zip(zeros, around, strict=True)
        )


def _distance(zero: tuple[int, int], now: tuple[int, int]) -> int:
    """How far the ledger is above (positive) or below the kernel; 0 if both can be the same."""
    if now[0] > zero[1]:
        return zero[1] - now[0]
    if now[1] < zero[0]:
        return zero[0] - now[1]
    return 0
