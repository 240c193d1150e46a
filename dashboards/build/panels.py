"""Panels as these dashboards have them: what every one must have is an argument of each."""

from __future__ import annotations

from string import ascii_uppercase
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from grafana_foundation_sdk.builders import bargauge, common, heatmap, stat, table, timeseries
from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.common import (
    AxisPlacement,
    BarGaugeDisplayMode,
    BigValueColorMode,
    BigValueGraphMode,
    GraphTresholdsStyleMode,
    LegendDisplayMode,
    LegendPlacement,
    ScaleDistribution,
    SortOrder,
    StackingMode,
    TooltipDisplayMode,
    VisibilityMode,
    VizOrientation,
)
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode, HeatmapColorScale

if TYPE_CHECKING:
    from collections.abc import Iterable

    from grafana_foundation_sdk.cog.builder import Builder

    from dashboards.build.queries import Target

DATASOURCE: Final = models.DataSourceRef(type_val="prometheus", uid="${datasource}")
HEIGHT: Final = 8
"""Of panels, but for single numbers."""
_STAT_HEIGHT: Final = 4


class About(NamedTuple):
    """What every panel must say of itself."""

    title: str
    description: str
    """What it means, and what to do."""
    unit: str
    width: int = 12
    """Of 24."""


class Levels(NamedTuple):
    """From where on a value is worth a look, and from where on it is bad."""

    look: float | None = None
    bad: float | None = None

    def build(self) -> builders.ThresholdsConfig:
        """The thresholds as Grafana has them: green, orange, red."""
        steps = [models.Threshold(value=None, color="green")]
        if self.look is not None:
            steps.append(models.Threshold(value=self.look, color="orange"))
        if self.bad is not None:
            steps.append(models.Threshold(value=self.bad, color="red"))
        return builders.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(steps)


def _queries(targets: Iterable[Target]) -> list[Any]:
    return [target.build(ref) for ref, target in zip(ascii_uppercase, targets, strict=False)]


def _links(links: Iterable[Builder[models.DashboardLink]]) -> list[Any]:
    return list(links)


def lines(  # noqa: PLR0913 (each has a default)
    about: About,
    *targets: Target,
    levels: Levels = Levels(),  # noqa: B008 (immutable)
    stacked: bool = False,
    ends: tuple[float | None, float | None] = (0, None),
    right: str = "",
    links: Iterable[Builder[models.DashboardLink]] = (),
) -> timeseries.Panel:
    """Values over time.

    Args:
        about: What the panel says of itself.
        targets: What it shows.
        levels: Drawn as dashed lines.
        stacked: Whether the lines are parts of a whole.
        ends: The lower and the upper end of the axis, as far as they are known.
        right: The legend of a line of another magnitude, which gets an axis of its own.
        links: Where a click on a line leads.
    """
    legend = common.VizLegendOptions().display_mode(LegendDisplayMode.LIST)
    tooltip = common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI).sort(SortOrder.DESCENDING)
    panel = (
        timeseries.Panel()
        .title(about.title)
        .description(about.description)
        .unit(about.unit)
        .datasource(DATASOURCE)
        .height(HEIGHT)
        .span(about.width)
        # A line on a stack that is nothing itself would take the colour of what is below it.
        .line_width(0 if stacked else 1)
        .fill_opacity(70 if stacked else 8)
        .show_points(VisibilityMode.NEVER)
        .color_scheme(builders.FieldColor().mode(models.FieldColorModeId.PALETTE_CLASSIC))
        .legend(legend.placement(LegendPlacement.BOTTOM).show_legend(show_legend=True).calcs([]))
        .tooltip(tooltip)
        .thresholds(levels.build())
        .targets(_queries(targets))
    )
    least, most = ends
    if least is not None:
        panel = panel.min(least)
    if most is not None:
        panel = panel.max(most)
    if stacked:
        panel = panel.stacking(common.StackingConfig().mode(StackingMode.NORMAL).group("A"))
    if right:
        placement = models.DynamicConfigValue(id_val="custom.axisPlacement", value="right")
        panel = panel.override_by_name(right, [placement])
    if levels != Levels():
        style = common.GraphThresholdsStyleConfig().mode(GraphTresholdsStyleMode.DASHED)
        panel = panel.thresholds_style(style)
    return panel.data_links(_links(links)) if links else panel


def _last() -> common.ReduceDataOptions:
    return common.ReduceDataOptions().calcs(["lastNotNull"]).fields("").values(values=False)


def number(
    about: About,
    target: Target,
    levels: Levels = Levels(),  # noqa: B008 (immutable)
    height: int = _STAT_HEIGHT,
) -> stat.Panel:
    """One number, with its past as a shadow."""
    return (
        stat.Panel()
        .title(about.title)
        .description(about.description)
        .unit(about.unit)
        .datasource(DATASOURCE)
        .height(height)
        .span(about.width)
        .reduce_options(_last())
        .color_mode(BigValueColorMode.VALUE)
        .graph_mode(BigValueGraphMode.AREA)
        .no_value("–")
        .thresholds(levels.build())
        .targets(_queries((target,)))
    )


def bars(
    about: About,
    *targets: Target,
    levels: Levels = Levels(),  # noqa: B008 (immutable)
    most: float | None = None,
    links: Iterable[Builder[models.DashboardLink]] = (),
) -> bargauge.Panel:
    """The newest values side by side."""
    panel = (
        bargauge.Panel()
        .title(about.title)
        .description(about.description)
        .unit(about.unit)
        .datasource(DATASOURCE)
        .height(HEIGHT)
        .span(about.width)
        .min(0)
        .reduce_options(_last())
        .display_mode(BarGaugeDisplayMode.BASIC)
        .orientation(VizOrientation.HORIZONTAL)
        .thresholds(levels.build())
        .targets(_queries(targets))
    )
    if most is not None:
        panel = panel.max(most)
    return panel.data_links(_links(links)) if links else panel


def heat(about: About, target: Target) -> heatmap.Panel:
    """A histogram's buckets over time."""
    color = heatmap.HeatmapColorOptions().mode(HeatmapColorMode.SCHEME).scheme("Oranges").steps(64)
    return (
        heatmap.Panel()
        .title(about.title)
        .description(about.description)
        .unit(about.unit)
        .datasource(DATASOURCE)
        .height(HEIGHT)
        .span(about.width)
        .calculate(calculate=False)
        .color(color.exponent(0.5).scale(HeatmapColorScale.EXPONENTIAL).reverse(reverse=False))
        .y_axis(heatmap.YAxisConfig().unit(about.unit).axis_placement(AxisPlacement.LEFT))
        .cell_gap(1)
        .scale_distribution(common.ScaleDistributionConfig().type(ScaleDistribution.LINEAR))
        .show_legend()
        .show_tooltip()
        .show_y_histogram()
        .targets(_queries((target,)))
    )


class Column(NamedTuple):
    """One column of values in a table."""

    title: str
    target: Target
    unit: str
    levels: Levels = Levels()


def grid(
    about: About,
    columns: Iterable[Column],
    labels: Iterable[str],
    links: Iterable[Builder[models.DashboardLink]] = (),
) -> table.Panel:
    """A table with a line for each combination of labels.

    Args:
        about: What the panel says of itself; its unit is that of columns without one.
        columns: The values; the table is sorted by the first.
        labels: Those that are shown, in the order of the table.
        links: Where a click on a cell leads.
    """
    columns = list(columns)
    values = {
        f"Value #{ref}": column for ref, column in zip(ascii_uppercase, columns, strict=False)
    }
    if len(values) == 1:
        values = {"Value": columns[0]}
    titles = {value: column.title for value, column in values.items()}
    order = [*labels, *titles]
    panel = (
        table.Panel()
        .title(about.title)
        .description(about.description)
        .unit(about.unit)
        .datasource(DATASOURCE)
        .height(HEIGHT)
        .span(about.width)
        .show_header(show_header=True)
        .sort_by([common.TableSortByFieldState().display_name(columns[0].title).desc(desc=True)])
        .thresholds(Levels().build())
        .targets(_queries(column.target for column in columns))
        .with_transformation(models.DataTransformerConfig(id_val="merge", options={}))
        .with_transformation(
            models.DataTransformerConfig(
                id_val="filterFieldsByName", options={"include": {"names": order}}
            )
        )
        .with_transformation(
            models.DataTransformerConfig(
                id_val="organize",
                options={
                    "indexByName": {name: at for at, name in enumerate(order)},
                    "renameByName": titles,
                },
            )
        )
    )
    for column in columns:
        panel = panel.override_by_name(column.title, _column_properties(column))
    return panel.data_links(_links(links)) if links else panel


def _column_properties(column: Column) -> list[models.DynamicConfigValue]:
    properties = [models.DynamicConfigValue(id_val="unit", value=column.unit)]
    if column.levels != Levels():
        properties += [
            models.DynamicConfigValue(id_val="thresholds", value=column.levels.build().build()),
            models.DynamicConfigValue(id_val="custom.cellOptions", value={"type": "color-text"}),
        ]
    return properties
