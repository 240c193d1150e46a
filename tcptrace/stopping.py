"""What bounds a trace: when it ends (signal, duration, number of lives), how much it keeps."""

from __future__ import annotations

import signal
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tcptrace.lifecycle.folding import MOST_CONNECTIONS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

TICK_S: Final = 0.05
"""The longest wait for records: how late a signal is noticed, and a held life is let go."""
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True, slots=True)
class Limits:
    """When a trace ends by itself, None for never; and how much it keeps."""

    duration_s: float | None = None
    count: int | None = None
    """So many lives shown."""
    connections: int = MOST_CONNECTIONS
    """So many are kept in memory; the oldest idle ones beyond it are folded."""


class Stop:
    """Whether it is time to end.

    Args:
        limits: `count` is the caller's to watch, through `asked`.
    """

    def __init__(self, limits: Limits) -> None:
        self.asked = False
        """Whether a signal came, or a count was reached."""
        length_s = limits.duration_s
        self._deadline_s = None if length_s is None else time.monotonic() + length_s

    @property
    def due(self) -> bool:
        """Whether the trace should end now."""
        return self.asked or (self._deadline_s is not None and time.monotonic() >= self._deadline_s)

    @property
    def wait_s(self) -> float:
        """How long the next read may wait, seconds."""
        if self._deadline_s is None:
            return TICK_S
        return max(0.0, min(TICK_S, self._deadline_s - time.monotonic()))

    @contextmanager
    def on_signals(self) -> Iterator[None]:
        """Within it, the first SIGINT or SIGTERM ends tidily, and the second one at once.

        So does SIGHUP, when the terminal goes away, unless it is ignored (nohup).
        """
        has_come = False

        def handle(number: int, _frame: FrameType | None) -> None:
            nonlocal has_come
            if has_come:
                signal.signal(number, signal.SIG_DFL)
                signal.raise_signal(number)
            has_come = self.asked = True

        is_nohup = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        numbers = [one for one in _SIGNALS if not (is_nohup and one is signal.SIGHUP)]
        before = {number: signal.signal(number, handle) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
