"""A histogram of durations in bounded memory: quantiles within 0.2 %, the maximum exact.

Log-linear: each power of two is cut into 512 buckets of one width, so that a bucket is at most
1/512 of its values wide and its middle at most 0.1 % off. Values under 1024 have a bucket each.
"""

from __future__ import annotations

import math
from typing import Final

_SUB_BITS: Final = 9
_SUB_COUNT: Final = 1 << _SUB_BITS
_MAX_VALUE: Final = (1 << 64) - 1


class Histogram:
    """Counts whole numbers from 0 to 2**64 - 1; at most 28,672 buckets whatever comes."""

    __slots__ = ("_buckets", "count", "max")

    def __init__(self) -> None:
        self._buckets: dict[int, int] = {}
        self.count = 0
        """How many values were added."""
        self.max: int | None = None
        """The largest of them, exactly; None while there is none."""

    def absorb(self, other: Histogram) -> None:
        """Adds all values of another."""
        for bucket, count in other._buckets.items():
            self._buckets[bucket] = self._buckets.get(bucket, 0) + count
        self.count += other.count
        if other.max is not None:
            self.max = other.max if self.max is None else max(self.max, other.max)

    def add(self, value: int) -> None:
        """Adds one value; one out of range counts as the nearest that is in range."""
        self.add_alike(min(max(value, 0), _MAX_VALUE), 1)

    def add_alike(self, value: int, count: int) -> None:
        """Adds values that all lie in the bucket of one that is in range, and don't exceed it."""
        bucket = _bucket_of(value)
        self._buckets[bucket] = self._buckets.get(bucket, 0) + count
        self.count += count
        self.max = value if self.max is None else max(self.max, value)

    def quantile(self, share: float) -> int | None:
        """Finds the value that `share` of all values don't exceed, within 0.2 %.

        Args:
            share: from 0 to 1; 0.5 is the median.

        Returns:
            The value at rank ceil(share * count), never over `max`; None while there is none.
        """
        if self.max is None:
            return None
        rank = max(1, math.ceil(share * self.count))
        if rank >= self.count:
            return self.max
        seen = 0
        for bucket in sorted(self._buckets):
            seen += self._buckets[bucket]
            if seen >= rank:
                return min(_middle_of(bucket), self.max)
        return self.max

    @property
    def bucket_count(self) -> int:
        """How many buckets are in use: what it costs."""
        return len(self._buckets)


KEPT_BITS: Final = _SUB_BITS + 1
"""Values that are the same in their first so many bits lie in one bucket."""


def _bucket_of(value: int) -> int:
    shift = max(0, value.bit_length() - _SUB_BITS - 1)
    return (shift << _SUB_BITS) + (value >> shift)


def _middle_of(bucket: int) -> int:
    if bucket < 2 * _SUB_COUNT:
        return bucket
    shift = (bucket >> _SUB_BITS) - 1
    start = (bucket - (shift << _SUB_BITS)) << shift
    return start + ((1 << shift) - 1) // 2
