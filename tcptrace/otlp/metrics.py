"""Metrics as OTLP has them, made of what Prometheus would scrape: names and labels stay the same.

A counter is a cumulative, monotonic sum; a histogram has explicit bounds. OTLP has no histogram of
what is there now (OpenMetrics' gauge histogram): its buckets, count and sum are gauges of their
own, as Prometheus' text format has them, so that queries need not care which way they came.

Source: opentelemetry-proto, metrics.proto; OpenTelemetry's prometheus_and_openmetrics.md.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    AggregationTemporality,
    ResourceMetrics,
)

from tcptrace.otlp.attributes import attributes
from tcptrace.sinks.metrics.protobuf import decode

if TYPE_CHECKING:
    from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
    from opentelemetry.proto.resource.v1.resource_pb2 import Resource

_COUNTER: Final = 0
_HISTOGRAM: Final = 4
_GAUGE_HISTOGRAM: Final = 5
_UNITS: Final = (("_seconds", "s"), ("_bytes", "By"))
_CUMULATIVE: Final = AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE


def request(
    told: bytes, resource: Resource, scope: InstrumentationScope, times_ns: tuple[int, int]
) -> bytes:
    """Makes the body of a request.

    Args:
        told: the exposition in Prometheus' protobuf format.
        resource: whose metrics they are.
        scope: who tells of them.
        times_ns: since when counters count, and when they were read; since 1970.
    """
    tree = ResourceMetrics(resource=resource)
    metrics = tree.scope_metrics.add(scope=scope).metrics
    for family in decode(told):
        _add(metrics, family, times_ns)
    return ExportMetricsServiceRequest(resource_metrics=[tree]).SerializeToString()


def _add(metrics: Any, family: Any, times_ns: tuple[int, int]) -> None:
    if not family.metric:
        return
    if family.type == _GAUGE_HISTOGRAM:
        _add_gauge_histogram(metrics, family, times_ns)
        return
    metric = metrics.add(name=family.name, description=family.help, unit=_unit(family.name))
    if family.type == _HISTOGRAM:
        metric.histogram.aggregation_temporality = _CUMULATIVE
        for told in family.metric:
            _add_histogram(metric.histogram.data_points, told, times_ns)
    elif family.type == _COUNTER:
        metric.sum.aggregation_temporality = _CUMULATIVE
        metric.sum.is_monotonic = True
        for told in family.metric:
            point = _add_number(metric.sum.data_points, told, told.counter.value, times_ns)
            point.start_time_unix_nano = times_ns[0]
    else:
        for told in family.metric:
            number = told.gauge if told.HasField("gauge") else told.untyped
            _add_number(metric.gauge.data_points, told, number.value, times_ns)


def _add_number(points: Any, told: Any, value: float, times_ns: tuple[int, int]) -> Any:
    point = points.add(attributes=_labels(told), time_unix_nano=times_ns[1])
    if value.is_integer() and abs(value) < 1 << 53:
        point.as_int = int(value)
    else:
        point.as_double = value
    return point


def _add_histogram(points: Any, told: Any, times_ns: tuple[int, int]) -> None:
    histogram = told.histogram
    cumulative = [bucket.cumulative_count for bucket in histogram.bucket]
    bounds = [bucket.upper_bound for bucket in histogram.bucket]
    points.add(
        attributes=_labels(told),
        start_time_unix_nano=times_ns[0],
        time_unix_nano=times_ns[1],
        count=histogram.sample_count,
        sum=histogram.sample_sum,
        explicit_bounds=[bound for bound in bounds if not math.isinf(bound)],
        bucket_counts=[
            count - before for before, count in zip([0, *cumulative], cumulative, strict=False)
        ],
    )


def _add_gauge_histogram(metrics: Any, family: Any, times_ns: tuple[int, int]) -> None:
    parts = {
        suffix: metrics.add(name=f"{family.name}{suffix}", description=family.help)
        for suffix in ("_bucket", "_gcount", "_gsum")
    }
    for told in family.metric:
        histogram = told.histogram
        for bucket in histogram.bucket:
            points = parts["_bucket"].gauge.data_points
            point = _add_number(points, told, float(bucket.cumulative_count), times_ns)
            bound = "+Inf" if math.isinf(bucket.upper_bound) else repr(bucket.upper_bound)
            point.attributes.extend(attributes({"le": bound}))
        count, total = float(histogram.sample_count), histogram.sample_sum
        _add_number(parts["_gcount"].gauge.data_points, told, count, times_ns)
        _add_number(parts["_gsum"].gauge.data_points, told, total, times_ns)


def _labels(told: Any) -> Any:
    return attributes({pair.name: pair.value for pair in told.label})


def _unit(name: str) -> str:
    stem = name.removesuffix("_total")
    return next((unit for suffix, unit in _UNITS if stem.endswith(suffix)), "")
