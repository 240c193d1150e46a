from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcptrace.sinks.units import WallClock, duration, offset, plural, size
from unit import samples


@pytest.mark.parametrize(
    ("span_ns", "text"),
    [
        (None, "-"),
        (0, "<1µs"),
        (12_000, "12µs"),
        (999_600, "1.0ms"),
        (1_198_000, "1.2ms"),
        (9_960_000, "10ms"),
        (345_000_000, "345ms"),
        (999_700_000, "1.00s"),
        (1_021_000_000, "1.02s"),
        (12_340_000_000, "12.3s"),
        (59_960_000_000, "1m00s"),
        (123_000_000_000, "2m03s"),
        (754_000_000_000, "12m"),
        (3_720_000_000_000, "1h02m"),
        (90_000_000_000_000, "1d01h"),
        (9_000_000_000_000_000, "104d"),
    ],
)
def test_durations(span_ns: int | None, text: str) -> None:
    assert duration(span_ns) == text


@given(st.integers(0, 9999 * 86400 * 10**9))
def test_a_duration_fits_five_columns_up_to_27_years(span_ns: int) -> None:
    assert len(duration(span_ns)) <= 5


def test_offsets_counts_and_sizes() -> None:
    assert offset(1_021_123_456) == "+1.021123s"
    assert offset(-5000) == "-0.000005s"
    assert (plural(1, "record"), plural(1234, "record")) == ("1 record", "1,234 records")
    assert (size(12), size(1_600_000)) == ("12 bytes", "1.6 MB")


def test_the_clock_turns_monotonic_into_wall_time() -> None:
    clock = WallClock(samples.head())
    assert clock.utc(samples.START + 1_234_567) == "2025-11-21T21:17:03.001234Z"
    assert len(clock.time_of_day(samples.START)) == 12


@pytest.mark.parametrize(
    ("zone", "told"),
    [("UTC0", "2025-11-21 21:17:03 +0000"), ("IST-5:30", "2025-11-22 02:47:03 +0530")],
)
def test_a_local_time_says_whose(zone: str, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as there:
        there.setenv("TZ", zone)
        time.tzset()
        assert WallClock(samples.head()).local(samples.START) == told
    time.tzset()


@given(st.integers(0, 2**64 - 1))
def test_no_time_in_a_record_breaks_the_clock(at_ns: int) -> None:
    clock = WallClock(samples.head()._replace(began_realtime_ns=2**64 - 1, began_monotonic_ns=0))
    clock.time_of_day(at_ns)
    clock.utc(at_ns)
    clock.local(at_ns)
