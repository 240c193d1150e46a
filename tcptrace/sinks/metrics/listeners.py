"""The metrics of listeners: both queues, drops by stage, cookies, who listens."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final, NamedTuple

from tcptrace.lifecycle.ledger import OTHER_ADDRESS
from tcptrace.lifecycle.names import PodNames
from tcptrace.lifecycle.workload import parse
from tcptrace.sinks.metrics.catalogue import COOKIE_RESULTS, LISTENER_INFO, STAGES
from tcptrace.sinks.metrics.families import counter, gauge, label_text
from tcptrace.sinks.terminal import comm_text
from tcptrace.wire.events import Stage
from tcptrace.wire.ledger import COUNTERS, Count

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from prometheus_client.core import Metric

    from tcptrace.lifecycle.accept_waits import AcceptWaits
    from tcptrace.lifecycle.explaining import Finding
    from tcptrace.lifecycle.ledger import Address, Ledger, Listening, Member
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


class _Queue(NamedTuple):
    """Where a queue's figures are."""

    name: str
    length: Callable[[Member], int]
    limit: Callable[[Listening], int]
    peak: Callable[[Member], int]


_QUEUES: Final = (
    _Queue(
        "accept_queue",
        lambda member: member.slot.accept_queue_len,
        lambda listening: listening.accept_queue_limit,
        lambda member: member.accept_queue_peak,
    ),
    _Queue(
        "syn_queue",
        lambda member: member.slot.syn_queue_len,
        lambda listening: listening.syn_queue_limit,
        lambda member: member.syn_queue_peak,
    ),
)


def _queues(told: list[tuple[list[str], Listening]]) -> Iterator[Metric]:
    for queue in _QUEUES:
        length = gauge(f"tcptrace_listener_{queue.name}_length")
        limit = gauge(f"tcptrace_listener_{queue.name}_limit")
        peak = gauge(f"tcptrace_listener_{queue.name}_peak")
        for labels, listening in told:
            members = listening.members.values()
            length.add_metric(labels, sum(map(queue.length, members)))
            limit.add_metric(labels, queue.limit(listening))
            peak.add_metric(labels, sum(map(queue.peak, members)))
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
    reconciliation: Reconciliation, findings: Iterable[Finding], reading: LedgerReading
) -> Iterator[Metric]:
    """How far all figures are from the kernel's own, and the namespaces' limits.

    Args:
        reconciliation: as of now.
        findings: each figure's comparison and what explains it.
        reading: the last one.
    """
    differences = gauge("tcptrace_reconciliation_difference")
    for netns, by_figure in reconciliation.differences.items():
        for name in COUNTERS:
            differences.add_metric([str(netns), name], by_figure.get(name, 0))
    differing = gauge("tcptrace_kernel_difference")
    compared: Counter[int] = Counter()
    for finding in findings:
        found = finding.comparison
        compared[found.netns] += 1
        if found.difference:
            labels = [str(found.netns), found.figure.name, finding.direction, finding.cause]
            differing.add_metric(labels, abs(found.difference))
    figures_compared = gauge("tcptrace_kernel_figures_compared")
    for netns, count in sorted(compared.items()):
        figures_compared.add_metric([str(netns)], count)
    ports = gauge("tcptrace_ephemeral_ports")
    for figures in reading.namespaces:
        ports.add_metric([str(figures.netns)], figures.ephemeral_ports)
    yield from (differences, differing, figures_compared, ports)
