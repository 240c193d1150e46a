"""The tracker's metrics: by the catalogue, and readable by those who scrape them."""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING

import pytest
from prometheus_client.core import CollectorRegistry
from prometheus_client.exposition import generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from tcptrace.lifecycle.healing import Healing
from tcptrace.lifecycle.tracker import Tracker
from tcptrace.sinks.metrics.catalogue import BY_NAME, Type
from tcptrace.sinks.metrics.observed import healing_families, new_tally, observed_families
from tcptrace.tcp import State
from tcptrace.wire.events import Kind
from unit import samples
from unit.lifecycle.steps import (
    CHILD,
    CONNECTING,
    close_second,
    connect,
    enter_timewait,
    open_both,
    replace,
)
from unit.lifecycle.stream import CLIENT, HERE, SERVER, Stream

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client.core import Metric

S = State
NAMES = (
    "tcptrace_sockets",
    "tcptrace_transitions_total",
    "tcptrace_state_duration_seconds",
    "tcptrace_socket_age_seconds",
    "tcptrace_oldest_socket_age_seconds",
    "tcptrace_time_wait_sockets",
    "tcptrace_connects_total",
    "tcptrace_handshake_seconds",
    "tcptrace_syn_queue_wait_seconds",
    "tcptrace_accept_wait_seconds",
    "tcptrace_syn_retransmits_total",
    "tcptrace_synack_retransmits_total",
    "tcptrace_resets_total",
    "tcptrace_events_total",
    "tcptrace_partial_lives_total",
    "tcptrace_unexpected_records_total",
    "tcptrace_snapshots_total",
    "tcptrace_healed_lives_total",
    "tcptrace_connections_folded_total",
    "tcptrace_connections_limit",
    "tcptrace_tracked_objects",
)


@pytest.fixture
def stream() -> Stream:
    return Stream()


class Observed(Collector):
    def __init__(self, stream: Stream) -> None:
        self.tally = new_tally()
        self.tracker = Tracker(_ignore, _ignore, self.tally)
        self.tracker.feed(stream.records)
        self.now_ns = stream.now_ns

    def collect(self) -> Iterator[Metric]:
        return observed_families(self.tracker, self.tally, self.now_ns)

    def value(self, name: str, **labels: str) -> float:
        registry = CollectorRegistry()
        registry.register(self)
        value = registry.get_sample_value(name, labels)
        assert value is not None
        return value

    @property
    def sample_names(self) -> list[str]:
        return [sample.name for family in self.collect() for sample in family.samples]


def _ignore(_: object) -> None:
    pass


def played(stream: Stream) -> Stream:
    open_both(stream)
    stream.wait(samples.S)
    stream.goes(CONNECTING, CLIENT, S.ESTABLISHED, S.FIN_WAIT1, S.FIN_WAIT2)
    stream.goes(CHILD, SERVER, S.ESTABLISHED, S.CLOSE_WAIT)
    stream.wait(100 * samples.S)
    return stream


def test_they_are_the_catalogues(stream: Stream) -> None:
    families = {family.name: family for family in Observed(played(stream)).collect()}
    assert len(families) == len(NAMES)
    for name in NAMES:
        metric = BY_NAME[name]
        family = families[name.removesuffix("_total")]
        assert (family.type, family.documentation) == (metric.type.value, metric.help)
        allowed = {*metric.labels, "le"} if metric.buckets else {*metric.labels}
        for sample in family.samples:
            assert set(sample.labels) <= allowed
            assert {*metric.labels} <= set(sample.labels)
        if metric.type is Type.COUNTER:
            assert all(sample.name == name for sample in family.samples)


def test_before_anything_happened(stream: Stream) -> None:
    observed = Observed(stream)
    assert observed.value("tcptrace_unexpected_records_total") == 0
    assert observed.value("tcptrace_partial_lives_total", reason="gap") == 0
    assert observed.value("tcptrace_events_total", kind="seen") == 0
    assert observed.value("tcptrace_handshake_seconds_count", role="client") == 0
    assert "tcptrace_oldest_socket_age_seconds" not in observed.sample_names


def test_they_can_be_scraped(stream: Stream) -> None:
    registry = CollectorRegistry()
    registry.register(Observed(played(stream)))
    assert b"tcptrace_sockets{" in generate_latest(registry)
    text = generate_openmetrics(registry).decode()  # type: ignore[no-untyped-call]
    families = text_string_to_metric_families(text)  # type: ignore[no-untyped-call]
    assert {family.name for family in families} == {name.removesuffix("_total") for name in NAMES}


def test_sockets_and_ages(stream: Stream) -> None:
    observed = Observed(played(stream))
    here = str(HERE)
    for state in S:
        count = observed.value(
            "tcptrace_sockets", netns=here, family="ipv4", state=state.name.lower()
        )
        assert count == (state in (S.LISTEN, S.FIN_WAIT2, S.CLOSE_WAIT))
    labels = {"netns": here, "state": "close_wait"}
    assert observed.value("tcptrace_oldest_socket_age_seconds", **labels) == 100
    assert observed.value("tcptrace_socket_age_seconds_gcount", **labels) == 1
    assert observed.value("tcptrace_socket_age_seconds_gsum", **labels) == 100
    for bound, count in (("60.0", 0), ("300.0", 1), ("+Inf", 1)):
        assert observed.value("tcptrace_socket_age_seconds_bucket", le=bound, **labels) == count
    assert observed.value("tcptrace_tracked_objects", object="connections") == 2
    assert observed.value("tcptrace_tracked_objects", object="listeners") == 1


def test_time_wait_by_role(stream: Stream) -> None:
    open_both(stream)
    enter_timewait(stream)
    close_second(stream)
    observed = Observed(stream)
    for role in ("client", "server", "unknown"):
        count = observed.value("tcptrace_time_wait_sockets", netns=str(HERE), role=role)
        assert count == (role == "client")
    assert (
        observed.value("tcptrace_socket_age_seconds_gcount", netns=str(HERE), state="time_wait")
        == 1
    )


def test_counters_and_histograms(stream: Stream) -> None:
    played(stream)
    connect(stream, 0x41)
    stream.tell(Kind.RESET_RECEIVED, CHILD, SERVER, old_state=S.CLOSE_WAIT)
    stream.tell(Kind.SYN_RETRANSMITTED, 0x41, CLIENT, new_state=S.SYN_SENT)
    replace(stream, S.FIN_WAIT2, S.TIME_WAIT)
    observed = Observed(stream)
    here = str(HERE)
    value = observed.value
    assert value("tcptrace_connects_total", netns=here, outcome="established") == 1
    assert value("tcptrace_connects_total", netns=here, outcome="refused") == 0
    assert value("tcptrace_transitions_total", old_state="established", new_state="close_wait") == 1
    assert value("tcptrace_state_duration_seconds_count", state="established") == 2
    assert value("tcptrace_state_duration_seconds_bucket", state="established", le="1.0") == 0
    assert value("tcptrace_handshake_seconds_count", role="server") == 1
    assert value("tcptrace_accept_wait_seconds_sum") == 2e-6
    assert value("tcptrace_syn_queue_wait_seconds_bucket", le="0.0001") == 1
    assert value("tcptrace_syn_retransmits_total", netns=here, family="ipv4") == 1
    assert value("tcptrace_synack_retransmits_total", netns=here, family="ipv4") == 0
    assert value("tcptrace_resets_total", netns=here, direction="received", state="close_wait") == 1
    assert value("tcptrace_events_total", kind="accepted") == 1


def test_a_clock_behind_the_records_gives_no_negative_age(stream: Stream) -> None:
    observed = Observed(played(stream))
    observed.now_ns = samples.START
    labels = {"netns": str(HERE), "state": "close_wait"}
    assert observed.value("tcptrace_oldest_socket_age_seconds", **labels) == 0
    assert observed.value("tcptrace_socket_age_seconds_gsum", **labels) == 0


def test_how_long_states_last_is_told_by_native_buckets_too(stream: Stream) -> None:
    (family,) = (
        family
        for family in Observed(played(stream)).collect()
        if family.name == "tcptrace_state_duration_seconds"
    )
    natives = [one for one in family.samples if one.native_histogram is not None]
    assert natives
    for native in natives:
        histogram = native.native_histogram
        assert histogram is not None
        (plain,) = (
            one.value
            for one in family.samples
            if one.name.endswith("_count") and one.labels == native.labels
        )
        assert histogram.count_value == plain > 0
        in_buckets = sum(accumulate(histogram.pos_deltas or ()))
        assert in_buckets + histogram.zero_count == plain


def test_what_losses_have_done_and_snapshots_mended() -> None:
    tracker, healing = Tracker(_ignore, _ignore, new_tally()), Healing()

    def told() -> dict[str, list[float]]:
        families = healing_families(tracker, healing, lambda at_ns: at_ns / samples.S)
        return {family.name: [one.value for one in family.samples] for family in families}

    before = told()
    assert before["tcptrace_state_counts_suspect"] == [0]
    assert before["tcptrace_last_loss_timestamp_seconds"] == []
    healing.lose(7 * samples.S)
    assert told()["tcptrace_state_counts_suspect"] == [1]
    assert told()["tcptrace_last_loss_timestamp_seconds"] == [7]
    healing.begin(20 * samples.S)
    tracker.counts.place(7, "ipv4")
    healing.end(21 * samples.S, {7}, (7,), is_whole=True)
    assert told() == {
        "tcptrace_corrected_lives": [0, 0],
        "tcptrace_state_counts_suspect": [0],
        "tcptrace_namespace_counts_suspect": [],
        "tcptrace_heals": [1],
        "tcptrace_last_loss_timestamp_seconds": [7],
        "tcptrace_last_heal_timestamp_seconds": [21],
    }
    assert set(told()) <= {name.removesuffix("_total") for name in BY_NAME}


def test_where_counts_are_in_doubt() -> None:
    tracker, healing = Tracker(_ignore, _ignore, new_tally()), Healing()
    for netns in (7, 8):
        tracker.counts.place(netns, "ipv4")

    def told() -> dict[str, float]:
        families = healing_families(tracker, healing, float)
        (family,) = (one for one in families if one.name == "tcptrace_namespace_counts_suspect")
        return {one.labels["netns"]: one.value for one in family.samples}

    healing.lose(1)
    assert told() == {"7": 1, "8": 1}
    healing.begin(20 * samples.S)
    healing.end(21 * samples.S, {7}, (7, 8), is_whole=True)
    assert told() == {"8": 1}
