"""Makes metric families as the catalogue has them, so that no name, label or help can drift."""

from __future__ import annotations

from typing import Final

from tcptrace.sinks.metrics.catalogue import BY_NAME, Type
from tcptrace.sinks.metrics.client import CounterMetricFamily, GaugeMetricFamily
from tcptrace.sinks.terminal import safe_text

_MOST_LABEL: Final = 64
"""Characters of a label value that somebody else chose."""


def gauge(name: str) -> GaugeMetricFamily:
    """Begins the family of a gauge."""
    metric = BY_NAME[name]
    assert metric.type is Type.GAUGE  # noqa: S101 - a slip of ours, not of the input
    return GaugeMetricFamily(name, metric.help, labels=metric.labels)


def counter(name: str) -> CounterMetricFamily:
    """Begins the family of a counter."""
    metric = BY_NAME[name]
    assert metric.type is Type.COUNTER  # noqa: S101 - as above
    return CounterMetricFamily(name, metric.help, labels=metric.labels)


def label_text(text: str) -> str:
    """Makes a label value of what a process chose: escaped and bounded."""
    return safe_text(text)[:_MOST_LABEL]
