"""What has become of everything that was to be sent, and what people hear of it."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from tcptrace.otlp.settings import TRACES
from tcptrace.sinks.metrics.deliveries import REFUSED, UNSENT
from tcptrace.sinks.units import plural

if TYPE_CHECKING:
    from collections.abc import Iterable

QUIET_S: Final = 60.0
"""Between two lines on a signal's troubles; that one is over that was told is told at once."""
_MOST_TOLD: Final = 1 << 32
"""A larger number in the child's words is none."""
_MOST_WORDS: Final = 240


class Deliveries:
    """What has become of everything that was to be sent.

    Args:
        signals: what is sent at all.

    Attributes:
        signals: these.
        sent: what the endpoint took, by signal: lives, or states of the metrics.
        lost: what it never will, by signal and reason.
        rejected: spans or data points that it rejected of requests which it took otherwise.
        troubles: by signal, why nothing arrives; not there while all is well.
        news: lines for people that nobody has taken yet.
        under_way: what the child has been given and has not told of, by signal.
    """

    def __init__(self, signals: Iterable[str]) -> None:
        self.signals = tuple(signals)
        self.news: list[str] = []
        self.under_way: Counter[str] = Counter()
        self.sent: Counter[str] = Counter()
        self.lost: Counter[tuple[str, str]] = Counter()
        self.rejected: Counter[str] = Counter()
        self.troubles: dict[str, str] = {}
        self._said: set[str] = set()
        """Signals whose trouble was told, and goes on."""
        self._unsaid: Counter[str] = Counter()
        """By signal: how many troubles passed before it was time for another line."""
        self._quiet_until_s: dict[str, float] = {}

    def give_up(self) -> int:
        """Nothing more will be heard of what is under way; returns how many lives that is."""
        for signal, count in self.under_way.items():
            self.lost[signal, UNSENT] += max(0, count)
        lives = max(0, self.under_way[TRACES])
        self.under_way.clear()
        return lives

    def take(self, told: dict[str, Any]) -> None:
        """Takes what the child told of one request."""
        signal = told.get("signal")
        if signal not in self.signals:
            return
        self.sent[signal] += _count(told, "sent")
        self.rejected[signal] += _count(told, "rejected")
        for reason in (UNSENT, REFUSED):
            self.lost[signal, reason] += _count(told, reason)
        self.under_way[signal] -= sum(_count(told, key) for key in ("sent", UNSENT, REFUSED))
        if told.get("trouble"):
            self.troubles[signal] = str(told["trouble"])[:_MOST_WORDS]
        elif _count(told, "sent") and self.troubles.pop(signal, "") and signal not in self._said:
            self._unsaid[signal] += 1
        self._tell(signal)

    def _tell(self, signal: str) -> None:
        """Says what is wrong, and that it is over; other words for a reason are nothing new."""
        trouble = self.troubles.get(signal)
        if signal in self._said:
            if not trouble:
                self._said.remove(signal)
                self.news.append(f"{signal}: the endpoint takes them again")
            return
        now_s = time.monotonic()
        unsaid = self._unsaid[signal]
        if now_s < self._quiet_until_s.get(signal, now_s) or not (trouble or unsaid):
            return
        self._quiet_until_s[signal] = now_s + QUIET_S
        del self._unsaid[signal]
        more = f"failed {plural(unsaid, 'time')} more since the last line"
        if trouble:
            self._said.add(signal)
            before = f"; {more}" if unsaid else ""
            counted = "tcptrace_otlp_lost_total counts what is lost"
            self.news.append(f"{signal}: {trouble}; {counted}{before}")
        else:
            self.news.append(f"{signal}: {more}, and works again")


def _count(told: dict[str, Any], key: str) -> int:
    value = told.get(key, 0)
    return value if isinstance(value, int) and 0 < value <= _MOST_TOLD else 0
