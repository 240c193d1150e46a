"""Counts many lives at once of which the same is told, but for the times."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tcptrace.wire import columns

if TYPE_CHECKING:
    import numpy.typing as npt

    from tcptrace.lifecycle.scales import Scales
    from tcptrace.lifecycle.shapes import Continuation, Outline, Pair
    from tcptrace.lifecycle.tally import Tally
    from tcptrace.wire.columns import Words

    Numbers = npt.NDArray[np.int64]

_NO_NUMBERS = np.empty((0, 0), np.int64)


class Times:
    """The times of lives of one shape: what was frozen of them, if anything, then their records'.

    Args:
        words: records by life.
        first: where those of each life begin.
        frozen: a row of numbers for each life.
    """

    def __init__(self, words: Words, first: Numbers, frozen: Numbers = _NO_NUMBERS) -> None:
        self._at_ns = words.view(np.int64)[:, columns.AT_NS]
        self._first = first
        self._frozen = frozen

    def of(self, number: int) -> Numbers:
        """Each life's time of that number."""
        count = self._frozen.shape[1]
        if number < count:
            return self._frozen[:, number]
        at_ns: Numbers = self._at_ns[self._first + (number - count)]
        return at_ns

    def between(self, pair: Pair) -> Numbers:
        """How long it was between two of each life's times."""
        begin, end = pair
        return self.of(end) - self.of(begin)


def count_alike(
    tally: Tally, scales: Scales, comes_to: Outline | Continuation, count: int, times: Times
) -> None:
    """Counts the records and the transitions of lives that come to the same.

    Args:
        tally: hears of them.
        scales: of its histograms.
        comes_to: what each of them comes to.
        count: how many they are.
        times: theirs.
    """
    for kind, number in comes_to.kinds.items():
        tally.events[kind] += number * count
    for old, pair, new in comes_to.changes:
        tally.transitions_of(old)[new] += count
        if pair is not None:
            scales.add(tally.state_durations[old], times.between(pair))
