"""Writes metric families in Prometheus' protobuf format, by which it takes native histograms.

The messages are built from their descriptors here, not from generated code: field numbers and types
as in Prometheus' own definition. Source: github.com/prometheus/client_model, metrics.proto.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from prometheus_client.core import Metric
    from prometheus_client.samples import Sample

CONTENT_TYPE: Final = (
    "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
)
_PACKAGE: Final = "io.prometheus.client"
_TYPES: Final = {
    "counter": 0,
    "gauge": 1,
    "unknown": 3,
    "histogram": 4,
    "gaugehistogram": 5,
}
_REPEATED: Final = 3
_OPTIONAL: Final = 1


class _Field(NamedTuple):
    name: str
    number: int
    type: str
    is_repeated: bool = False


_MESSAGES: Final = {
    "LabelPair": (_Field("name", 1, "string"), _Field("value", 2, "string")),
    "Gauge": (_Field("value", 1, "double"),),
    "Counter": (_Field("value", 1, "double"),),
    "Untyped": (_Field("value", 1, "double"),),
    "Bucket": (_Field("cumulative_count", 1, "uint64"), _Field("upper_bound", 2, "double")),
    "BucketSpan": (_Field("offset", 1, "sint32"), _Field("length", 2, "uint32")),
    "Histogram": (
        _Field("sample_count", 1, "uint64"),
        _Field("sample_sum", 2, "double"),
        _Field("bucket", 3, "Bucket", is_repeated=True),
        _Field("schema", 5, "sint32"),
        _Field("zero_threshold", 6, "double"),
        _Field("zero_count", 7, "uint64"),
        _Field("positive_span", 12, "BucketSpan", is_repeated=True),
        _Field("positive_delta", 13, "sint64", is_repeated=True),
    ),
    "Metric": (
        _Field("label", 1, "LabelPair", is_repeated=True),
        _Field("gauge", 2, "Gauge"),
        _Field("counter", 3, "Counter"),
        _Field("untyped", 5, "Untyped"),
        _Field("histogram", 7, "Histogram"),
    ),
    "MetricFamily": (
        _Field("name", 1, "string"),
        _Field("help", 2, "string"),
        _Field("type", 3, "int32"),
        _Field("metric", 4, "Metric", is_repeated=True),
    ),
}


def encode(families: Iterable[Metric]) -> bytes:
    """Returns the families, each behind its length."""
    parts: list[bytes] = []
    for family in families:
        told = _family(family).SerializeToString()
        parts += (_varint(len(told)), told)
    return b"".join(parts)


def _varint(number: int) -> bytes:
    """Seven bits a byte, the lowest first; the top bit says that more follow."""
    encoded = bytearray()
    while number > 0x7F:  # noqa: PLR2004 - seven bits
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def _family(family: Metric) -> Any:
    is_counter = family.type == "counter"
    name = f"{family.name}_total" if is_counter else family.name
    kind = _TYPES.get(family.type, _TYPES["unknown"])
    told = _message("MetricFamily")(name=name, help=family.documentation, type=kind)
    if family.type in ("histogram", "gaugehistogram"):
        _add_histograms(told, family.samples)
        return told
    for sample in family.samples:
        if sample.name.endswith("_created"):
            continue
        metric = _add(told, sample.labels)
        value = getattr(metric, {0: "counter", 1: "gauge"}.get(kind, "untyped"))
        value.value = sample.value
    return told


def _add(family: Any, labels: Mapping[str, str]) -> Any:
    metric = family.metric.add()
    for name, value in sorted(labels.items()):
        metric.label.add(name=name, value=value)
    return metric


def _add_histograms(family: Any, samples: Iterable[Sample]) -> None:
    for labels, group in _by_labels(samples):
        histogram = _add(family, labels).histogram
        for sample in group:
            native = sample.native_histogram
            if native is not None:
                _fill_native(histogram, native)
            elif sample.name.endswith("_bucket"):
                bound = float(sample.labels["le"])
                histogram.bucket.add(cumulative_count=int(sample.value), upper_bound=bound)
            elif sample.name.endswith("count"):
                histogram.sample_count = int(sample.value)
            elif sample.name.endswith("sum"):
                histogram.sample_sum = sample.value


def _fill_native(histogram: Any, native: Any) -> None:
    histogram.schema = native.schema
    histogram.zero_threshold = native.zero_threshold
    histogram.zero_count = int(native.zero_count)
    for span in native.pos_spans or ():
        histogram.positive_span.add(offset=span.offset, length=span.length)
    histogram.positive_delta.extend(native.pos_deltas or ())
    if not native.pos_spans:
        # An empty span tells an empty native histogram from a classic one.
        histogram.positive_span.add(offset=0, length=0)


def _by_labels(samples: Iterable[Sample]) -> Iterator[tuple[dict[str, str], list[Sample]]]:
    """Samples of one histogram each, in the order of their first."""
    groups: dict[tuple[tuple[str, str], ...], list[Sample]] = {}
    for sample in samples:
        key = tuple(sorted((k, v) for k, v in sample.labels.items() if k != "le"))
        groups.setdefault(key, []).append(sample)
    for key, group in groups.items():
        yield dict(key), group


@cache
def _message(name: str) -> Any:
    file = descriptor_pb2.FileDescriptorProto(
        name="tcptrace/metrics.proto", package=_PACKAGE, syntax="proto2"
    )
    for message, fields in _MESSAGES.items():
        described = file.message_type.add(name=message)
        for field in fields:
            _describe(described, field)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{name}"))


def _describe(message: Any, field: _Field) -> None:
    described = message.field.add(name=field.name, number=field.number)
    described.label = _REPEATED if field.is_repeated else _OPTIONAL
    if field.type in _MESSAGES:
        described.type = descriptor_pb2.FieldDescriptorProto.TYPE_MESSAGE
        described.type_name = f".{_PACKAGE}.{field.type}"
    else:
        described.type = getattr(descriptor_pb2.FieldDescriptorProto, f"TYPE_{field.type.upper()}")
