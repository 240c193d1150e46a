"""The dashboards' panels, and their queries as Grafana would ask them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

BOARDS: Final = sorted(
    Path(__file__).resolve().parents[2].joinpath("dashboards/grafana").glob("*.json")
)


def read_board(path: Path) -> dict[str, Any]:
    """One dashboard's JSON."""
    board: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return board


def panels(board: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every panel, the rows too."""
    for panel in board["panels"]:
        yield panel
        yield from panel.get("panels", ())


def with_values(expr: str, interval_s: float, port: str = ".*") -> str:
    """A query with every variable's value when all is chosen.

    Args:
        expr: the query.
        interval_s: between two scrapes; Grafana takes rates over four of them.
        port: of the listeners that are chosen.
    """
    for name, value in {
        "$__rate_interval": f"{round(4000 * interval_s)}ms",
        "$job": "tcptrace",
        "$instance": ".*",
        "$netns": ".*",
        "$address": ".*",
        "$port": port,
        "$state": ".*",
    }.items():
        expr = expr.replace(name, value)
    assert "$" not in expr, expr
    return expr
