"""Values as the dashboards' units write them."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

_SI: Final = ((1e9, " G"), (1e6, " M"), (1e3, " K"))
_IEC: Final = ((2**30, " GiB"), (2**20, " MiB"), (2**10, " KiB"))
_SECONDS: Final = ((86_400, " d"), (3_600, " h"), (60, " min"), (1, " s"), (1e-3, " ms"),
                   (1e-6, " µs"), (1e-9, " ns"))  # fmt: skip
_RATES: Final = {"reqps": " req/s", "ops": " ops/s", "pps": " p/s", "eps": " evt/s"}


def text_of(value: float, unit: str) -> str:
    """A value with its unit, three digits at most."""
    if math.isnan(value):
        return "NaN"
    if unit in _RATES:
        return _scaled(value, _SI, "") + _RATES[unit]
    return _WRITERS[unit](value)


def _plain(value: float) -> str:
    return _scaled(value, _SI, "")


def _percent(value: float) -> str:
    return f"{_digits(value * 100)}%"


def _bytes(value: float) -> str:
    return _scaled(value, _IEC, " B")


def _seconds(value: float) -> str:
    return _scaled(value, _SECONDS, " s")


def _date(milliseconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(milliseconds / 1000))


_WRITERS: Final[dict[str, Callable[[float], str]]] = {
    "short": _plain,
    "percentunit": _percent,
    "bytes": _bytes,
    "s": _seconds,
    "dateTimeAsIso": _date,
}


def _scaled(value: float, steps: tuple[tuple[float, str], ...], rest: str) -> str:
    for step, name in steps:
        if abs(value) >= step:
            return _digits(value / step) + name
    return _digits(value) + rest


def _digits(value: float) -> str:
    if value == 0:
        return "0"
    places = max(0, 2 - math.floor(math.log10(abs(value))))
    text = f"{value:.{min(places, 6)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
