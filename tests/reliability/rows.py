"""Comparisons of the kernel's figures with tcptrace's, and tables of them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path


class Scene(NamedTuple):
    """What was done to the kernel and to tcptrace."""

    scenario: str
    load: str
    faults: str = "none"

    def row(
        self,
        figure: str,
        pairs: Sequence[tuple[int, int]],
        lost: int = 0,
        *,
        is_provoked: bool = True,
    ) -> Row:
        """Compares one figure.

        Args:
            pairs: the kernel's and tcptrace's, for each network namespace.
            lost: so many records and runs of this figure's hooks are known to be lost: so much
                may be missing. Where tcptrace tells more than the kernel, none is an excuse.
            is_provoked: whether the scenario makes it happen: then it must not be 0.

        Raises:
            AssertionError: the scenario did not come about.
        """
        kernel, ours = (sum(side) for side in zip(*pairs, strict=True))
        assert kernel or not is_provoked, f"{self.scenario}, {self.faults}: no {figure}"
        difference = sum(abs(one - other) for one, other in pairs)
        excuse = lost if all(one >= other for one, other in pairs) else 0
        return Row(*self, figure, kernel, ours, difference, excuse)


class Row(NamedTuple):
    """One figure, summed over the network namespaces of a scenario."""

    scenario: str
    load: str
    faults: str
    figure: str
    kernel: int
    tcptrace: int
    difference: int
    """The sum of what each namespace differs by, so that none makes up for another."""
    lost: int = 0
    """Records and runs of this figure's hooks that tcptrace itself says were lost, if that can be
    why it tells less."""

    @property
    def is_explained(self) -> bool:
        """Whether it is no more than what was lost: each lost record hides one at most."""
        return self.difference <= self.lost


def write(path: Path, kernel: str, rows: Iterable[Row]) -> None:
    """Writes one kernel's rows."""
    told = {"kernel": kernel, "rows": [row._asdict() for row in rows]}
    path.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


def read(path: Path) -> tuple[str, list[Row]]:
    """Reads a kernel's version and rows."""
    told = json.loads(path.read_bytes())
    return told["kernel"], [Row(**row) for row in told["rows"]]


_HEADINGS = (
    *("scenario", "load", "faults injected", "figure", "kernel", "tcptrace", "difference"),
    "explained by",
)


def table(rows: Iterable[Row]) -> str:
    """The rows in Markdown; what is as in the row above is left out."""
    lines = [_line(_HEADINGS), "|---|---|---|---|--:|--:|--:|---|"]
    last: tuple[str, ...] = ()
    for row in rows:
        where = row[:3]
        shown = ("", "", "") if where == last else where
        last = where
        figures = (f"{row.kernel:,}", f"{row.tcptrace:,}", f"{row.difference:,}")
        explained = _explained(row)
        lines.append(_line((*shown, row.figure, *figures, explained)))
    return "\n".join(lines)


def _explained(row: Row) -> str:
    if not row.difference:
        return ""
    return f"{row.lost:,} lost by its hooks" if row.is_explained else "**not explained**"


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
