"""A watched host with something in every metric, and what can be read of a scrape."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families as parse_text

from tcptrace.exporting import Exporter
from tcptrace.otlp.deliveries import Deliveries
from tcptrace.otlp.settings import SIGNALS
from tcptrace.sinks.metrics.observed import new_tally
from tcptrace.tcp import State
from tcptrace.watching import Watch
from tcptrace.wire.events import Kind, Stage
from tcptrace.wire.head import Losses, ProgramRuns
from tcptrace.wire.ledger import Count
from unit import samples, slots
from unit.hosts import FakeHost, watched
from unit.lifecycle.steps import (
    CHILD,
    CONNECTING,
    connect,
    enter_timewait,
    open_both,
)
from unit.lifecycle.stream import CLIENT, SERVER, Stream

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client.core import Metric

OPENMETRICS = "application/openmetrics-text; version=1.0.0"
COVERED = 7
"""The namespace that snapshots walk over; the others stay in doubt after a loss."""
HOSTILE_COMM = b'\xff"\n\\{}=,\x1b[\0'.ljust(16, b"\0")
HOSTILE_CGROUP = '/a.slice/"evil"\n\\x\x1b[2J\u202e\x85' + "z" * 300


def full_host() -> FakeHost:
    """Listeners of all kinds, connections, retransmits, resets, losses, costs."""
    stream = Stream(now_ns=samples.START)
    open_both(stream)
    stream.tell(Kind.SYNACK_RETRANSMITTED, 0x20, SERVER)
    connect(stream, 0x41, CLIENT)
    stream.tell(Kind.SYN_RETRANSMITTED, 0x41, CLIENT, new_state=State.SYN_SENT)
    stream.tell(Kind.RESET_RECEIVED, CHILD, SERVER, old_state=State.ESTABLISHED)
    stream.goes(CHILD, SERVER, State.ESTABLISHED, State.CLOSE_WAIT)
    enter_timewait(stream, CONNECTING)
    stream.goes(0x99, CLIENT, State.CLOSE_WAIT, State.LAST_ACK)
    connect(stream, 0x51, CLIENT._replace(netns=COVERED))
    host = FakeHost(samples.batch(*stream.records), b"", step_ms=500)
    host.slots = {
        0: slots.overflow({Stage.OTHER: 4}),
        1: slots.slot(
            "0.0.0.0",  # noqa: S104 - in a table
            8080,
            counts={Stage.SYN_ACCEPT_QUEUE_FULL: 3, Count.COOKIE_SENT: 2, Count.SYN_QUEUED: 9},
            accept_queue_len=2,
            syn_queue_len=3,
            syn_queue_young=1,
        ),
        2: slots.slot("::", 8080, accept_queue_len=4, accept_queue_limit=3),
        3: slots.slot("::", 8080, accept_queue_limit=1),
        4: slots.slot("::1", 22, closed_at_ns=samples.START, counts={Stage.LISTENER_CLOSED: 1}),
        5: slots.slot(port=666, comm=HOSTILE_COMM, cgroup=9),
        6: slots.slot(port=667, comm=b"\xff" * 15 + b"\0"),
        7: slots.slot(port=668, pid=0),
    }
    host.loss = Losses(5, {"tcp_set_state": 2}, (), {"tcp_set_state": 5})
    host.covers = {COVERED}  # or the snapshot after the loss would end them all
    lost = iter((0, 0, 5))
    host.lost_records = lambda: next(lost, 5)  # type: ignore[method-assign]
    # One that the kernel counts and the trace does not.
    host.kernel = lambda: {"EstabResets": host.now_ns() // samples.S}
    host.runs = (
        ProgramRuns("tcp_set_state", "fentry", 10, 1500),
        ProgramRuns("inet_csk_accept", "fexit", 0, 0),
    )
    reading = host.ledger_reading

    def named() -> object:
        told = reading()
        assert told is not None
        return told._replace(cgroups={9: HOSTILE_CGROUP})

    host.ledger_reading = named  # type: ignore[method-assign, assignment]
    return host


def exporter_of(host: FakeHost, most: int = 100, seconds: float = 20) -> Exporter:
    """An exporter of a host that has been watched for some seconds of its time."""
    exporter = Exporter()
    exporter.watch = Watch(host, new_tally(), most)
    exporter.deliveries = Deliveries(SIGNALS)
    watched(exporter.watch, seconds)
    return exporter


class Scrape(NamedTuple):
    """One rendering, parsed."""

    text: str
    families: dict[str, Metric]

    def value(self, name: str, **labels: object) -> float:
        """The only sample of that name with these labels."""
        wanted = {key: str(label) for key, label in labels.items()}
        (value,) = (
            sample.value
            for sample in self.samples
            if sample.name == name and wanted.items() <= sample.labels.items()
        )
        return value

    @property
    def samples(self) -> Iterator[Sample]:
        """All of them."""
        for family in self.families.values():
            for sample in family.samples:
                yield Sample(sample.name, dict(sample.labels), sample.value)

    def labels_of(self, name: str) -> list[dict[str, str]]:
        """The labels of each sample of that name."""
        return [sample.labels for sample in self.samples if sample.name == name]


class Sample(NamedTuple):
    name: str
    labels: dict[str, str]
    value: float


def scrape(exporter: Exporter, accept: str = OPENMETRICS) -> Scrape:
    raw, content_type = exporter.render(accept)
    text = raw.decode()
    parse = parse_openmetrics if "openmetrics" in content_type else parse_text
    found = list(parse(text))
    families = {family.name: family for family in found}
    assert len(families) == len(found), "a family is told twice"
    return Scrape(text, families)
