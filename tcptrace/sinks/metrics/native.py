"""Native histograms: exponential buckets, only those that are in use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tcptrace.lifecycle.tally import NATIVE_SCHEMA
from tcptrace.sinks.metrics.client import BucketSpan, NativeHistogram

if TYPE_CHECKING:
    from collections.abc import Mapping

_ZERO_THRESHOLD: Final = 1e-9
"""Seconds: durations are whole nanoseconds."""


def native_histogram(
    counts: Mapping[int | None, int], count: int, sum_seconds: float
) -> NativeHistogram:
    """Writes counts by bucket index as spans and deltas.

    Args:
        counts: by index, as tally.Buckets has them.
        count: how many there are.
        sum_seconds: of all durations.
    """
    spans: list[BucketSpan] = []
    deltas: list[int] = []
    last_index = last_count = 0
    for index in sorted(index for index in counts if index is not None):
        gap = index - last_index - 1 if spans else index
        if spans and gap == 0:
            spans[-1] = BucketSpan(spans[-1].offset, spans[-1].length + 1)
        else:
            spans.append(BucketSpan(gap, 1))
        deltas.append(counts[index] - last_count)
        last_index, last_count = index, counts[index]
    zeros = counts.get(None, 0)
    return NativeHistogram(
        count, sum_seconds, NATIVE_SCHEMA, _ZERO_THRESHOLD, zeros, spans, None, deltas
    )
