"""Compares the ledger with the kernel's own counters, namespace by namespace. Pure.

The kernel's figures are read just before and just after the ledger's. Where they moved in between,
the ledger's may lie anywhere from one to the other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tcptrace.lifecycle.ledger import Ledger, as_kernel_counters
from tcptrace.wire.ledger import COUNTERS, LedgerReading

if TYPE_CHECKING:
    from collections.abc import Mapping

_NOTHING = (0,) * len(COUNTERS)


class Reconciliation:
    """The difference since the first reading.

    Attributes:
        differences: for each namespace that is watched, ledger minus kernel by counter; 0 where
            the ledger lies within what the kernel counted around it.
    """

    def __init__(self) -> None:
        self.differences: dict[int, dict[str, int]] = {}
        self._offsets: dict[int, tuple[tuple[int, int], ...]] = {}

    def compare(self, reading: LedgerReading, ledger: Ledger) -> None:
        """Compares a reading, after the ledger has absorbed it.

        The first comparison of a namespace takes what was counted before the trace as its zero.
        """
        ours: Mapping[int, tuple[int, ...]] = {
            netns: as_kernel_counters(counts) for netns, counts in ledger.sums()
        }
        for figures in reading.namespaces:
            counted = ours.get(figures.netns, _NOTHING)
            around = tuple(
                (low - ledgers, high - ledgers)
                for low, high, ledgers in zip(figures.before, figures.after, counted, strict=True)
            )
            zeros = self._offsets.setdefault(figures.netns, around)
            # The true zero lies within every interval seen so far: each narrows it.
            narrowed = tuple(
                (max(zero[0], now[0]), min(zero[1], now[1]))
                for zero, now in zip(zeros, around, strict=True)
            )
            self.differences[figures.netns] = {
                name: _distance(zero, now)
                for name, zero, now in zip(COUNTERS, zeros, around, strict=True)
            }
            self._offsets[figures.netns] = tuple(
                new if new[0] <= new[1] else zero for new, zero in zip(narrowed, zeros, strict=True)
            )


def _distance(zero: tuple[int, int], now: tuple[int, int]) -> int:
    """How far the ledger is above (positive) or below the kernel; 0 if both can be the same."""
    if now[0] > zero[1]:
        return zero[1] - now[0]
    if now[1] < zero[0]:
        return zero[0] - now[1]
    return 0
