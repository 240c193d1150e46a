"""The metrics of listeners: both queues, drops by stage, cookies, who listens.

In two steps, since there may be thousands: their figures are taken as they are now, under the lock
of who keeps them; families are made of them after that. Labels are kept from scrape to scrape.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from tcptrace.lifecycle.ledger import OTHER_ADDRESS, Address
from tcptrace.lifecycle.names import PodNames
from tcptrace.lifecycle.workload import parse
from tcptrace.sinks.metrics.catalogue import COOKIE_RESULTS, LISTENER_INFO, STAGES
from tcptrace.sinks.metrics.families import gauge, label_text
from tcptrace.sinks.metrics.table import Labels, Table
from tcptrace.sinks.terminal import comm_text
from tcptrace.wire.events import Stage
from tcptrace.wire.ledger import COUNTS, Count

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tcptrace.lifecycle.accept_waits import AcceptWaits
    from tcptrace.lifecycle.connection import Process
    from tcptrace.lifecycle.ledger import Ledger, Listening
    from tcptrace.lifecycle.names import Names
    from tcptrace.sinks.metrics.client import Metric

_STAGES: Final = tuple(Stage[name.upper()] for name in STAGES)
_STAGE_MARKS: Final = tuple(Labels({"stage": name}) for name in STAGES)
_COOKIES: Final = (Count.COOKIE_SENT, Count.COOKIE_VALID, Count.COOKIE_INVALID)
_COOKIE_MARKS: Final = tuple(Labels({"result": name}) for name in COOKIE_RESULTS)
_QUEUES: Final = (
    "tcptrace_listener_accept_queue_length",
    "tcptrace_listener_accept_queue_limit",
    "tcptrace_listener_accept_queue_peak",
    "tcptrace_listener_syn_queue_length",
    "tcptrace_listener_syn_queue_limit",
    "tcptrace_listener_syn_queue_peak",
    "tcptrace_listener_accept_queue_fullest_ratio",
    "tcptrace_listener_syn_queue_young",
)
"""Names of what _queues finds, in its order."""


class _Identity(NamedTuple):
    """What LISTENER_INFO is made of."""

    owner: Process | None
    cgroup: str
    netns_name: str
    pod: PodNames | None


@dataclass(slots=True)
class Taken:
    """The figures of listeners as they were at one moment.

    Attributes:
        counts: by Stage and Count, of each listener.
        sockets: how many each has.
        owners: with the path of the cgroup.
        waits: how many connections accept() took, and their waits, ns; not of OTHER_ADDRESS.
        queues: of those that are open, as _QUEUES has them.
        folded: listeners that are not told apart.
    """

    folded: int
    counts: dict[Address, tuple[int, ...]] = field(default_factory=dict)
    sockets: list[int] = field(default_factory=list)
    owners: list[tuple[Process | None, str]] = field(default_factory=list)
    waits: dict[Address, tuple[int, int]] = field(default_factory=dict)
    queues: dict[Address, tuple[float, ...]] = field(default_factory=dict)


def take_listeners(ledger: Ledger, waits: Mapping[Address, AcceptWaits]) -> Taken:
    """Takes what is told of listeners, as of now.

    Args:
        ledger: not to change meanwhile.
        waits: in accept queues, by listener; likewise.
    """
    taken = Taken(ledger.folded)
    for listening in ledger.listeners:
        address = listening.address
        taken.counts[address] = listening.counts
        taken.sockets.append(len(listening.members))
        taken.owners.append((listening.owner, listening.cgroup))
        if address.address != OTHER_ADDRESS:  # waits are known by listener
            wait = waits.get(address)
            taken.waits[address] = (wait.count, wait.sum_ns) if wait else (0, 0)
        if listening.members:
            taken.queues[address] = _queues(listening)
    return taken


def _queues(listening: Listening) -> tuple[float, ...]:
    """The sockets of one reuseport group are added up, but for how full the fullest is."""
    each = [
        (
            (slot := member.slot).accept_queue_len,
            slot.accept_queue_limit,
            member.accept_queue_peak,
            slot.syn_queue_len,
            member.syn_queue_limit,
            member.syn_queue_peak,
            member.accept_queue_fill,
            slot.syn_queue_young,
        )
        for member in listening.members.values()
    ]
    if len(each) == 1:
        return each[0]
    lengths = [sum(column) for column in zip(*each, strict=True)]
    lengths[6] = max(one[6] for one in each)
    return tuple(lengths)


class ListenerMetrics:
    """Makes the families about listeners, and keeps the labels of those that it told last."""

    def __init__(self) -> None:
        self._labels: dict[Address, Labels] = {}
        self._infos: dict[Address, tuple[_Identity, Labels]] = {}

    def families(self, taken: Taken, names: Names) -> Iterator[Metric | Table]:
        """Every family about listeners.

        Args:
            taken: their figures.
            names: of namespaces and containers.
        """
        before = self._labels
        self._labels = labels = {
            address: before.get(address) or _labels(address) for address in taken.counts
        }
        rows = list(labels.values())
        open_rows = [labels[address] for address in taken.queues]
        for name, column in zip(_QUEUES, _columns(taken.queues, len(_QUEUES)), strict=True):
            yield Table(name, open_rows, [column])
        accepts, waits_ns = _columns(taken.waits, 2)
        told_rows = [labels[address] for address in taken.waits]
        seconds = [wait_ns / 1e9 for wait_ns in waits_ns]
        yield Table("tcptrace_listener_accepts_total", told_rows, [accepts])
        yield Table("tcptrace_listener_accept_wait_seconds_total", told_rows, [seconds])
        counts = _columns(taken.counts, COUNTS)
        drops = [counts[stage] for stage in _STAGES]
        cookies = [counts[count] for count in _COOKIES]
        yield Table("tcptrace_listener_drops_total", rows, drops, _STAGE_MARKS)
        yield Table("tcptrace_syn_cookies_total", rows, cookies, _COOKIE_MARKS)
        yield Table("tcptrace_listener_syns_total", rows, [counts[Count.SYN_QUEUED]])
        yield Table("tcptrace_listener_sockets", rows, [taken.sockets])
        infos = self._info_rows(taken, names)
        yield Table("tcptrace_listener_info", infos, [[1] * len(infos)])
        folded = gauge("tcptrace_listeners_folded")
        folded.add_metric([], taken.folded)
        yield folded

    def _info_rows(self, taken: Taken, names: Names) -> list[Labels]:
        before = self._infos
        infos: dict[Address, tuple[_Identity, Labels]] = {}
        for address, (owner, cgroup) in zip(taken.counts, taken.owners, strict=True):
            if address.address == OTHER_ADDRESS:
                continue
            netns_name = names.namespaces.get(address.netns, "")
            identity = _Identity(owner, cgroup, netns_name, names.pod_names(parse(cgroup)))
            former = before.get(address)
            if former is None or former[0] != identity:
                former = (identity, _info(address, identity))
            infos[address] = former
        self._infos = infos
        return [labels for _, labels in infos.values()]


def _columns(rows: Mapping[Address, Sequence[float]], width: int) -> list[Sequence[float]]:
    return list(zip(*rows.values(), strict=True)) or [()] * width


def _labels(address: Address) -> Labels:
    return Labels(_where(address))


def _where(address: Address) -> dict[str, str]:
    return {"netns": str(address.netns), "address": address.address, "port": str(address.port)}


def _info(address: Address, identity: _Identity) -> Labels:
    """With the labels of LISTENER_INFO."""
    workload = parse(identity.cgroup)
    pod = identity.pod or PodNames("", "", "")
    told = {
        "comm": comm_text(identity.owner.comm) if identity.owner else "",
        "cgroup": identity.cgroup.rpartition("/")[2],
        "netns_name": identity.netns_name,
        "container_id": workload.container,
        "container_name": pod.container,
        "pod_name": pod.pod,
        "pod_namespace": pod.namespace,
        "pod_uid": workload.pod_uid,
        "unit": workload.unit,
    }
    return Labels(_where(address) | {label: label_text(told[label]) for label in LISTENER_INFO})
