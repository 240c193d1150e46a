from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tcptrace.lifecycle.histogram import Histogram
from tcptrace.lifecycle.scales import Scales, histogram_of
from tcptrace.lifecycle.tally import Buckets

durations = st.lists(
    st.integers(0, 2**52) | st.integers(0, 3000) | st.integers(0, 62).map(lambda bits: 1 << bits),
    max_size=50,
)


@given(durations)
def test_many_durations_come_to_what_each_comes_to(values: list[int]) -> None:
    one, other = Buckets((10, 1000, 10**9)), Buckets((10, 1000, 10**9))
    for value in values:
        one.add(value)
    if values:
        Scales().add(other, np.array(values, np.int64))
    assert (other.counts, other.native, other.sum_ns) == (one.counts, one.native, one.sum_ns)


def test_a_negative_duration_is_none() -> None:
    buckets = Buckets((10,))
    Scales().add(buckets, np.array([-5, 5], np.int64))
    assert (buckets.counts, buckets.sum_ns) == ([2, 0], 5)


@given(st.lists(st.integers(0, 2**52) | st.integers(0, 3000), max_size=50))
def test_a_histogram_of_many_values(values: list[int]) -> None:
    one = Histogram()
    for value in values:
        one.add(value)
    other = histogram_of(np.array(values, np.int64))
    assert (other._buckets, other.count, other.max) == (one._buckets, one.count, one.max)
