"""A verdict's numbers, as text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tcptrace.verdicts.verdict import Verdict

_SECOND: Final = 1_000_000_000


class Told:
    """A verdict's numbers, as text."""

    def __init__(self, verdict: Verdict) -> None:
        self.verdict = verdict
        self.figures = verdict.figures

    def number(self, key: str) -> int:
        """A figure; 0 if it isn't known."""
        return int(self.figures.get(key, 0))

    def text(self, key: str) -> str:
        """`1,204`."""
        return f"{self.number(key):,}"

    def has(self, key: str) -> bool:
        """Whether it is known, and not 0."""
        return bool(self.figures.get(key))

    def percent(self, key: str) -> str:
        """`41 %`."""
        return percent(float(self.figures.get(key, 0)))


def percent(share: float) -> str:
    """Writes `41 %`, `0.3 %`."""
    number = 100 * share
    return f"{number:.1f} %" if 0 < number < 1 else f"{number:.0f} %"


def seconds(delays_ns: tuple[int, ...]) -> str:
    """Writes `1 s, 3 s`."""
    return ", ".join(f"{round(delay / _SECOND)} s" for delay in delays_ns)


def rate_text(rate: float) -> str:
    """Writes `9.1 a second`, `1,204 a second`."""
    return f"{rate:,.0f} a second" if rate >= 10 else f"{rate:.1f} a second"  # noqa: PLR2004


def clauses(*parts: str) -> str:
    """Joins what there is to one sentence."""
    return "; ".join(part for part in parts if part)
