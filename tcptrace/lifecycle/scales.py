"""Puts many durations at once into a histogram's buckets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from tcptrace.lifecycle.histogram import SUB_BITS, Histogram

if TYPE_CHECKING:
    import numpy.typing as npt

    from tcptrace.lifecycle.tally import Buckets

    Numbers = npt.NDArray[np.int64]


_CELL_BITS: Final = 6
"""Each power of two is cut into so many cells, as a bit count: hardly any has two bounds."""
_SHIFT: Final = 52 - _CELL_BITS
_BEFORE_ONE: Final = (1023 << _CELL_BITS) - 1
"""Of the cells by a float's bits, those of 0 and of what lies between 0 and 1."""
_EXACT: Final = 1 << 53
"""Below, floats are exact."""


class Scales:
    """The bounds of histograms' buckets, classical and native ones together."""

    def __init__(self) -> None:
        self._scales: dict[tuple[int, ...], _Scale] = {}

    def add(self, buckets: Buckets, values_ns: Numbers) -> None:
        """Counts durations; a negative one, by two CPUs' clocks, is none."""
        values_ns = np.maximum(values_ns, 0)
        scale = self._scale_of(buckets)
        counts = np.bincount(scale.places(values_ns))
        found = np.flatnonzero(counts)
        for bound, count in zip(scale.bounds[found].tolist(), counts[found].tolist(), strict=True):
            buckets.add_alike(bound, count)
        buckets.sum_ns += sum_of(values_ns)

    def _scale_of(self, buckets: Buckets) -> _Scale:
        key = tuple(buckets.bounds_ns)
        scale = self._scales.get(key)
        if scale is None:
            every = sorted({0, *key, *buckets.native_bounds_ns})
            scale = self._scales[key] = _Scale(np.array(every, np.int64))
        return scale


class _Scale:
    """Finds the first bound that each value does not exceed: a third of np.searchsorted()'s time.

    A float's first bits tell a cell, and a table the first bound that may be meant by it.

    Args:
        bounds: ascending; the last one exceeds every value.
    """

    def __init__(self, bounds: Numbers) -> None:
        self.bounds = bounds
        exact = bounds[bounds < _EXACT]
        cells = np.arange(_cells_of(exact)[-1] + 2)
        lowest = ((cells + _BEFORE_ONE) << _SHIFT).view(np.float64)
        lowest[0] = 0
        self._first: Numbers = np.searchsorted(bounds, np.ceil(lowest).astype(np.int64))
        self._steps = int(np.bincount(_cells_of(exact)).max())

    def places(self, values: Numbers) -> Numbers:
        """The places of these bounds, of values that are not negative."""
        if not len(values) or values.max() > self.bounds[self._first[-1] - 1]:
            return np.searchsorted(self.bounds, values)
        places = self._first.take(_cells_of(values))
        for _ in range(self._steps):
            places += self.bounds.take(places) < values
        return places


def _cells_of(values: Numbers) -> Numbers:
    cells: Numbers = values.astype(np.float64).view(np.int64) >> _SHIFT
    return np.maximum(cells - _BEFORE_ONE, 0)


def sum_of(values: Numbers) -> int:
    """Of numbers whose sum may not be one of 63 bits."""
    return (int((values >> 32).sum()) << 32) + int((values & 0xFFFFFFFF).sum())


def histogram_of(values: Numbers) -> Histogram:
    """A histogram of values that are not negative."""
    histogram = Histogram()
    if not len(values):
        return histogram
    # frexp's exponent of a number below 2 ** 53 is how many bits it has.
    shift = np.maximum(np.frexp(values.astype(np.float64))[1] - SUB_BITS - 1, 0)
    buckets = np.sort(((shift << SUB_BITS) + (values >> shift)).astype(np.uint16), kind="stable")
    last = np.flatnonzero(np.append(buckets[1:] != buckets[:-1], [True]))
    counts = np.diff(last, prepend=-1).tolist()
    in_each = dict(zip(buckets[last].tolist(), counts, strict=True))
    histogram.add_all(in_each, len(values), int(values.max()))
    return histogram
