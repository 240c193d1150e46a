"""What has got worse since the figures that were committed last.

Instructions repeat: more than 2 % is news. Other figures have a spread: they have got worse when
every run was worse than any before, by more than a tenth of the median; single figures likewise.
"""

from __future__ import annotations

import json
import statistics
import subprocess
from typing import TYPE_CHECKING, Any

from .parts import CHECKOUT, PARTS
from .results import INSTRUCTIONS, LESS, NEITHER, Column, shown, tables_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from .results import Table

FEW_INSTRUCTIONS = 0.02
MUCH = 0.10
_COUNTED = {part.name for part in PARTS if part.icount}
_NOISE = 200.0
"""Instructions a connection that nobody has added."""


def committed(file: Path) -> dict[str, Any]:
    """The last committed figures; those of the file, where there is no repository."""
    name = file.relative_to(CHECKOUT).as_posix()
    said = subprocess.run(
        ["git", "show", f"HEAD:{name}"], cwd=CHECKOUT, capture_output=True, text=True, check=False
    )
    if said.returncode == 0:
        text = said.stdout
    elif file.exists() and not (CHECKOUT / ".git").exists():
        text = file.read_text(encoding="utf-8")
    else:
        return {}
    figures: dict[str, Any] = json.loads(text)
    return figures


def differences(before: dict[str, Any], now: dict[str, Any], measured: set[str]) -> Iterator[str]:
    """Yields a line for each figure that has got worse, or is gone.

    Args:
        before: the figures of before.
        now: all of them, as of now.
        measured: the parts that were measured anew.
    """
    for name, places in before.get("parts", {}).items():
        if name not in measured:
            continue
        for place, told in places.items():
            found = now["parts"].get(name, {}).get(place)
            if found is None:
                yield f"{name}, {place}: was measured before, and is no more"
                continue
            new = {table.title: table for table in tables_of(found)}
            for table in tables_of(told):
                # Time depends on the machine; what is counted does not.
                is_timed = told["machine"] == found["machine"] or name in _COUNTED
                for line in _worse(table, new.get(table.title), is_timed=is_timed):
                    yield f"{name}, {place}{f', {table.title}' if table.title else ''}: {line}"


def _worse(before: Table, now: Table | None, *, is_timed: bool) -> Iterator[str]:
    if now is None:
        yield "the table is gone"
        return
    columns = {column.name: place for place, column in enumerate(now.columns)}
    for name, row in before.rows.items():
        for values, column in before.pairs(row):
            if not values or column.better == NEITHER:
                continue
            if column.unit in ("s", "ms", "µs", "events/s") and not is_timed:
                continue
            place = columns.get(column.name)
            new = now.rows[name][place] if place is not None and name in now.rows else []
            if not new:
                yield f"{name}, {column.name}: was {shown(values, column)}, and is told no more"
            elif is_worse(values, new, column):
                yield f"{name}, {column.name}: {shown(values, column)} → {shown(new, column)}"


def is_worse(before: list[float], now: list[float], column: Column) -> bool:
    """Whether that is more than chance."""
    sign = 1 if column.better == LESS else -1
    old, new = sign * statistics.median(before), sign * statistics.median(now)
    if column.unit == INSTRUCTIONS:
        return new - old > max(FEW_INSTRUCTIONS * abs(old), _NOISE)
    is_apart = min(sign * value for value in now) > max(sign * value for value in before)
    return is_apart and new - old > MUCH * abs(old)
