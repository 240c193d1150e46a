from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from tcptrace.lifecycle.histogram import Histogram

durations = st.integers(min_value=0, max_value=2**64 - 1) | st.integers(0, 10**7)


@given(st.lists(durations, min_size=1, max_size=300), st.floats(0, 1))
def test_a_quantile_is_within_a_percent_of_the_exact_one(values: list[int], share: float) -> None:
    histogram = Histogram()
    for value in values:
        histogram.add(value)
    exact = sorted(values)[max(1, math.ceil(share * len(values))) - 1]
    found = histogram.quantile(share)
    assert found is not None
    assert abs(found - exact) <= exact * 0.002
    assert histogram.max == max(values)
    assert histogram.quantile(1) == max(values)


def test_nothing_added_has_no_quantiles() -> None:
    histogram = Histogram()
    assert histogram.quantile(0.5) is None
    assert histogram.max is None


def test_memory_is_bounded_whatever_comes() -> None:
    histogram = Histogram()
    for power in range(64):
        for part in range(2000):
            histogram.add((1 << power) + (part << power) // 2000)
    assert histogram.bucket_count <= 28_672


@given(st.integers())
def test_values_out_of_range_count_as_the_nearest(value: int) -> None:
    histogram = Histogram()
    histogram.add(value)
    assert histogram.max == min(max(value, 0), 2**64 - 1)


@given(st.lists(durations, max_size=100), st.lists(durations, max_size=100), st.floats(0, 1))
def test_absorbing_is_as_adding_all(ours: list[int], theirs: list[int], share: float) -> None:
    histogram, other, both = Histogram(), Histogram(), Histogram()
    for value in ours:
        histogram.add(value)
        both.add(value)
    for value in theirs:
        other.add(value)
        both.add(value)
    histogram.absorb(other)
    assert (histogram.count, histogram.max) == (both.count, both.max)
    assert histogram.quantile(share) == both.quantile(share)
    assert histogram.bucket_count == both.bucket_count
    assert other.count == len(theirs)
