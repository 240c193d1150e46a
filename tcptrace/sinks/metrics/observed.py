"""What the tracker and its tally know, as Prometheus metric families by the catalogue.

Counters that alerts take rates of are there with 0 before the first event, wherever their labels
are known: a rate needs two samples.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, Final

from tcptrace.lifecycle.connection import Partial, Role
from tcptrace.lifecycle.counts import AGED
from tcptrace.lifecycle.tally import CONNECT_OUTCOMES, Bounds, Buckets, Tally
from tcptrace.sinks.metrics.catalogue import BY_NAME
from tcptrace.sinks.metrics.client import GaugeHistogramMetricFamily, HistogramMetricFamily
from tcptrace.sinks.metrics.families import counter, gauge
from tcptrace.sinks.metrics.native import native_histogram
from tcptrace.tcp import State
from tcptrace.wire.events import Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from tcptrace.lifecycle.counts import StateCounts
    from tcptrace.lifecycle.healing import Healing
    from tcptrace.lifecycle.tracker import Tracker
    from tcptrace.sinks.metrics.client import CounterMetricFamily, GaugeMetricFamily, Metric

_SECOND_NS: Final = 1_000_000_000
_STATES: Final = tuple((state, state.name.lower()) for state in State)
_STATE_NAMES: Final = dict(_STATES)


def new_tally() -> Tally:
    """An observer for the tracker, with the catalogue's buckets."""
    return Tally(
        Bounds(
            _bounds_ns("tcptrace_state_duration_seconds"),
            _bounds_ns("tcptrace_handshake_seconds"),
            _bounds_ns("tcptrace_syn_queue_wait_seconds"),
            _bounds_ns("tcptrace_accept_wait_seconds"),
        )
    )


def observed_families(tracker: Tracker, tally: Tally, now_ns: int) -> Iterator[Metric]:
    """Yields the families; takes no walk over the lives.

    Args:
        tracker: whose state counts are asked.
        tally: the tracker's observer.
        now_ns: on the records' clock; ages are counted to it.
    """
    counts = tracker.counts
    yield _sockets(counts)
    yield _transitions(tally)
    yield _state_durations(tally)
    yield from _ages(counts, now_ns)
    yield _time_waits(counts)
    yield _connects(tally, counts)
    yield _handshakes(tally)
    yield _waits("tcptrace_syn_queue_wait_seconds", tally.syn_queue_wait)
    yield _waits("tcptrace_accept_wait_seconds", tally.accept_wait)
    yield _retransmits("tcptrace_syn_retransmits_total", tally.syn_retransmits, counts)
    yield _retransmits("tcptrace_synack_retransmits_total", tally.synack_retransmits, counts)
    yield _resets(tally)
    yield from _quality(tracker, tally)


def _sockets(counts: StateCounts) -> GaugeMetricFamily:
    family = gauge("tcptrace_sockets")
    for (netns, ip), cells in sorted(counts.sockets.items()):
        for state, name in _STATES:
            family.add_metric((str(netns), ip, name), cells[state])
    return family


def _transitions(tally: Tally) -> CounterMetricFamily:
    family = counter("tcptrace_transitions_total")
    for (old, new), count in sorted(tally.transitions.items()):
        family.add_metric((_STATE_NAMES[old], _STATE_NAMES[new]), count)
    return family


def _state_durations(tally: Tally) -> HistogramMetricFamily:
    family = _histogram("tcptrace_state_duration_seconds")
    for state, name in _STATES:
        durations = tally.state_durations[state]
        if durations.count:
            _add_buckets(family, (name,), durations)
    return family


def _ages(counts: StateCounts, now_ns: int) -> Iterator[Metric]:
    name = "tcptrace_socket_age_seconds"
    ages = GaugeHistogramMetricFamily(name, BY_NAME[name].help, labels=BY_NAME[name].labels)
    oldest = gauge("tcptrace_oldest_socket_age_seconds")
    bounds_ns, names = _bounds_ns(name), _bound_names(name)
    for netns in counts.namespaces:
        for state in AGED:
            labels = (str(netns), _STATE_NAMES[state])
            entered_ns = counts.entered_ns(netns, state)
            count = len(entered_ns)
            younger = [count - bisect_left(entered_ns, now_ns - bound) for bound in bounds_ns]
            sum_ns = max(0, count * now_ns - sum(entered_ns))
            buckets = list(zip(names, [*younger, count], strict=True))
            ages.add_metric(labels, buckets, sum_ns / _SECOND_NS)
            if entered_ns:
                oldest.add_metric(labels, max(0, now_ns - entered_ns[0]) / _SECOND_NS)
    yield ages
    yield oldest


def _time_waits(counts: StateCounts) -> GaugeMetricFamily:
    family = gauge("tcptrace_time_wait_sockets")
    for netns in counts.namespaces:
        roles = counts.time_waits(netns)
        for role in Role:
            family.add_metric((str(netns), role.value), roles[role])
    return family


def _connects(tally: Tally, counts: StateCounts) -> CounterMetricFamily:
    family = counter("tcptrace_connects_total")
    for netns in sorted({*counts.namespaces, *(netns for netns, _ in tally.connects)}):
        for outcome in CONNECT_OUTCOMES:
            family.add_metric((str(netns), outcome), tally.connects[netns, outcome])
    return family


def _handshakes(tally: Tally) -> HistogramMetricFamily:
    family = _histogram("tcptrace_handshake_seconds")
    for role in (Role.CLIENT, Role.SERVER):
        _add_buckets(family, (role.value,), tally.handshakes[role])
    return family


def _waits(name: str, waits: Buckets) -> HistogramMetricFamily:
    family = _histogram(name)
    _add_buckets(family, (), waits)
    return family


def _retransmits(
    name: str, sent_again: Mapping[tuple[int, str], int], counts: StateCounts
) -> CounterMetricFamily:
    family = counter(name)
    for netns, ip in sorted(sent_again.keys() | counts.sockets.keys()):
        family.add_metric((str(netns), ip), sent_again.get((netns, ip), 0))
    return family


def _resets(tally: Tally) -> CounterMetricFamily:
    family = counter("tcptrace_resets_total")
    for (netns, direction, state), count in sorted(tally.resets.items()):
        family.add_metric((str(netns), direction.value, _STATE_NAMES[state]), count)
    return family


def _quality(tracker: Tracker, tally: Tally) -> Iterator[Metric]:
    events = counter("tcptrace_events_total")
    for kind in Kind:
        events.add_metric((kind.name.lower(),), tally.events[kind])
    yield events
    partial = counter("tcptrace_partial_lives_total")
    for reason in Partial:
        partial.add_metric((reason.value,), tally.partial[reason])
    yield partial
    for name, count in (
        ("tcptrace_unexpected_records_total", tracker.unexpected),
        ("tcptrace_snapshots_total", tracker.snapshots),
        ("tcptrace_healed_lives_total", tracker.healed),
        ("tcptrace_connections_folded_total", tracker.folded),
    ):
        family = counter(name)
        family.add_metric((), count)
        yield family
    tracked = gauge("tcptrace_tracked_objects")
    tracked.add_metric(("connections",), tracker.open_count)
    tracked.add_metric(("listeners",), tracker.listener_count)
    yield tracked
    limit = gauge("tcptrace_connections_limit")
    limit.add_metric((), tracker.most)
    yield limit


def healing_families(
    tracker: Tracker, healing: Healing, clock: Callable[[int], float]
) -> Iterator[Metric]:
    """How losses have touched the state counts, and whether that is mended.

    Args:
        tracker: whose lives snapshots have put right.
        healing: when.
        clock: from the records' time to seconds since 1970.
    """
    corrected = counter("tcptrace_corrected_lives_total")
    corrected.add_metric(("state",), tracker.corrected)
    corrected.add_metric(("birth",), tracker.found)
    suspect = gauge("tcptrace_state_counts_suspect")
    suspect.add_metric((), int(healing.is_suspect))
    where = gauge("tcptrace_namespace_counts_suspect")
    for netns in sorted(healing.suspects(tracker.counts.namespaces)):
        where.add_metric((str(netns),), 1)
    heals = counter("tcptrace_heals_total")
    heals.add_metric((), healing.heals)
    yield from (corrected, suspect, where, heals)
    for name, at_ns in (
        ("tcptrace_last_loss_timestamp_seconds", healing.last_loss_ns),
        ("tcptrace_last_heal_timestamp_seconds", healing.last_heal_ns),
    ):
        family = gauge(name)
        if at_ns is not None:
            family.add_metric((), clock(at_ns))
        yield family


def _histogram(name: str) -> HistogramMetricFamily:
    metric = BY_NAME[name]
    return HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)


def _add_buckets(family: HistogramMetricFamily, labels: Sequence[str], waits: Buckets) -> None:
    names = _bound_names(family.name)
    cumulative = waits.cumulative
    buckets = list(zip(names, cumulative, strict=True))
    sum_seconds = waits.sum_ns / _SECOND_NS
    family.add_metric(labels, buckets, sum_seconds)
    told = dict(zip(BY_NAME[family.name].labels, labels, strict=True))
    native = native_histogram(waits.native, cumulative[-1], sum_seconds)
    family.add_sample(family.name, told, 0, native_histogram=native)


def _bounds_ns(name: str) -> list[int]:
    return [round(bound * _SECOND_NS) for bound in BY_NAME[name].buckets]


def _bound_names(name: str) -> list[str]:
    return [*(_bound_name(bound) for bound in BY_NAME[name].buckets), "+Inf"]


def _bound_name(bound: float) -> str:
    """As OpenMetrics wants it: a float's canonical digits."""
    return repr(float(bound))
