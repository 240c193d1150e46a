"""The text formats, byte for byte as prometheus_client writes them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeHistogramMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.registry import Collector

from tcptrace.sinks.metrics import protobuf
from tcptrace.sinks.metrics.catalogue import BY_NAME
from tcptrace.sinks.metrics.exposition import Exposition
from tcptrace.sinks.metrics.table import Labels, Table
from tcptrace.sinks.metrics.text import OPENMETRICS, TEXT, write_openmetrics, write_text
from unit.scraping import exporter_of, full_host

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def spelt_out(family: Metric | Table) -> Metric:
    """A family of prometheus_client's own, sample by sample."""
    same = Metric(family.name, family.documentation, family.type)
    same.samples = [one for one in family.samples if one.native_histogram is None]
    return same


class Given(Collector):
    """prometheus_client's way to the same families, without what it can't write."""

    def __init__(self, families: Iterable[Metric | Table]) -> None:
        self._families = [spelt_out(family) for family in families]

    def collect(self) -> Iterable[Metric]:
        return self._families


def as_theirs(families: Sequence[Metric | Table]) -> None:
    assert write_text(families) == generate_latest(Given(families))
    theirs: bytes = generate_openmetrics(Given(families))  # type: ignore[no-untyped-call]
    assert write_openmetrics(families) == theirs
    classic = [family for family in families if not has_native(family)]
    assert protobuf.encode(classic) == protobuf.encode(map(spelt_out, classic))


def has_native(family: Metric | Table) -> bool:
    return any(one.native_histogram is not None for one in family.samples)


def test_a_whole_host() -> None:
    exporter = exporter_of(full_host())
    as_theirs(list(exporter._families()))


VALUES = st.floats() | st.integers(-(2**63), 2**64)
LABELS = st.text(max_size=20)


@given(LABELS, st.lists(st.tuples(LABELS, LABELS, VALUES), max_size=5))
def test_any_help_labels_and_values(help_text: str, told: list[tuple[str, str, float]]) -> None:
    gauge = GaugeMetricFamily("g", help_text, labels=["zone", "a_first"])
    counter = CounterMetricFamily("c", help_text, labels=["x", "y"])
    for one, other, value in told:
        gauge.add_metric([one, other], value)
        counter.add_metric([one, other], value)
    as_theirs([gauge, counter])


@given(st.lists(st.integers(0, 2**40), min_size=2, max_size=2), st.floats(0, 1e12))
def test_histograms(counts: list[int], total: float) -> None:
    buckets = [("0.1", counts[0]), ("1.0", sum(counts)), ("+Inf", sum(counts))]
    histogram = HistogramMetricFamily("h", "help", labels=["role"])
    histogram.add_metric(["client"], buckets, total)
    ages = GaugeHistogramMetricFamily("age", "help", labels=["state"])
    for state in ("close_wait", "time_wait"):
        ages.add_metric([state], buckets, total)
    as_theirs([histogram, ages])


@given(
    st.lists(st.tuples(LABELS, LABELS, VALUES, VALUES), max_size=5),
    st.lists(LABELS, min_size=1, max_size=2),
)
def test_tables_with_any_labels_and_values(
    told: list[tuple[str, str, float, float]], stages: list[str]
) -> None:
    """A table is written as its samples would be one by one, in protobuf too."""
    rows = [Labels({"netns": one, "address": other, "port": "1"}) for one, other, *_ in told]
    columns = [[value for *_, value, _ in told], [value for *_, value in told]][: len(stages)]
    marks = [Labels({"stage": stage}) for stage in stages]
    drops = Table("tcptrace_listener_drops_total", rows, columns, marks)
    sockets = Table("tcptrace_listener_sockets", rows, [[value for *_, value in told]])
    assert len(drops.samples) == len(stages) * len(told)
    as_theirs([drops, sockets])


def test_a_table_has_the_catalogues_words() -> None:
    name = "tcptrace_listener_drops_total"
    table = Table(name, [Labels({"port": "1"})], [[7]], [Labels({"stage": "other"})])
    assert (table.name, table.type) == (name.removesuffix("_total"), "counter")
    assert table.documentation == BY_NAME[name].help
    assert [(one.name, one.labels, one.value) for one in table.samples] == [
        (name, {"port": "1", "stage": "other"}, 7)
    ]
    written = write_text([table]).decode().splitlines()[-1]
    assert written == 'tcptrace_listener_drops_total{port="1",stage="other"} 7.0'


def test_numbers_as_go_writes_them() -> None:
    gauge = GaugeMetricFamily("g", "help", labels=["n"])
    for value in (0, 1, 1e6, 1e15, 123456789, 0.1, 1e-9, math.inf, -math.inf, math.nan):
        gauge.add_metric([str(value)], value)
    as_theirs([gauge])
    assert b'g{n="1000000.0"} 1e+06\n' in write_text([gauge])


def test_nothing_at_all() -> None:
    as_theirs([])
    as_theirs([GaugeMetricFamily("g", "help", labels=["a"])])


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", TEXT),
        ("*/*", TEXT),
        ("text/plain", TEXT),
        ("text/plain;version=1.0.0;escaping=allow-utf-8", TEXT),
        ("application/openmetrics-text", OPENMETRICS),
        ("application/openmetrics-text;version=1.0.0;escaping=dots", OPENMETRICS),
        ("application/openmetrics-text;version=nonsense", OPENMETRICS),
        ("text/html, application/openmetrics-text ;q=0.5,*/*", OPENMETRICS),
        ("application/openmetrics-texts", TEXT),
    ],
)
def test_the_format_is_the_one_asked_for(accept: str, expected: str) -> None:
    text, content_type = Exposition(list).render(accept)
    assert content_type == expected
    assert text.endswith(b"# EOF\n") == (expected == OPENMETRICS)


@given(st.text(max_size=60))
def test_any_accept_header_is_answered(accept: str) -> None:
    _, content_type = Exposition(list).render(accept)
    assert content_type
