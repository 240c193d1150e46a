"""Waiting for conditions, each with a deadline: never for a span of time."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

DEADLINE_S = 90.0
"""Emulated guests are about ten times slower than the machine under them."""
_PAUSE_S = 0.01

T = TypeVar("T")


def until(condition: Callable[[], T], what: str, deadline_s: float = DEADLINE_S) -> T:
    """Polls until `condition` is truthy and returns its value.

    Raises:
        AssertionError: it wasn't within the deadline; says what was awaited.
    """
    end = time.monotonic() + deadline_s
    while not (value := condition()):
        assert time.monotonic() < end, f"after {deadline_s:g} s still waiting for: {what}"
        time.sleep(_PAUSE_S)
    return value
