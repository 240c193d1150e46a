"""What a part of the bench measured, in a form that pages, pictures and comparisons are made of.

Each module of the bench prints for people; with `--json FILE` it writes its tables there too.
"""

from __future__ import annotations

import json
import platform
import statistics
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Sequence

LESS, MORE, NEITHER = "less", "more", ""
"""Which of two figures of a column is the better one."""
INSTRUCTIONS = "instructions"
_DIGITS = {
    INSTRUCTIONS: ",.0f",
    "s": ",.2f",
    "ms": ",.1f",
    "µs": ",.2f",
    "MB": ",.1f",
    "%": ",.1f",
    "×": ",.2f",
}


@dataclass(frozen=True)
class Column:
    """What a column has: "resident", "MB", and which is better."""

    name: str
    unit: str = ""
    better: str = LESS


@dataclass
class Table:
    """Figures of the same kinds of several things.

    Attributes:
        title: which of a part's tables it is.
        head: what the rows are.
        rows: for each column the values of all runs; empty where there is none.
        notes: sentences for below it.
        growth: what the rows' names count, where they are points of a curve.
    """

    title: str
    head: str
    columns: list[Column]
    rows: dict[str, list[list[float]]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    growth: str = ""

    def add(self, name: str, *values: float | Sequence[float] | None) -> None:
        """Adds a row: of each column a value, or those of several runs."""
        assert len(values) == len(self.columns), name
        self.rows[name] = [_listed(value) for value in values]

    def text(self) -> str:
        """For people at a terminal."""
        told = [[shown(v, c) for v, c in self.pairs(row)] for row in self.rows.values()]
        heads = [f"{column.name} [{column.unit}]" if column.unit else column.name
                 for column in self.columns]  # fmt: skip
        widths = [max(map(len, column)) + 2 for column in zip(heads, *told, strict=True)]
        first = max(len(name) for name in (self.head, *self.rows)) + 1
        lines = [self.title] if self.title else []
        for name, cells in ((self.head, heads), *zip(self.rows, told, strict=True)):
            padded = (cell.rjust(width) for cell, width in zip(cells, widths, strict=True))
            lines.append(name.ljust(first) + "".join(padded))
        return "\n".join([*lines, *self.notes])

    def pairs(self, row: list[list[float]]) -> Iterable[tuple[list[float], Column]]:
        """Each value of a row with its column."""
        return zip(row, self.columns, strict=True)


def _listed(value: float | Sequence[float] | None) -> list[float]:
    if value is None:
        return []
    values = [value] if isinstance(value, int | float) else list(value)
    return [float(f"{one:.6g}") for one in values]


def shown(values: Sequence[float], column: Column) -> str:
    """The median, and what it was among."""
    if not values:
        return "–"
    digits = _DIGITS.get(column.unit, ",.0f")
    middle = format(statistics.median(values), digits)
    if len(values) == 1:
        return middle
    return f"{middle} ({min(values):{digits}} to {max(values):{digits}})"


def add_json_option(parser: argparse.ArgumentParser) -> None:
    """--json FILE."""
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")


def emit(tables: Iterable[Table], file: Path | None) -> None:
    """Prints the tables, and writes them with the kernel that they are of."""
    kept = list(tables)
    for table in kept:
        print(table.text(), end="\n\n", flush=True)
    if file is not None:
        told = {"kernel": platform.release(), "tables": [asdict(table) for table in kept]}
        file.write_text(json.dumps(told, ensure_ascii=False), encoding="utf-8")


def tables_of(told: dict[str, Any]) -> list[Table]:
    """The inverse of emit: a part's tables from its JSON."""
    return [
        Table(**{**table, "columns": [Column(**column) for column in table["columns"]]})
        for table in told.get("tables", ())
    ]
