"""Numbers as people read them: durations, times of day, counts."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tcptrace.wire.head import TraceHead

NS_PER_S: Final = 1_000_000_000
_MINUTE_S: Final = 60
_HOUR_S: Final = 3600
_DAY_S: Final = 86400
_POWERS: Final = ((10**12, "T"), (10**9, "G"), (10**6, "M"), (10**3, "k"))


_STEPS_US: Final = ((10_000_000, 100_000), (1_000_000, 10_000), (10_000, 1000), (1000, 100))
"""From so many microseconds on, a duration is rounded to a multiple of so many."""


def duration(span_ns: int | None) -> str:
    """Writes a duration in at most 5 columns: `-`, `12µs`, `1.2ms`, `345ms`, `1.02s`, `2m03s`.

    Args:
        span_ns: nanoseconds, or None if it isn't known.
    """
    if span_ns is None:
        return "-"
    micros = (max(0, span_ns) + 500) // 1000
    for start, step in _STEPS_US:
        if micros >= start:
            micros = (micros + step // 2) // step * step
            break
    if micros >= _MINUTE_S * 1_000_000:
        return _long_duration(micros // 1_000_000)
    for unit, name, room in ((1_000_000, "s", 3), (1000, "ms", 2)):
        if micros >= unit:
            whole, rest = divmod(micros, unit)
            digits = max(0, room - len(str(whole)))
            fraction = f".{rest * 10**digits // unit:0{digits}}" if digits else ""
            return f"{whole}{fraction}{name}"
    return f"{micros}µs" if micros else "<1µs"


def _long_duration(seconds: int) -> str:
    for big, small, big_name, small_name in (
        (_DAY_S, _HOUR_S, "d", "h"),
        (_HOUR_S, _MINUTE_S, "h", "m"),
        (_MINUTE_S, 1, "m", "s"),
    ):
        whole, rest = divmod(seconds, big)
        if whole >= 10:  # noqa: PLR2004 - the second unit would need a sixth column
            return f"{whole}{big_name}"
        if whole:
            return f"{whole}{big_name}{rest // small:02}{small_name}"
    return f"{seconds}s"


def offset(at_ns: int) -> str:
    """Writes a time since some start to the microsecond: `+1.021123s`."""
    micros = at_ns // 1000
    sign = "-" if micros < 0 else "+"
    return f"{sign}{abs(micros) // 1_000_000}.{abs(micros) % 1_000_000:06}s"


def plural(count: int, noun: str) -> str:
    """Writes `1 record`, `12,345 records`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def size(count: int) -> str:
    """Writes a number of bytes: `512 bytes`, `1.6 MB` (powers of ten)."""
    for power, name in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if count >= power:
            return f"{count / power:.1f} {name}"
    return plural(count, "byte")


def short(count: int) -> str:
    """A count in at most 4 columns, rounded down: `9999`, `65k`, `1.2M`."""
    if count < 10_000:  # noqa: PLR2004 - four digits
        return str(count)
    power, name = next(step for step in _POWERS if count >= step[0])
    whole, rest = divmod(count, power)
    is_small = whole < 10  # noqa: PLR2004 - room for a digit more
    return f"{whole}.{rest * 10 // power}{name}" if is_small else f"{whole}{name}"


class WallClock:
    """Turns a trace's CLOCK_MONOTONIC times into times of day.

    Args:
        head: the trace's head, which has one moment on both clocks.

    Attributes:
        shift_ns: from a trace's time to the time of day, since 1970.
    """

    def __init__(self, head: TraceHead) -> None:
        self.shift_ns = head.began_realtime_ns - head.began_monotonic_ns

    def time_of_day(self, at_ns: int) -> str:
        """Writes `21:17:03.123`, local time; `--:--:--.---` where the calendar ends."""
        seconds, rest_ns = divmod(at_ns + self.shift_ns, NS_PER_S)
        try:
            parts = time.localtime(seconds)
        except (OverflowError, ValueError, OSError):
            return "--:--:--.---"
        return f"{time.strftime('%H:%M:%S', parts)}.{rest_ns // 1_000_000:03}"

    def local(self, at_ns: int) -> str:
        """Writes `2025-11-21 21:17:03 +0530`: local time, and how far that is from UTC.

        `an unknown time` where the calendar ends.
        """
        try:
            parts = time.localtime((at_ns + self.shift_ns) // NS_PER_S)
        except (OverflowError, ValueError, OSError):
            return "an unknown time"
        return time.strftime("%Y-%m-%d %H:%M:%S %z", parts)

    def utc(self, at_ns: int) -> str | None:
        """Writes `2025-11-21T21:17:03.123456Z` (RFC 3339), or None where the calendar ends."""
        seconds, rest_ns = divmod(at_ns + self.shift_ns, NS_PER_S)
        try:
            parts = time.gmtime(seconds)
        except (OverflowError, ValueError, OSError):
            return None
        if not 0 <= parts.tm_year <= 9999:  # noqa: PLR2004 - RFC 3339 has four digits
            return None
        stamp = (
            f"{parts.tm_year:04}-{parts.tm_mon:02}-{parts.tm_mday:02}"
            f"T{parts.tm_hour:02}:{parts.tm_min:02}:{parts.tm_sec:02}"
        )
        return f"{stamp}.{rest_ns // 1000:06}Z"
