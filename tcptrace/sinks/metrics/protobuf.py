"""Writes metric families in Prometheus' protobuf format, by which it takes native histograms.

The messages are built from their descriptors here, not from generated code: field numbers and types
as in Prometheus' own definition. Source: github.com/prometheus/client_model, metrics.proto.
"""

from __future__ import annotations

from functools import cache, lru_cache
from itertools import chain
from struct import Struct
from typing import TYPE_CHECKING, Any, Final

from tcptrace.messages import Field, message_class
from tcptrace.sinks.metrics.table import Table

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from tcptrace.sinks.metrics.client import Metric, Sample
    from tcptrace.sinks.metrics.table import Labels

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
_PLAIN: Final = ("counter", "gauge")
"""Types whose metrics have a message of their own, of one number."""

_MESSAGES: Final = {
    "LabelPair": (Field("name", 1, "string"), Field("value", 2, "string")),
    "Gauge": (Field("value", 1, "double"),),
    "Counter": (Field("value", 1, "double"),),
    "Untyped": (Field("value", 1, "double"),),
    "Bucket": (Field("cumulative_count", 1, "uint64"), Field("upper_bound", 2, "double")),
    "BucketSpan": (Field("offset", 1, "sint32"), Field("length", 2, "uint32")),
    "Histogram": (
        Field("sample_count", 1, "uint64"),
        Field("sample_sum", 2, "double"),
        Field("bucket", 3, "Bucket", is_repeated=True),
        Field("schema", 5, "sint32"),
        Field("zero_threshold", 6, "double"),
        Field("zero_count", 7, "uint64"),
        Field("positive_span", 12, "BucketSpan", is_repeated=True),
        Field("positive_delta", 13, "sint64", is_repeated=True),
    ),
    "Metric": (
        Field("label", 1, "LabelPair", is_repeated=True),
        Field("gauge", 2, "Gauge"),
        Field("counter", 3, "Counter"),
        Field("untyped", 5, "Untyped"),
        Field("histogram", 7, "Histogram"),
    ),
    "MetricFamily": (
        Field("name", 1, "string"),
        Field("help", 2, "string"),
        Field("type", 3, "int32"),
        Field("metric", 4, "Metric", is_repeated=True),
    ),
}


_METRIC_TAG: Final = bytes([4 << 3 | 2])
"""Before each metric of a family: its field's number, and that its length follows."""
_DOUBLE: Final = Struct("<d")


def encode(families: Iterable[Metric | Table]) -> bytes:
    """Returns the families, each behind its length."""
    parts: list[bytes] = []
    for family in families:
        told = _encoded(family)
        parts += (_varint(len(told)), told)
    return b"".join(parts)


def decode(told: bytes) -> Iterator[Any]:
    """Yields the families again, as messages of Prometheus' definition.

    Args:
        told: what `encode` returned; nothing else is safe to read.
    """
    at = 0
    while at < len(told):
        length, shift = 0, 0
        while True:
            byte, at = told[at], at + 1
            length |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:  # noqa: PLR2004 - the top bit says that more follow
                break
        yield _message("MetricFamily").FromString(told[at : at + length])
        at += length


def _encoded(family: Metric | Table) -> bytes:
    if isinstance(family, Table):
        return _table(family)
    told: bytes = _family(family).SerializeToString()
    return told


@lru_cache(1024)
def _varint(number: int) -> bytes:
    """Seven bits a byte, the lowest first; the top bit says that more follow."""
    encoded = bytearray()
    while number > 0x7F:  # noqa: PLR2004 - seven bits
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def _table(table: Table) -> bytes:
    """As _family's would be: each metric is labels, which are encoded once, and a number."""
    value = _message("Metric")()
    getattr(value, table.type).value = 0
    before_number = value.SerializeToString()[: -_DOUBLE.size]
    rows = [row.message or _encode(row) for row in table.rows]
    ends = [mark.message or _encode(mark) for mark in table.marks] if table.marks else [b""]
    columns = [
        [
            b"%b%b%b%b%b" % (_METRIC_TAG, _varint(len(row) + size), row, rest, pack(value))
            for row, value in zip(rows, column, strict=True)
        ]
        for rest, size, pack, column in (
            (
                end + before_number,
                len(end) + len(before_number) + _DOUBLE.size,
                _DOUBLE.pack,
                column,
            )
            for end, column in zip(ends, table.columns, strict=True)
        )
    ]
    head: bytes = _head(table).SerializeToString()
    return head + b"".join(chain.from_iterable(zip(*columns, strict=True)))


def _encode(labels: Labels) -> bytes:
    metric = _message("Metric")()
    _label(metric, labels.pairs)
    labels.message = metric.SerializeToString()
    return labels.message


def _head(family: Metric | Table) -> Any:
    is_counter = family.type == "counter"
    name = f"{family.name}_total" if is_counter else family.name
    kind = _TYPES.get(family.type, _TYPES["unknown"])
    return _message("MetricFamily")(name=name, help=family.documentation, type=kind)


def _family(family: Metric) -> Any:
    told = _head(family)
    if family.type in ("histogram", "gaugehistogram"):
        _add_histograms(told, family.samples)
        return told
    for sample in family.samples:
        if sample.name.endswith("_created"):
            continue
        metric = _add(told, sample.labels)
        value = getattr(metric, family.type if family.type in _PLAIN else "untyped")
        value.value = sample.value
    return told


def _add(family: Any, labels: Mapping[str, str]) -> Any:
    metric = family.metric.add()
    _label(metric, labels)
    return metric


def _label(metric: Any, labels: Mapping[str, str]) -> None:
    for name, value in sorted(labels.items()):
        metric.label.add(name=name, value=value)


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
    return message_class("tcptrace/metrics.proto", _PACKAGE, _MESSAGES, name)
