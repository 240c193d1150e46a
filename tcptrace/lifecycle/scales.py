"""Puts many durations at once into a histogram's buckets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tcptrace.lifecycle.histogram import KEPT_BITS, Histogram

if TYPE_CHECKING:
    import numpy.typing as npt

    from tcptrace.lifecycle.tally import Buckets

    Numbers = npt.NDArray[np.int64]


class Scales:
    """The bounds of histograms' buckets, classical and native ones together."""

    def __init__(self) -> None:
        self._bounds: dict[tuple[int, ...], Numbers] = {}

    def add(self, buckets: Buckets, values_ns: Numbers) -> None:
        """Counts durations; a negative one, by two CPUs' clocks, is none."""
        values_ns = np.maximum(values_ns, 0)
        bounds = self._bounds_of(buckets)
        counts = np.bincount(np.searchsorted(bounds, values_ns))
        found = np.flatnonzero(counts)
        for bound, count in zip(bounds[found].tolist(), counts[found].tolist(), strict=True):
            buckets.add_alike(bound, count)
        buckets.sum_ns += sum_of(values_ns)

    def _bounds_of(self, buckets: Buckets) -> Numbers:
        key = tuple(buckets.bounds_ns)
        bounds = self._bounds.get(key)
        if bounds is None:
            every = sorted({0, *key, *buckets.native_bounds_ns})
            bounds = self._bounds[key] = np.array(every, np.int64)
        return bounds


def sum_of(values: Numbers) -> int:
    """Of numbers whose sum may not be one of 63 bits."""
    return (int((values >> 32).sum()) << 32) + int((values & 0xFFFFFFFF).sum())


def histogram_of(values: Numbers) -> Histogram:
    """A histogram of values that are not negative."""
    histogram = Histogram()
    if not len(values):
        return histogram
    # frexp's exponent of a number below 2 ** 53 is how many bits it has.
    spare = np.maximum(np.frexp(values.astype(np.float64))[1] - KEPT_BITS, 0)
    kept = values >> spare << spare
    order = np.argsort(values, kind="stable")
    kept, values = kept[order], values[order]
    last = np.flatnonzero(np.append(kept[1:] != kept[:-1], [True]))
    counts = np.diff(last, prepend=-1)
    for value, count in zip(values[last].tolist(), counts.tolist(), strict=True):
        histogram.add_alike(value, count)
    return histogram
