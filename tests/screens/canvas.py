"""A dashboard's sheet: panels on the grid, in the colours of Grafana's dark theme."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.backend_bases import RendererBase
    from matplotlib.text import Text

COLUMN: Final = 66
"""Pixels of one of the grid's 24 columns."""
ROW: Final = 34
GAP: Final = 8
WIDTH: Final = 24 * COLUMN + GAP
HEADER: Final = 52
FOOTER: Final = 34
DPI: Final = 100

PAGE: Final = "#111217"
PANEL: Final = "#181b1f"
EDGE: Final = "#25282d"
TEXT: Final = "#ccccdc"
FAINT: Final = "#8e8f98"
GRID: Final = "#2b2e34"
LINK: Final = "#6e9fff"
LEVELS: Final = {"green": "#73BF69", "orange": "#FF9830", "red": "#F2495C"}
PALETTE: Final = (
    "#73BF69", "#F2CC0C", "#8AB8FF", "#FF780A", "#F2495C", "#5794F2", "#B877D9", "#705DA0",
    "#37872D", "#FADE2A", "#447EBC", "#C15C17", "#890F02", "#0A437C", "#6D1F62", "#584477",
)  # fmt: skip
"""Grafana's classic palette."""


class Box(NamedTuple):
    """A rectangle in pixels; y grows downwards."""

    x: float
    y: float
    width: float
    height: float

    def inside(self, left: float, top: float, right: float, bottom: float) -> Box:
        """What is left within margins."""
        return Box(
            self.x + left, self.y + top, self.width - left - right, self.height - top - bottom
        )


class Sheet:
    """One picture.

    Args:
        rows: of the grid.
    """

    def __init__(self, rows: int) -> None:
        self.height = HEADER + rows * ROW + FOOTER
        self._figure = Figure(figsize=(WIDTH / DPI, self.height / DPI), dpi=DPI, facecolor=PAGE)
        self._canvas = FigureCanvasAgg(self._figure)

    def box_of(self, place: dict[str, int]) -> Box:
        """Where a panel lies."""
        return Box(
            GAP + place["x"] * COLUMN,
            HEADER + place["y"] * ROW,
            place["w"] * COLUMN - GAP,
            place["h"] * ROW - GAP,
        )

    def frame(self, box: Box) -> None:
        """Draws a panel's background."""
        self.fill(box, PANEL, edge=EDGE)

    def fill(self, box: Box, colour: str, *, edge: str = "none") -> None:
        """Draws a rectangle."""
        self._figure.add_artist(
            Rectangle(
                (box.x / WIDTH, 1 - (box.y + box.height) / self.height),
                box.width / WIDTH,
                box.height / self.height,
                transform=self._figure.transFigure,
                facecolor=colour,
                edgecolor=edge,
                linewidth=1,
                zorder=-1 if edge != "none" else 1,  # the axes' is 0
            )
        )

    def write(  # noqa: PLR0913 - a text has so many properties
        self,
        x: float,
        y: float,
        text: str,
        *,
        size: float = 9,
        colour: str = TEXT,
        bold: bool = False,
        to: str = "left",
    ) -> float:
        """Writes at a place (the text's middle is y) and returns the width in pixels."""
        artist = self._figure.text(
            x / WIDTH, 1 - y / self.height, text, fontsize=size, color=colour,
            fontweight="bold" if bold else "normal", ha=to, va="center",
        )  # fmt: skip
        return self._measure(artist)

    def width_of(self, text: str, size: float = 9) -> float:
        """How wide a text would be, pixels."""
        artist = self._figure.text(0, 0, text, fontsize=size)
        width = self._measure(artist)
        artist.remove()
        return width

    def _measure(self, artist: Text) -> float:
        renderer: RendererBase = self._canvas.get_renderer()  # type: ignore[no-untyped-call]
        return float(artist.get_window_extent(renderer).width)

    def cut(self, text: str, width: float, size: float = 9) -> str:
        """As much of a text as fits."""
        if self.width_of(text, size) <= width:
            return text
        while text and self.width_of(f"{text}…", size) > width:
            text = text[:-1]
        return f"{text}…"

    def axes(self, box: Box) -> Axes:
        """Axes that fill a box."""
        axes: Any = self._figure.add_axes(
            (
                box.x / WIDTH,
                1 - (box.y + box.height) / self.height,
                box.width / WIDTH,
                box.height / self.height,
            )
        )
        axes.set_facecolor(PANEL)
        axes.tick_params(colors=FAINT, labelsize=8, length=0)
        for spine in axes.spines.values():
            spine.set_visible(False)
        chosen: Axes = axes
        return chosen

    def save(self, path: Path) -> None:
        """Writes the PNG."""
        self._figure.savefig(path, dpi=DPI, facecolor=PAGE)
