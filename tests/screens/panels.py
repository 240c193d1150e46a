"""Each kind of panel, drawn from its JSON and what its queries found."""

from __future__ import annotations

import re
import time
from itertools import cycle
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
from matplotlib.ticker import FuncFormatter, MaxNLocator

from . import canvas
from .units import text_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from faults.prometheus import Found
    from matplotlib.axes import Axes

    from .canvas import Box, Sheet

_TITLE: Final = 26
_LEGEND_LINE: Final = 16
_MOST_LEGEND_LINES: Final = 3
_AXIS: Final = 64
_ROW: Final = 26
_MIB: Final = 1 << 20
_NO_DATA: Final = "No data"
Answers = dict[str, "list[Found]"]
"""What each query found, by its letter."""


class Span(NamedTuple):
    """What time is shown, Unix seconds."""

    from_s: float
    to_s: float


def draw(sheet: Sheet, panel: dict[str, Any], answers: Answers, span: Span) -> bool:
    """Draws a panel; returns whether it had anything to show."""
    box = sheet.box_of(panel["gridPos"])
    if panel["type"] == "row":
        sheet.write(box.x + 4, box.y + box.height / 2, f"⌄  {panel['title']}", size=11, bold=True)
        return True
    sheet.frame(box)
    title = sheet.cut(panel["title"], box.width - 20, 10)
    sheet.write(box.x + 10, box.y + 15, title, size=10, bold=True)
    inner = box.inside(10, _TITLE, 10, 8)
    if not any(answers.values()):
        sheet.write(inner.x + inner.width / 2, inner.y + inner.height / 2, _NO_DATA,
                    size=11, colour=canvas.FAINT, to="center")  # fmt: skip
        return False
    _DRAWERS[panel["type"]](sheet, inner, panel, answers, span)
    return True


def _defaults(panel: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = panel["fieldConfig"]["defaults"]
    return found


def _level(value: float, thresholds: dict[str, Any]) -> str:
    """The colour of a value, by its thresholds."""
    name = "green"
    for step in thresholds["steps"]:
        if step["value"] is None or value >= step["value"]:
            name = step["color"]
    return canvas.LEVELS[name]


def _legend_of(target: dict[str, Any], labels: dict[str, str]) -> str:
    form = target.get("legendFormat", "")
    if form:
        return re.sub(r"{{(\w+)}}", lambda found: labels.get(found[1], ""), form)
    return ", ".join(f"{key}={value}" for key, value in labels.items()) or "Value"


def _named(panel: dict[str, Any], answers: Answers) -> list[tuple[str, Found]]:
    return [
        (_legend_of(target, found.labels), found)
        for target in panel["targets"]
        for found in answers[target["refId"]]
    ]


# Lines.


def _draw_lines(
    sheet: Sheet, box: Box, panel: dict[str, Any], answers: Answers, span: Span
) -> None:
    custom = _defaults(panel)["custom"]
    lines = _named(panel, answers)
    colours = [colour for colour, _ in zip(cycle(canvas.PALETTE), lines, strict=False)]
    legend = _draw_legend(sheet, box, [name for name, _ in lines], colours)
    right = _on_the_right(panel)
    place = box.inside(_AXIS, 4, _AXIS if right else 4, legend + 22)
    axes = sheet.axes(place)
    _set_time(axes, span)
    is_stacked = custom.get("stacking", {}).get("mode") == "normal"
    if is_stacked:
        _stack(axes, [found for _, found in lines], colours, custom["fillOpacity"] / 100)
    else:
        for (name, found), colour in zip(lines, colours, strict=True):
            if name not in right:
                _plot(axes, found, colour)
    _set_values(axes, _defaults(panel))
    for (name, found), colour in zip(lines, colours, strict=True):
        if name in right:
            other = axes.twinx()
            other.set_frame_on(False)
            other.tick_params(colors=canvas.FAINT, labelsize=8, length=0)
            _plot(other, found, colour)
            _set_values(other, _defaults(panel))
    if custom.get("thresholdsStyle", {}).get("mode") == "dashed":
        _draw_levels(axes, _defaults(panel)["thresholds"])


def _on_the_right(panel: dict[str, Any]) -> set[str]:
    """The names of the lines that have an axis of their own."""
    return {
        override["matcher"]["options"]
        for override in panel["fieldConfig"]["overrides"]
        for one in override["properties"]
        if (one["id"], one["value"]) == ("custom.axisPlacement", "right")
    }


def _plot(axes: Axes, found: Found, colour: str) -> None:
    times, values = zip(*found.points, strict=True)
    axes.plot(times, values, color=colour, linewidth=1.3)
    axes.fill_between(times, values, color=colour, alpha=0.06, linewidth=0)


def _stack(axes: Axes, lines: Sequence[Found], colours: Sequence[str], opacity: float) -> None:
    times = sorted({at_s for found in lines for at_s, _ in found.points})
    below = np.zeros(len(times))
    for found, colour in zip(lines, colours, strict=True):
        values = dict(found.points)
        above = below + np.array([values.get(at_s, 0.0) for at_s in times])
        axes.fill_between(times, below, above, color=colour, alpha=opacity, linewidth=0)
        axes.plot(times, above, linewidth=0)
        below = above


def _set_time(axes: Axes, span: Span) -> None:
    axes.set_xlim(span.from_s, span.to_s)
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(
        FuncFormatter(lambda at_s, _: time.strftime("%H:%M:%S", time.localtime(at_s)))
    )
    axes.grid(visible=True, color=canvas.GRID, linewidth=0.6)
    axes.set_axisbelow(True)


def _set_values(axes: Axes, defaults: dict[str, Any]) -> None:
    least, most = axes.get_ylim()
    top = defaults.get("max", most * 1.02 if most > 0 else 1)
    bottom = defaults.get("min", least)
    if "max" not in defaults and "min" in defaults and max(_heights(axes), default=0) <= 0:
        top = 1
    axes.set_ylim(bottom, top + (top - bottom) * 0.02)
    unit = defaults["unit"]
    step = _MIB if unit == "bytes" else 1
    ticks = MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]).tick_values(bottom / step, top / step)
    axes.set_yticks([tick * step for tick in ticks if bottom <= tick * step <= top])
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: text_of(value, unit)))


def _heights(axes: Axes) -> list[float]:
    return [float(np.nanmax(np.asarray(line.get_ydata(), dtype=float))) for line in axes.lines]


def _draw_levels(axes: Axes, thresholds: dict[str, Any]) -> None:
    for step in thresholds["steps"]:
        value = step["value"]
        if value is not None and axes.get_ylim()[0] < value <= axes.get_ylim()[1]:
            colour = canvas.LEVELS[step["color"]]
            axes.axhline(value, color=colour, linewidth=1, linestyle="--", alpha=0.8)


def _draw_legend(sheet: Sheet, box: Box, names: Sequence[str], colours: Sequence[str]) -> float:
    """Draws it at the box's bottom, line by line; returns its height."""
    lines: list[list[tuple[str, str]]] = [[]]
    used = 0.0
    for name, colour in zip(names, colours, strict=True):
        width = sheet.width_of(name, 8) + 34
        if used + width > box.width and lines[-1]:
            lines.append([])
            used = 0.0
        lines[-1].append((name, colour))
        used += width
    if len(lines) > _MOST_LEGEND_LINES:
        left = sum(len(line) for line in lines[_MOST_LEGEND_LINES - 1 :])
        lines = [*lines[: _MOST_LEGEND_LINES - 1], [(f"and {left} more", canvas.FAINT)]]
    height = len(lines) * _LEGEND_LINE
    y = box.y + box.height - height + _LEGEND_LINE / 2
    for line in lines:
        x = box.x
        for name, colour in line:
            sheet.fill(canvas.Box(x, y - 2, 14, 4), colour)
            x += 20 + sheet.write(x + 20, y, name, size=8) + 14
        y += _LEGEND_LINE
    return height


# Numbers, bars, tables, heat.


def _draw_stat(sheet: Sheet, box: Box, panel: dict[str, Any], answers: Answers, span: Span) -> None:
    (found,) = next(found for found in answers.values() if found)
    defaults = _defaults(panel)
    value = found.points[-1][1]
    colour = _level(value, defaults["thresholds"])
    axes = sheet.axes(canvas.Box(box.x - 9, box.y + box.height * 0.6, box.width + 18,
                                 box.height * 0.4 + 7))  # fmt: skip
    axes.set_axis_off()
    times, values = zip(*found.points, strict=True)
    axes.fill_between(times, values, color=colour, alpha=0.2, linewidth=0)
    axes.plot(times, values, color=colour, linewidth=1, alpha=0.7)
    axes.set_xlim(span.from_s, span.to_s)
    axes.set_ylim(min(0, *values), max(*values, 1e-9) * 1.1)
    sheet.write(box.x + box.width / 2, box.y + box.height * 0.3, text_of(value, defaults["unit"]),
                size=24, colour=colour, bold=True, to="center")  # fmt: skip


def _draw_bars(
    sheet: Sheet, box: Box, panel: dict[str, Any], answers: Answers, _span: Span
) -> None:
    defaults = _defaults(panel)
    lines = _named(panel, answers)
    most = defaults.get("max") or max(found.points[-1][1] for _, found in lines)
    step = min(64.0, box.height / len(lines))
    for place, (name, found) in enumerate(lines):
        value = found.points[-1][1]
        top = box.y + place * step
        sheet.write(box.x, top + 10, name, size=9)
        bar = canvas.Box(box.x, top + 20, box.width - 90, step - 28)
        sheet.fill(bar, canvas.GRID)
        colour = _level(value, defaults["thresholds"])
        share = max(0.0, min(1.0, value / most))
        sheet.fill(bar._replace(width=bar.width * share), colour)
        text, middle = text_of(value, defaults["unit"]), top + 20 + (step - 28) / 2
        sheet.write(box.x + box.width, middle, text, size=14, colour=colour, to="right")


def _draw_table(
    sheet: Sheet, box: Box, panel: dict[str, Any], answers: Answers, _span: Span
) -> None:
    """Merges the queries' answers to lines, as the panel's transformations say."""
    (organize,) = (one["options"] for one in panel["transformations"] if one["id"] == "organize")
    order: list[str] = sorted(organize["indexByName"], key=organize["indexByName"].__getitem__)
    titles = {name: organize["renameByName"].get(name, name) for name in order}
    lines = _merged(panel, answers, order)
    (sort,) = panel["options"]["sortBy"]
    by = next(name for name, title in titles.items() if title == sort["displayName"])
    lines.sort(key=lambda line: line.get(by, float("-inf")), reverse=sort["desc"])
    properties = {
        override["matcher"]["options"]: {one["id"]: one["value"] for one in override["properties"]}
        for override in panel["fieldConfig"]["overrides"]
    }
    cells = [
        [_cell(line.get(name), properties.get(titles[name], {}), panel) for name in order]
        for line in lines
    ]
    widths = [
        max(sheet.width_of(text, 9) for text in (title, *(row[at][0] for row in cells))) + 18
        for at, title in enumerate(titles.values())
    ]
    scale = box.width / sum(widths)
    starts = [box.x + scale * sum(widths[:at]) for at in range(len(widths))]
    for at, title in enumerate(titles.values()):
        text = sheet.cut(title, widths[at] * scale - 6)
        sheet.write(starts[at], box.y + 12, text, colour=canvas.LINK, bold=True)
    for number, row in enumerate(cells):
        y = box.y + 12 + (number + 1) * _ROW
        sheet.fill(canvas.Box(box.x, y - _ROW / 2, box.width, 1), canvas.GRID)
        for at, (text, colour) in enumerate(row):
            sheet.write(starts[at], y, sheet.cut(text, widths[at] * scale - 6), colour=colour)


def _merged(panel: dict[str, Any], answers: Answers, order: Sequence[str]) -> list[dict[str, Any]]:
    is_alone = len(panel["targets"]) == 1
    lines: dict[tuple[str, ...], dict[str, Any]] = {}
    for target in panel["targets"]:
        value = "Value" if is_alone else f"Value #{target['refId']}"
        for found in answers[target["refId"]]:
            shown = {name: found.labels[name] for name in order if name in found.labels}
            lines.setdefault(tuple(shown.values()), shown)[value] = found.points[-1][1]
    return list(lines.values())


def _cell(value: object, properties: dict[str, Any], panel: dict[str, Any]) -> tuple[str, str]:
    if not isinstance(value, float):
        return str(value or ""), canvas.TEXT
    colour = canvas.TEXT
    if properties.get("custom.cellOptions", {}).get("type") == "color-text":
        colour = _level(value, properties["thresholds"])
    return text_of(value, properties.get("unit", _defaults(panel)["unit"])), colour


def _draw_heat(sheet: Sheet, box: Box, panel: dict[str, Any], answers: Answers, span: Span) -> None:
    """Buckets are cumulative: each cell is what its bucket has more than the one below."""
    (buckets,) = answers.values()
    buckets = sorted(buckets, key=lambda found: float(found.labels["le"]))
    times = sorted({at_s for found in buckets for at_s, _ in found.points})
    levels = np.array([[dict(one.points).get(at_s, 0) for at_s in times] for one in buckets])
    cells = np.maximum(np.diff(levels, axis=0, prepend=0), 0)
    axes = sheet.axes(box.inside(_AXIS, 4, 4, 30))
    _set_time(axes, span)
    axes.grid(visible=False)
    step = (times[-1] - times[0]) / max(1, len(times) - 1)
    edges = [*(at_s - step / 2 for at_s in times), times[-1] + step / 2]
    shown = np.ma.masked_equal(np.sqrt(cells), 0)
    axes.pcolormesh(edges, np.arange(len(buckets) + 1), shown, cmap="Oranges_r", vmin=0,
                    edgecolors=canvas.PANEL, linewidth=0.4)  # fmt: skip
    axes.set_yticks(np.arange(len(buckets)) + 0.5)
    unit = _defaults(panel).get("unit", "s")
    bounds = [float(found.labels["le"]) for found in buckets]
    axes.set_yticklabels(["+Inf" if b == float("inf") else text_of(b, unit) for b in bounds])
    axes.set_ylim(0, len(buckets))
    sheet.write(box.x, box.y + box.height - 4, f"brightest: {cells.max():.3g}", size=8,
                colour=canvas.FAINT)  # fmt: skip


_DRAWERS: Final[dict[str, Callable[[Sheet, Box, dict[str, Any], Answers, Span], None]]] = {
    "timeseries": _draw_lines,
    "stat": _draw_stat,
    "bargauge": _draw_bars,
    "table": _draw_table,
    "heatmap": _draw_heat,
}
