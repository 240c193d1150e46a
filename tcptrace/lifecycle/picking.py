"""Picks the slowest of the lives that are counted many at once, to be rebuilt each for itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from tcptrace.lifecycle.slow import SLOW_NS

if TYPE_CHECKING:
    import numpy.typing as npt

    Numbers = npt.NDArray[np.int64]
    Truths = npt.NDArray[np.bool_]

MOST_A_WINDOW: Final = 8
"""How many slow lives of plain course are rebuilt of those whose records are counted at once."""
MOST_A_SECOND: Final = 64
"""The same of the records of a second: each takes some 50 µs."""
_SECOND_NS: Final = 1_000_000_000


class SlowLives:
    """Picks the slowest lives of plain course, a bounded number of them.

    Attributes:
        left_out: how many more were slow, and were counted at once.
    """

    def __init__(self) -> None:
        self.left_out = 0
        self._second = -1
        self._in_second = 0
        self._in_window = 0

    def begin(self, at_ns: int) -> None:
        """A window begins.

        Args:
            at_ns: when its last record came.
        """
        self._in_window = 0
        if at_ns // _SECOND_NS != self._second:
            self._second, self._in_second = at_ns // _SECOND_NS, 0

    def pick(self, waits_ns: Numbers) -> Truths | None:
        """Which of some lives are to be rebuilt; None if none is.

        Args:
            waits_ns: by life, the longest that it had to wait.
        """
        room = self.room
        if not room or not len(waits_ns) or waits_ns.max() < SLOW_NS:
            return None
        slow = np.flatnonzero(waits_ns >= SLOW_NS)
        if len(slow) > room:
            slow = slow[np.argsort(waits_ns.take(slow), kind="stable")[-room:]]
        self._in_window += len(slow)
        self._in_second += len(slow)
        picked: Truths = np.zeros(len(waits_ns), np.bool_)
        picked[slow] = True
        return picked

    def leave_out(self, waits_ns: Numbers) -> None:
        """Some lives are counted at once: those that are slow are not told of."""
        if not self.room:
            self.left_out += int(np.count_nonzero(waits_ns >= SLOW_NS))

    @property
    def room(self) -> int:
        """How many more may be picked now; while there is room, none is left out."""
        return min(MOST_A_WINDOW - self._in_window, MOST_A_SECOND - self._in_second)
