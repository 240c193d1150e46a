"""PromQL for panels: selectors by the dashboards' variables, and targets."""

from __future__ import annotations

from typing import Final, NamedTuple

from grafana_foundation_sdk.builders import prometheus
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

HOST: Final = 'job=~"$job",instance=~"$instance"'
NETNS: Final = f'{HOST},netns=~"$netns"'
LISTENER: Final = f'{NETNS},address=~"$address",port=~"$port"'
WHERE: Final = "instance, netns, address, port"
"""What makes a listener one, for `by`."""


class Target(NamedTuple):
    """One query of a panel."""

    expr: str
    legend: str = ""
    instant: bool = False
    """The newest value only, not a range."""
    form: PromQueryFormat = PromQueryFormat.TIME_SERIES

    def build(self, ref_id: str) -> prometheus.Dataquery:
        """The query as Grafana's panel has it."""
        query = prometheus.Dataquery().ref_id(ref_id).expr(self.expr).format(self.form)
        if self.legend:
            query = query.legend_format(self.legend)
        return query.instant() if self.instant else query.range()


def rate(metric: str, selector: str) -> str:
    """A counter's rate over the interval that Grafana finds fitting."""
    return f"rate({metric}{{{selector}}}[$__rate_interval])"


def sum_rate(metric: str, selector: str, by: str) -> str:
    """The same, added up by labels."""
    return f"sum by ({by}) ({rate(metric, selector)})"


def quantiles(histogram: str, selector: str, by: str = "") -> tuple[Target, ...]:
    """The median, the 90th and the 99th percentile of a histogram, by labels."""
    labels = f"le, {by}" if by else "le"
    legend = "".join(f"{{{{{label.strip()}}}}} " for label in by.split(",") if label)
    buckets = sum_rate(f"{histogram}_bucket", selector, labels)
    return tuple(
        Target(f"histogram_quantile({quantile}, {buckets})", f"{legend}{name}")
        for quantile, name in ((0.5, "p50"), (0.9, "p90"), (0.99, "p99"))
    )


def ratio(part: str, whole: str) -> str:
    """One rate over another, nothing where the other is 0."""
    return f"{part} / ({whole} > 0)"
