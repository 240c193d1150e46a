"""What is told of the aims, and of what a connection's cost is made."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from bench import aims, makeup
from bench.results import INSTRUCTIONS, Column, Table, emit

if TYPE_CHECKING:
    from pathlib import Path


def part(tmp_path: Path, table: Table) -> dict[str, Any]:
    file = tmp_path / "figures.json"
    emit([table], file)
    told: dict[str, Any] = json.loads(file.read_text())
    return told


def instructions(tmp_path: Path, tool: str, in_all: float, probes: float) -> dict[str, Any]:
    columns = [Column("in all", INSTRUCTIONS), Column("probes", INSTRUCTIONS)]
    table = Table("", "added by", columns)
    table.add(tool, in_all, probes)
    return part(tmp_path, table)


def hooks(tmp_path: Path, trace: str, *values: float) -> dict[str, Any]:
    names = ("added", "drained", "empty programs", "records filled and sent")
    table = Table("All hooks", "trace", [Column(name, INSTRUCTIONS) for name in names])
    table.add(trace, *values)
    return part(tmp_path, table)


def test_what_was_not_measured_is_not_told() -> None:
    assert list(aims.lines({"parts": {}}))[2:] == []
    assert list(makeup.lines({"parts": {}})) == []


def test_an_aim_is_met_or_not(tmp_path: Path) -> None:
    for in_all, word in ((49_000, "met"), (51_000, "**not met**")):
        told = {"instructions": {"6.1": instructions(tmp_path, "tcptrace serve", in_all, 10_000)}}
        (line,) = list(aims.lines({"parts": told}))[2:]
        assert line.endswith(f"| ≤ 50,000 | {in_all:,} | {word} |")


def test_more_can_be_the_aim(tmp_path: Path) -> None:
    table = Table("", "from the ring's bytes", [Column("rate", "events/s")])
    table.add("serve: lives, counts, one scrape", [1e6, 3e6, 2e6])
    told = {"userland": {"natively": part(tmp_path, table)}}
    (line,) = list(aims.lines({"parts": told}))[2:]
    assert line.endswith("| ≥ 1,000,000 | 2,000,000 | met |")


def test_the_worst_row_counts(tmp_path: Path) -> None:
    table = Table("", "command", [Column("took", "s")])
    table.add("tcptrace --version", [0.1])
    table.add("tcptrace replay", [0.3])
    told = {"start": {"natively": part(tmp_path, table)}}
    (line,) = list(aims.lines({"parts": told}))[2:]
    assert line.endswith("| ≤ 0.15 | 0.3 | **not met** |")


def test_a_cost_is_made_of_parts_that_add_up(tmp_path: Path) -> None:
    figures = {
        "parts": {
            "instructions": {"6.1": instructions(tmp_path, "tcptrace serve", 50_000, 11_000)},
            "hooks": {"6.1": hooks(tmp_path, "serve, fentry", 11_000, 3_000, 2_500, 6_000)},
        }
    }
    made = makeup.makeup(figures, "6.1", "tcptrace serve", "serve, fentry")
    assert made is not None
    assert made == (2_500, 3_500, 5_000, 3_000, 36_000)
    assert made.floor == 9_000
    assert sum(made) == 50_000
    assert "| in all, to the floor | 5.6 × |" in list(makeup.lines(figures))


def test_what_is_left_out_sends_nothing(tmp_path: Path) -> None:
    tool = "tcptrace port, of another port"
    table = Table(
        "All hooks",
        "trace",
        [
            Column("drained", INSTRUCTIONS),
            Column("empty programs", INSTRUCTIONS),
            Column("records filled and sent", INSTRUCTIONS),
        ],
    )
    table.add("port, of another port, fentry", 10, 2_500, None)
    figures = {
        "parts": {
            "instructions": {"6.1": instructions(tmp_path, tool, 3_600, 3_500)},
            "hooks": {"6.1": part(tmp_path, table)},
        }
    }
    made = makeup.makeup(figures, "6.1", tool, "port, of another port, fentry")
    assert made == (2_500, 0, 1_000, 10, 90)
