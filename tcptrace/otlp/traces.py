"""Spans as OTLP has them, made of what spans.py tells.

Source: opentelemetry-proto, trace.proto.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, Span, Status

from tcptrace.otlp.attributes import attributes

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
    from opentelemetry.proto.resource.v1.resource_pb2 import Resource


def request(
    lives: Iterable[Mapping[str, Any]], resource: Resource, scope: InstrumentationScope
) -> bytes:
    """Makes the body of a request.

    Args:
        lives: each as Spans.of made it.
        resource: whose spans they are.
        scope: who tells of them.
    """
    tree = ResourceSpans(resource=resource)
    spans = tree.scope_spans.add(scope=scope).spans
    for life in lives:
        trace = bytes.fromhex(life["trace"])
        spans.extend(_span(trace, told) for told in life["spans"])
    return ExportTraceServiceRequest(resource_spans=[tree]).SerializeToString()


def _span(trace: bytes, told: Mapping[str, Any]) -> Span:
    span = Span(
        trace_id=trace,
        span_id=bytes.fromhex(told["id"]),
        parent_span_id=bytes.fromhex(told.get("parent", "")),
        name=told["name"],
        kind=told["kind"],
        start_time_unix_nano=told["start"],
        end_time_unix_nano=told["end"],
        attributes=attributes(told.get("attributes", {})),
        dropped_events_count=told.get("dropped_events", 0),
    )
    for event in told.get("events", ()):
        span.events.add(
            name=event["name"],
            time_unix_nano=event["at"],
            attributes=attributes(event["attributes"]),
        )
    for link in told.get("links", ()):
        span.links.add(trace_id=bytes.fromhex(link["trace"]), span_id=bytes.fromhex(link["span"]))
    if "error" in told:
        span.status.code = Status.STATUS_CODE_ERROR
        span.status.message = told["error"]
    return span
