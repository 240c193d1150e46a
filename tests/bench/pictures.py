"""Draws the growth curves of docs/performance.json into docs/img."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any, NamedTuple

import matplotlib as mpl
from matplotlib.ticker import MaxNLocator

from .parts import CHECKOUT
from .results import tables_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from matplotlib.axes import Axes

    from .results import Table

IMAGES = CHECKOUT / "docs" / "img"
_COLOURS = ("#1f5a8c", "#c0562b", "#4f7f3a", "#7a5195")
_WORDS = "#444444"
_MANY = 100.0
"""From so much of the first to the last on, an axis is logarithmic."""


class Picture(NamedTuple):
    """Some columns of the tables of a part that are growth curves; a panel each.

    Attributes:
        part: whose.
        file: in docs/img.
        title: what it shows.
        columns: one a panel.
        x: the column along which they grow; the rows' names if empty.
        growth: of the tables that are meant; all of them if empty.
    """

    part: str
    file: str
    title: str
    columns: tuple[str, ...]
    x: str = ""
    growth: tuple[str, ...] = ()


PICTURES = (
    Picture(
        "load",
        "performance-load.svg",
        "Events told and events lost by connections a second",
        ("told", "lost"),
        "made",
    ),
    Picture(
        "lives",
        "performance-lives.svg",
        "The cost of an event by open lives, beside them and of theirs",
        ("an event beside them", "an event of theirs"),
    ),
    Picture(
        "scrape",
        "performance-scrape.svg",
        "A scrape by listeners and by open sockets",
        ("took",),
        growth=("listeners", "open sockets"),
    ),
)


def draw(figures: dict[str, Any]) -> None:
    """Draws each picture whose part has been measured."""
    mpl.use("svg")
    # The same figures make the same file.
    mpl.rcParams.update({"svg.hashsalt": "tcptrace", "svg.fonttype": "none", "font.size": 9})
    for picture in PICTURES:
        places = figures["parts"].get(picture.part)
        if places:
            _draw(picture, places)


def _draw(picture: Picture, places: dict[str, Any]) -> None:
    from matplotlib import pyplot as plt  # noqa: PLC0415 - after the choice of what draws

    curves = [table for told in places.values() for table in tables_of(told) if table.growth]
    panels = [
        (column, [table for table in curves if table.growth == growth])
        for growth in picture.growth or (curves[0].growth,)
        for column in picture.columns
    ]
    figure, axes = plt.subplots(1, len(panels), figsize=(4.8 * len(panels), 3.6), squeeze=False)
    for ax, (column, tables) in zip(axes[0], panels, strict=True):
        _panel(ax, column, tables, picture.x)
    figure.suptitle(picture.title, x=0.012, ha="left", fontsize=11, fontweight="bold")
    figure.tight_layout(w_pad=3)
    figure.savefig(IMAGES / picture.file, metadata={"Date": None, "Creator": None})
    plt.close(figure)


def _panel(ax: Axes, column: str, tables: list[Table], along: str) -> None:
    for table, colour in zip(tables, _COLOURS, strict=False):
        points = sorted(_points(table, column, along))
        if not points:
            continue
        x, y = zip(*points, strict=True)
        middle = [statistics.median(values) for values in y]
        ax.plot(x, middle, marker="o", markersize=4, color=colour, label=table.title, clip_on=False)
        ax.fill_between(
            x, list(map(min, y)), list(map(max, y)), color=colour, alpha=0.2, linewidth=0
        )
        if min(x) > 0 and max(x) / min(x) >= _MANY:
            ax.set_xscale("log")
        else:
            ax.xaxis.set_major_locator(MaxNLocator(5))
    unit = next(one.unit for one in tables[0].columns if one.name == column)
    ax.set_xlabel(tables[0].growth)
    # What is measured stands above its axis, to be read without turning one's head.
    ax.set_title(f"{column}, {unit}", loc="left", fontsize=9, color=_WORDS)
    ax.set_ylim(bottom=0)
    ax.tick_params(length=0, labelcolor=_WORDS)
    ax.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    ax.yaxis.set_major_formatter(lambda value, _: f"{value:,.10g}")
    ax.grid(visible=True, color="#dddddd", linewidth=0.6)
    ax.set_axisbelow(True)
    for side in ("top", "right", "left"):
        ax.spines[side].set_visible(False)
    if any(table.title for table in tables):
        ax.legend(frameon=False)


def _points(table: Table, column: str, along: str) -> Iterator[tuple[float, list[float]]]:
    names = [one.name for one in table.columns]
    place = names.index(column)
    for name, row in table.rows.items():
        if row[place]:
            x = statistics.median(row[names.index(along)]) if along else name.replace(",", "")
            yield float(x), row[place]
