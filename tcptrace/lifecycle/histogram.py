"""A histogram of durations in bounded memory: quantiles within 0.2 %, the maximum exact.

Log-linear: each power of two is cut into 512 buckets of one width, so that a bucket is at most
1/512 of its values wide and its middle at most 0.1 % off. Values under 1024 have a bucket each.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

SUB_BITS: Final = 9
"""A value of more bits than that and one is in the bucket of its first so many and one, after those
of shorter ones: (shift << SUB_BITS) + (value >> shift)."""
_SUB_COUNT: Final = 1 << SUB_BITS
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
        if other.max is not None:
            self.add_all(other._buckets, other.count, other.max)

    def add(self, value: int) -> None:
        """Adds one value; one out of range counts as the nearest that is in range."""
        value = min(max(value, 0), _MAX_VALUE)
        self.add_all({_bucket_of(value): 1}, 1, value)

    def add_all(self, buckets: Mapping[int, int], count: int, most: int) -> None:
        """Adds values that are in their buckets already.

        Args:
            buckets: how many are in each: SUB_BITS says which that is.
            count: how many they are.
            most: the largest of them.
        """
        mine = self._buckets
        for bucket, number in buckets.items():
            mine[bucket] = mine.get(bucket, 0) + number
        self.count += count
        self.max = most if self.max is None else max(self.max, most)

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
    def mean(self) -> int | None:
        """The mean within 0.1 %; None while there is no value."""
        if not self.count:
            return None
        return sum(_middle_of(one) * number for one, number in self._buckets.items()) // self.count

    @property
    def bucket_count(self) -> int:
        """How many buckets are in use: what it costs."""
        return len(self._buckets)


def _bucket_of(value: int) -> int:
    shift = max(0, value.bit_length() - SUB_BITS - 1)
    return (shift << SUB_BITS) + (value >> shift)


def _middle_of(bucket: int) -> int:
    if bucket < 2 * _SUB_COUNT:
        return bucket
    shift = (bucket >> SUB_BITS) - 1
    start = (bucket - (shift << SUB_BITS)) << shift
    return start + ((1 << shift) - 1) // 2
