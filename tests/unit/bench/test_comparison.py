"""What counts as having got worse, of two runs of the bench."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from bench.comparison import differences, is_worse
from bench.results import INSTRUCTIONS, LESS, MORE, NEITHER, Column, Table, emit, tables_of

if TYPE_CHECKING:
    from pathlib import Path

HERE = {"cpu": "one", "cores": 2}


def figures(tmp_path: Path, *tables: Table, place: str = "natively") -> dict[str, Any]:
    file = tmp_path / "figures.json"
    emit(tables, file)
    told = json.loads(file.read_text()) | {"machine": HERE}
    return {"parts": {"lives": {place: told}}}


def table(unit: str, better: str, *values: float, row: str = "serve") -> Table:
    told = Table("", "tool", [Column("cost", unit, better)])
    told.add(row, values)
    return told


@pytest.mark.parametrize(
    ("unit", "better", "before", "now", "expected"),
    [
        (INSTRUCTIONS, LESS, [50_000], [50_900], False),
        (INSTRUCTIONS, LESS, [50_000], [51_100], True),
        (INSTRUCTIONS, LESS, [50_000], [40_000], False),
        (INSTRUCTIONS, LESS, [100], [250], False),
        ("s", LESS, [1.0, 1.1, 1.2], [1.15, 1.5, 1.6], False),
        ("s", LESS, [1.0, 1.1, 1.2], [1.3, 1.4, 1.5], True),
        ("s", LESS, [1.0, 1.0, 1.0], [1.01, 1.02, 1.03], False),
        ("events/s", MORE, [1000, 1100], [700, 800], True),
        ("events/s", MORE, [1000, 1100], [2000], False),
        ("", LESS, [0], [1], True),
    ],
)
def test_worse_is_more_than_chance(
    unit: str, better: str, before: list[float], now: list[float], *, expected: bool
) -> None:
    assert is_worse(before, now, Column("cost", unit, better)) is expected


def test_it_says_what_and_by_how_much(tmp_path: Path) -> None:
    before = figures(tmp_path, table("MB", LESS, 40), place="6.1")
    now = figures(tmp_path, table("MB", LESS, 80), place="6.1")
    assert list(differences(before, now, {"lives"})) == ["lives, 6.1: serve, cost: 40.0 → 80.0"]
    assert list(differences(before, before, {"lives"})) == []
    assert list(differences(before, now, {"scrape"})) == [], "it was not measured anew"
    assert list(differences({}, now, {"lives"})) == []


def test_what_is_gone_is_told(tmp_path: Path) -> None:
    before = figures(tmp_path, table("MB", LESS, 40))
    other = figures(tmp_path, table("MB", LESS, 40, row="port"))
    assert list(differences(before, other, {"lives"})) == [
        "lives, natively: serve, cost: was 40.0, and is told no more"
    ]
    nothing: dict[str, Any] = {"parts": {}}
    (line,) = differences(before, nothing, {"lives"})
    assert line == "lives, natively: was measured before, and is no more"


def test_native_times_of_another_machine_say_nothing(tmp_path: Path) -> None:
    before = figures(tmp_path, table("s", LESS, 1), table("MB", LESS, 1))
    before["parts"]["lives"]["natively"]["machine"] = {"cpu": "another"}
    now = figures(tmp_path, table("s", LESS, 2), table("MB", LESS, 1))
    assert list(differences(before, now, {"lives"})) == []


def test_what_is_neither_good_nor_bad_never_is_worse(tmp_path: Path) -> None:
    before = figures(tmp_path, table("events/s", NEITHER, 10))
    now = figures(tmp_path, table("events/s", NEITHER, 1))
    assert list(differences(before, now, {"lives"})) == []


def test_tables_come_back_as_they_were(tmp_path: Path) -> None:
    told = Table("t", "tool", [Column("a", "s"), Column("b")], notes=["n"], growth="g")
    told.add("row", [1, 2.5], None)
    (found,) = tables_of(figures(tmp_path, told)["parts"]["lives"]["natively"])
    assert found == told
