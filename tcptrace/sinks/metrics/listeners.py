"""The metrics of listeners: both queues, drops by stage, cookies, who listens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tcptrace.lifecycle.ledger import OTHER_ADDRESS
from tcptrace.lifecycle.names import PodNames
from tcptrace.lifecycle.workload import parse
from tcptrace.sinks.metrics.catalogue import COOKIE_RESULTS, LISTENER_INFO, STAGES
from tcptrace.sinks.metrics.families import counter, gauge, label_text
from tcptrace.sinks.terminal import comm_text
from tcptrace.wire.events import Stage
from tcptrace.wire.ledger import Count

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from prometheus_client.core import Metric

    from tcptrace.lifecycle.accept_waits import AcceptWaits
    from tcptrace.lifecycle.ledger import Address, Ledger, Listening
    from tcptrace.lifecycle.names import Names
    from tcptrace.lifecycle.reconciliation import Reconciliation
    from tcptrace.wire.ledger import LedgerReading

_COOKIE_COUNTS: Final = dict(
    zip(COOKIE_RESULTS, (Count.COOKIE_SENT, Count.COOKIE_VALID, Count.COOKIE_INVALID), strict=True)
)
_STAGES: Final = {name: Stage[name.upper()] for name in STAGES}


def listener_families(
    ledger: Ledger, waits: Mapping[Address, AcceptWaits], names: Names
) -> Iterator[Metric]:
    """Every family about listeners.

    Args:
        ledger: as of now.
        waits: in accept queues, by listener.
        names: of namespaces and containers.
    """
    told = [(_labels(listening), listening) for listening in ledger.listeners]
    yield from _queues([(labels, one) for labels, one in told if one.is_open])
    drops = counter("tcptrace_listener_drops_total")
    cookies = counter("tcptrace_syn_cookies_total")
    syns = counter("tcptrace_listener_syns_total")
    sockets = gauge("tcptrace_listener_sockets")
    info = gauge("tcptrace_listener_info")
    for labels, listening in told:
        counts = listening.counts
        for name, stage in _STAGES.items():
            drops.add_metric([*labels, name], counts[stage])
        for result, count in _COOKIE_COUNTS.items():
            cookies.add_metric([*labels, result], counts[count])
        syns.add_metric(labels, counts[Count.SYN_QUEUED])
        sockets.add_metric(labels, len(listening.members))
        if listening.address.address != OTHER_ADDRESS:
            info.add_metric([*labels, *_info(listening, names)], 1)
    yield from _accepts(told, waits)
    folded = gauge("tcptrace_listeners_folded")
    folded.add_metric([], ledger.folded)
    yield from (drops, cookies, syns, sockets, info, folded)


def _queues(told: list[tuple[list[str], Listening]]) -> Iterator[Metric]:
    for queue, young in (("accept_queue", False), ("syn_queue", True)):
        length = gauge(f"tcptrace_listener_{queue}_length")
        limit = gauge(f"tcptrace_listener_{queue}_limit")
        peak = gauge(f"tcptrace_listener_{queue}_peak")
        for labels, listening in told:
            slots = [member.slot for member in listening.members.values()]
            length.add_metric(labels, sum(getattr(slot, f"{queue}_len") for slot in slots))
            limit.add_metric(
                labels,
                listening.syn_queue_limit if young else listening.accept_queue_limit,
            )
            peaks = (getattr(member, f"{queue}_peak") for member in listening.members.values())
            peak.add_metric(labels, sum(peaks))
        yield from (length, limit, peak)
    fullest = gauge("tcptrace_listener_accept_queue_fullest_ratio")
    youngest = gauge("tcptrace_listener_syn_queue_young")
    for labels, listening in told:
        members = listening.members.values()
        fullest.add_metric(labels, max(member.accept_queue_fill for member in members))
        youngest.add_metric(labels, sum(member.slot.syn_queue_young for member in members))
    yield from (fullest, youngest)


def _accepts(
    told: list[tuple[list[str], Listening]], waits: Mapping[Address, AcceptWaits]
) -> Iterator[Metric]:
    accepts = counter("tcptrace_listener_accepts_total")
    seconds = counter("tcptrace_listener_accept_wait_seconds_total")
    for labels, listening in told:
        if listening.address.address == OTHER_ADDRESS:
            continue  # waits are known by listener
        wait = waits.get(listening.address)
        accepts.add_metric(labels, wait.count if wait else 0)
        seconds.add_metric(labels, wait.sum_ns / 1e9 if wait else 0)
    yield from (accepts, seconds)


def _labels(listening: Listening) -> list[str]:
    address = listening.address
    return [str(address.netns), address.address, str(address.port)]


def _info(listening: Listening, names: Names) -> list[str]:
    """The labels of LISTENER_INFO."""
    workload = parse(listening.cgroup)
    pod = names.pod_names(workload) or PodNames("", "", "")
    told = {
        "comm": comm_text(listening.owner.comm) if listening.owner else "",
        "cgroup": listening.cgroup.rpartition("/")[2],
        "netns_name": names.namespaces.get(listening.address.netns, ""),
        "container_id": workload.container,
        "container_name": pod.container,
        "pod_name": pod.pod,
        "pod_namespace": pod.namespace,
        "pod_uid": workload.pod_uid,
        "unit": workload.unit,
    }
    return [label_text(told[label]) for label in LISTENER_INFO]


def reconciliation_families(
    reconciliation: Reconciliation, reading: LedgerReading
) -> Iterator[Metric]:
    """How far the ledger and the kernel's own counters are apart, and the namespaces' limits."""
    differences = gauge("tcptrace_reconciliation_difference")
    for netns, by_counter in reconciliation.differences.items():
        for name, difference in by_counter.items():
            differences.add_metric([str(netns), name], difference)
    ports = gauge("tcptrace_ephemeral_ports")
    for figures in reading.namespaces:
        ports.add_metric([str(figures.netns)], figures.ephemeral_ports)
    yield from (differences, ports)
