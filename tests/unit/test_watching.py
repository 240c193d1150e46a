from __future__ import annotations

import io
import mmap
import struct
import sys
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tcptrace.errors import BadRecording
from tcptrace.lifecycle.accept_waits import AcceptWaits
from tcptrace.lifecycle.departures import IDLE_NS
from tcptrace.lifecycle.healing import HEAL_AFTER_NS
from tcptrace.lifecycle.ledger import KEEP_CLOSED_NS, Address
from tcptrace.lifecycle.picking import MOST_A_WINDOW
from tcptrace.lifecycle.recent import Recent
from tcptrace.lifecycle.socket_numbers import SAMPLES
from tcptrace.lifecycle.tally import Tally
from tcptrace.reading import READING_PERIOD_NS
from tcptrace.replay import AT_ONCE, ReplaySource
from tcptrace.sinks.recording import RecordingReader, RecordingWriter
from tcptrace.stopping import Limits, Stop
from tcptrace.tcp import State
from tcptrace.verdicts.window import WINDOW_NS
from tcptrace.watching import SNAPSHOT_PERIOD_NS, Watch
from tcptrace.wire.events import STACK_DEPTH, Kind, Stage
from tcptrace.wire.head import AttachedHook, Losses
from tcptrace.wire.ledger import Inventory
from unit import samples, slots
from unit.hosts import FakeHost, watched
from unit.lifecycle.steps import (
    CHILD,
    accept,
    close_second,
    drop_syn,
    listen,
    make_child,
    open_server,
    queue_syn,
)
from unit.lifecycle.stream import SERVER, Stream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

    from tcptrace.lifecycle.connection import Connection
    from tcptrace.reading import Source
    from tcptrace.verdicts.verdict import Verdict


def watch_of(source: Source, most: int = 10, verdicts_ns: int | None = None) -> Watch:
    return Watch(source, Tally(), most, verdicts_ns=verdicts_ns)


def spacing(times: list[int]) -> set[int]:
    return {after - before for before, after in pairwise(times)}


def test_a_window_that_nothing_was_gathered_in_takes_no_memory() -> None:
    before = resident_bytes()
    watches = [watch_of(FakeHost()) for _ in range(16)]
    assert resident_bytes() - before < len(watches) << 20


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * mmap.PAGESIZE


def test_the_ledger_is_read_every_second() -> None:
    host = FakeHost()
    watch = watch_of(host)
    watched(watch, 30)
    assert len(host.readings_ns) >= 30
    assert max(spacing(host.readings_ns)) <= READING_PERIOD_NS + 250 * samples.MS
    assert sum(gap < READING_PERIOD_NS for gap in spacing(host.readings_ns)) <= 2
    assert watch.reading is not None
    assert watch.reading.at_ns == host.readings_ns[-1]
    assert [one.address.port for one in watch.ledger.listeners] == [80]
    assert set(watch.agreement.reconciliation.differences) == {slots.NETNS}


def test_a_snapshot_is_taken_at_the_start_and_every_minute() -> None:
    host = FakeHost(step_ms=1000)
    watch = watch_of(host)
    watched(watch, 150)
    assert host.snapshots_ns[0] - samples.START <= 2 * samples.S
    assert len(host.snapshots_ns) == 3
    assert max(spacing(host.snapshots_ns)) <= SNAPSHOT_PERIOD_NS + 3 * samples.S
    assert watch.tracker.snapshots == 3


def test_every_reading_is_absorbed_also_the_snapshots() -> None:
    """Each has begun a new epoch of peaks: one that is dropped takes its peaks with it."""
    host = FakeHost(step_ms=1000)
    watch = watch_of(host)
    absorbed: list[int] = []
    absorb = watch.ledger.absorb

    def note(reading: Any) -> None:
        absorbed.append(reading.epoch)
        absorb(reading)

    watch.ledger.absorb = note  # type: ignore[method-assign]
    watched(watch, 130)
    assert absorbed == [*range(len(host.readings_ns))]


def test_a_snapshot_drains_what_its_parts_have_sent() -> None:
    host = FakeHost()
    host.found = [
        samples.batch(samples.record(samples.START + at, Kind.SEEN, sock=at)) for at in (1, 2)
    ]
    watch = watch_of(host)
    watched(watch, 1)
    assert watch.tally.events[Kind.SEEN] == 2
    assert watch.tracker.open_count == 2


class Flood(FakeHost):
    """Sends records as fast as they are read."""

    def read(self, timeout_s: float) -> bytes | None:
        super().read(timeout_s)
        return samples.batch(samples.record(self.now_ns(), Kind.CONNECT_SENT))


def test_a_flood_does_not_keep_it_from_a_snapshot() -> None:
    """As long as it lasts, each record takes its time; more may come than are taken."""
    host = Flood()
    host.found = [samples.batch(samples.record(samples.START, Kind.SEEN, sock=1))] * 5
    reads: list[int] = []
    snapshot = host.snapshot

    def counting(between: Callable[[], None]) -> set[int]:
        begin = host.reads
        covered = snapshot(between)
        reads.append(host.reads - begin)
        return covered

    host.snapshot = counting  # type: ignore[method-assign]
    watched(watch_of(host), 1)
    assert reads == [5]


def test_a_flood_does_not_keep_it_from_its_readings() -> None:
    host = Flood()
    watched(watch_of(host), 10)
    assert len(host.readings_ns) >= 10
    assert len(host.snapshots_ns) == 1


def test_records_that_were_lost_are_told_to_the_tracker(monkeypatch: pytest.MonkeyPatch) -> None:
    host = FakeHost()
    host.lost = [0, 0, 3, 3, 5]
    watch = watch_of(host)
    told: list[int] = []
    monkeypatch.setattr(watch.tracker, "lose", told.append)
    watched(watch, 5)
    assert len(told) == 2
    assert told[0] < told[1] <= host.now_ns()


def test_a_snapshot_is_taken_soon_after_the_last_loss() -> None:
    host = FakeHost(step_ms=500)

    def lost() -> int:
        return min(10, max(0, (host.now_ns() - samples.START) // samples.S - 10))

    host.lost_records = lost  # type: ignore[method-assign]
    watch = watch_of(host)
    watched(watch, 40)
    assert len(host.snapshots_ns) == 2
    last_ns = watch.agreement.healing.last_loss_ns
    assert last_ns is not None
    assert HEAL_AFTER_NS <= host.snapshots_ns[1] - last_ns <= HEAL_AFTER_NS + 4 * samples.S
    assert (watch.agreement.healing.is_suspect, watch.agreement.healing.heals) == (False, 1)


def test_losses_every_few_seconds_leave_it_time_for_more_than_snapshots(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where there are many sockets a snapshot takes long: here a second, twice a minute at most."""
    host = FakeHost(step_ms=250)

    def lost() -> int:
        return (host.now_ns() - samples.START) // (4 * samples.S)

    def snapshot(between: Callable[[], None]) -> set[int]:
        host.snapshots_ns.append(host.now_ns())
        host.reads += 4
        between()
        return host.covers

    monkeypatch.setattr(host, "lost_records", lost)
    monkeypatch.setattr(host, "snapshot", snapshot)
    watch = watch_of(host)
    watched(watch, 300)
    assert 5 < len(host.snapshots_ns) <= 12


def test_skipped_runs_of_probes_are_losses_too() -> None:
    """The records that they had sent are not counted as lost: nobody made them."""
    host = FakeHost(step_ms=100)
    skipped_ns = samples.START + 10 * samples.S
    host.losses = lambda: Losses(  # type: ignore[method-assign]
        0, {"tcp_set_state": int(host.now_ns() >= skipped_ns)}, ()
    )
    watch = watch_of(host)
    watched(watch, 12)
    healing = watch.agreement.healing
    assert healing.last_loss_ns is not None
    assert skipped_ns <= healing.last_loss_ns <= skipped_ns + 2 * samples.S
    assert healing.is_suspect
    watched(watch, 20)
    assert len(host.snapshots_ns) == 2
    assert (healing.is_suspect, healing.heals) == (False, 1)


def test_kprobes_that_miss_runs_all_the_time_make_no_snapshots_of_their_own() -> None:
    host = FakeHost(step_ms=100)
    questions: list[int] = []

    def losses() -> Losses:
        questions.append(host.now_ns())
        return Losses(0, {"tcp_set_state": len(questions)}, ())

    host.losses = losses  # type: ignore[method-assign]
    watch = watch_of(host)
    watched(watch, 200)
    assert len(host.snapshots_ns) == 4
    assert len(questions) <= len(host.readings_ns)
    assert (watch.agreement.healing.is_suspect, watch.agreement.healing.heals) == (True, 0)


def test_a_loss_that_no_snapshot_can_heal_changes_no_period(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(FakeHost, "takes_snapshots", False)
    host = FakeHost()
    host.lost = [0, 0, 3]
    watch = watch_of(host)
    stock: list[int] = []
    monkeypatch.setattr(watch, "_forget_namespaces", lambda: stock.append(host.now_ns()))
    watched(watch, 130)
    assert len(stock) == 3
    assert host.snapshots_ns == []
    assert watch.agreement.healing.is_suspect


def test_a_recording_takes_no_snapshots_of_its_own() -> None:
    file = io.BytesIO()
    writer = RecordingWriter(file, "t.rec", samples.head(what="everything"))
    for second in range(200):
        writer.write(samples.batch(samples.record(samples.START + second * samples.S)))
    writer.finish(samples.NO_LOSSES, samples.START + 200 * samples.S)
    file.seek(0)
    watch = watch_of(ReplaySource(RecordingReader(file, "t.rec"), AT_ONCE))
    source = watch.source
    stop = Stop(Limits())

    def tick() -> None:
        stop.asked |= isinstance(source, ReplaySource) and source.finished

    watch.run(stop, tick)
    assert watch.tracker.snapshots == 0


def test_what_the_kernel_counts_too_is_compared_by_namespace() -> None:
    here = slots.NETNS
    connects = [samples.record(samples.START + at, Kind.CONNECT_SENT) for at in range(3)]
    host = FakeHost(samples.batch(*(one._replace(netns=here) for one in connects)))
    host.trace_head = host.head._replace(hooks=(AttachedHook("tcp_connect", "fentry"),))
    watch = watch_of(host)
    watched(watch, 5)
    losses = Losses(0, {}, ())
    found = {one.comparison.figure.name: one for one in watch.agreement.findings(losses)}
    # What came before the first reading is not compared, nor is what no hook tells of.
    assert "TCPSynRetrans" not in found
    assert found["ActiveOpens"].comparison.difference == 0
    host._batches = [samples.batch(*(one._replace(netns=here) for one in connects))]
    watched(watch, 5)
    found = {one.comparison.figure.name: one for one in watch.agreement.findings(losses)}
    told = found["ActiveOpens"]
    assert (told.comparison.kernel, told.comparison.ours) == (0, 3)
    assert (told.comparison.difference, told.direction, told.cause) == (3, "above", "unknown")


def test_what_the_kernel_counts_at_another_time_is_not_compared() -> None:
    host = FakeHost()
    hooks = (AttachedHook("tcp_connect", "fentry"),)
    host.trace_head = host.head._replace(hooks=hooks, uncompared=("ActiveOpens",))
    watch = watch_of(host)
    watched(watch, 5)
    told = watch.agreement.reconciliation.differences[slots.NETNS]
    assert "PassiveOpens" in told
    assert "ActiveOpens" not in told


def test_state_counts_are_compared_with_the_kernels_inventory() -> None:
    host = FakeHost()
    host.told = {slots.NETNS: Inventory(3, {State.ESTABLISHED: 2, State.LISTEN: 1})}
    watch = watch_of(host)
    watched(watch, 2)
    for _ in range(SAMPLES):
        watch.compare_sockets()
    found = {
        one.comparison.figure.name: one.comparison.difference
        for one in watch.agreement.findings(Losses(0, {}, ()))
    }
    assert found["sock_diag established"] == -2
    assert found["sock_diag listen"] == -1
    assert found["sock_diag time_wait"] == 0
    assert found["sockstat inuse+tw"] == -3


def test_without_a_ledger_there_is_no_reading() -> None:
    host = FakeHost()
    host.slots = None
    watch = watch_of(host)
    watched(watch, 3)
    assert watch.reading is None
    assert not list(watch.ledger.listeners)


def test_its_lock_is_held_while_it_changes_and_never_while_it_waits() -> None:
    host = FakeHost(samples.batch(samples.record()))
    watch = watch_of(host)
    seen: list[bool] = []
    for name in ("read", "snapshot", "ledger_reading"):
        method = getattr(host, name)

        def free(*args: Any, method: Any = method) -> Any:
            seen.append(watch.lock.locked())
            return method(*args)

        setattr(host, name, free)
    held: list[bool] = []
    feed = watch.tracker.feed

    def fed(records: Any) -> None:
        held.append(watch.lock.locked())
        feed(records)

    watch.tracker.feed = fed  # type: ignore[method-assign]
    watched(watch, 3)
    assert seen
    assert not any(seen)
    assert held == [True]


class TestWaits:
    WEB = Address(slots.NETNS, "10.0.0.1", 8080)
    GONE = Address(slots.NETNS, "10.0.0.1", 8081)

    def watch(self) -> Watch:
        host = FakeHost()
        host.slots = {1: slots.slot("10.0.0.1", 8080)}
        watch = watch_of(host)
        for address in (self.WEB, self.GONE):
            waits = watch.tally.waits[address] = AcceptWaits()
            waits.add(5, samples.START)
        return watch

    def test_those_of_listeners_that_are_long_gone_are_forgotten(self) -> None:
        watch = self.watch()
        watch._forget_waits(samples.START + KEEP_CLOSED_NS)
        watched(watch, 1)
        assert set(watch.tally.waits) == {self.WEB, self.GONE}
        watch._forget_waits(samples.START + KEEP_CLOSED_NS + 1)
        assert set(watch.tally.waits) == {self.WEB}


_IDLE_LOOKS = IDLE_NS // SNAPSHOT_PERIOD_NS


class TestNamespaces:
    """Of 7 the tally has heard; nobody watches it, and no socket is left there."""

    def watch(self) -> Watch:
        self.host = FakeHost()
        watch = watch_of(self.host)
        watch.tally.syn_retransmitted(7, "ipv4")
        watch.tracker.counts.place(7, "ipv4")
        watch._forget_namespaces()
        return watch

    def look(self, watch: Watch) -> None:
        """A minute later."""
        self.host.reads += 60 * 4
        watch._forget_namespaces()

    def is_known(self, watch: Watch) -> bool:
        return bool(watch.tally.syn_retransmits) and watch.tracker.counts.namespaces == [7]

    def test_one_is_forgotten_after_some_minutes_without_news(self) -> None:
        watch = self.watch()
        for _ in range(_IDLE_LOOKS):
            self.look(watch)
            assert self.is_known(watch)
        self.look(watch)
        assert not watch.tally.syn_retransmits
        assert not watch.tracker.counts.namespaces

    def test_what_happens_between_snapshots_keeps_it(self) -> None:
        watch = self.watch()
        for at in range(4 * _IDLE_LOOKS):
            if at % _IDLE_LOOKS == 0:
                watch.tally.syn_retransmitted(7, "ipv4")
            self.look(watch)
        assert self.is_known(watch)

    def test_and_so_does_a_socket(self) -> None:
        watch = self.watch()
        cells = watch.tracker.counts.place(7, "ipv4").by_state
        for at in range(4 * _IDLE_LOOKS):
            cells[1] = at % _IDLE_LOOKS == 0
            self.look(watch)
        assert self.is_known(watch)

    def test_losses_make_snapshots_come_often_but_do_not_end_what_is_silent(self) -> None:
        host = FakeHost(samples.batch(samples.record()._replace(netns=7)), step_ms=100)
        period_ns = 5 * samples.S
        host.lost_records = (  # type: ignore[method-assign]
            lambda: (host.now_ns() - samples.START) // period_ns
        )
        watch = watch_of(host)
        watched(watch, 400)
        assert len(host.snapshots_ns) > 40
        assert watch.tracker.counts.occupied == {7}
        assert watch.agreement.healing.unhealed == {7}

    @pytest.mark.parametrize("told_at_s", [0, 4.75])
    def test_one_that_is_read_no_more_had_no_socket_left(self, told_at_s: float) -> None:
        """What is counted there is over, though no snapshot can cover it any more."""
        told_ns = samples.START + int(told_at_s * samples.S)
        host = FakeHost(samples.batch(samples.record(told_ns)._replace(netns=7)))
        readings = host.ledger_reading
        watch = watch_of(host)

        def both() -> Any:
            one = readings()
            assert one is not None
            is_there = host.now_ns() < samples.START + 5 * samples.S
            rest = (slots.figures(netns=7),) if is_there else ()
            return one._replace(namespaces=(*one.namespaces, *rest))

        host.ledger_reading = both  # type: ignore[method-assign]
        watched(watch, 4)
        assert watch.tracker.counts.occupied == {7}
        watched(watch, 4)
        assert not watch.tracker.counts.occupied
        assert watch.tracker.healed == 1

    def test_names_of_readings_are_the_sources_to_learn(self) -> None:
        """A live one may have forgotten a name since it made its reading."""
        host = FakeHost()
        readings = host.ledger_reading

        def named() -> Any:
            one = readings()
            assert one is not None
            return one._replace(namespaces=(slots.figures(netns=7, name="blue"),))

        host.ledger_reading = named  # type: ignore[method-assign]
        watched(watch_of(host), 2)
        assert host.names.namespaces == {}

    def test_a_loss_is_healed_where_a_snapshot_was(self) -> None:
        host = FakeHost(
            *(samples.batch(samples.record(sock=at)._replace(netns=at)) for at in (7, 8))
        )
        host.covers = {7}
        host.lost = [0, 0, 0, 3]
        watch = watch_of(host)
        watched(watch, 30)
        healing = watch.agreement.healing
        assert (healing.unhealed, healing.heals, healing.is_suspect) == ({8}, 1, True)
        host.covers = {7, 8}
        watched(watch, 70)
        assert (healing.unhealed, healing.heals, healing.is_suspect) == (set(), 2, False)


class TestRecordings:
    def test_its_end_stays_in_view(self) -> None:
        host = FakeHost(b"", endless=False)
        watch = watch_of(host)
        stop = Stop(Limits())
        ticks: list[bool] = []

        def tick() -> None:
            ticks.append(watch.reading is not None)
            stop.asked = len(ticks) == 5

        watch.run(stop, tick)
        assert ticks == [True] * 5
        assert watch.fault is None

    def test_a_fault_is_kept_for_the_end(self) -> None:
        fault = BadRecording("damaged")
        watch = watch_of(FakeHost(samples.batch(samples.record()), fault))
        stop = Stop(Limits())

        def tick() -> None:
            stop.asked = watch.fault is not None

        watch.run(stop, tick)
        assert watch.fault is fault
        assert watch.tally.events[Kind.STATE_CHANGED] == 1

    @pytest.mark.parametrize("speed", [AT_ONCE, 1000])
    def test_a_recorded_host_is_watched_to_its_last_reading(self, speed: float) -> None:
        file = io.BytesIO()
        writer = RecordingWriter(file, "t.rec", samples.head(what="everything"))
        for second in range(5):
            one = slots.slot(counts={Stage.OTHER: second})
            at_ns = samples.START + second * samples.S
            writer.write_ledger(slots.reading(slots={1: one}, at_ns=at_ns, epoch=second))
            writer.write(samples.batch(samples.record(at_ns + 5)))
        last = slots.slot(counts={Stage.OTHER: 77})
        writer.write_ledger(slots.reading(9, {1: last}))
        writer.finish(samples.NO_LOSSES, samples.START + 9 * samples.S)
        file.seek(0)
        watch = watch_of(ReplaySource(RecordingReader(file, "t.rec"), speed))
        self.run_to_end(watch)
        assert watch.tally.events[Kind.STATE_CHANGED] == 5
        assert [one.drops[Stage.OTHER] for one in watch.ledger.listeners] == [77]

    def test_verdicts_at_its_end_are_reached_anew(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Its clock stands still then: those of a moment before would stay."""
        watch = watch_of(FakeHost(b"", endless=False), verdicts_ns=WINDOW_NS)
        judged: list[bool] = []

        def judge(_case: object) -> list[Verdict]:
            judged.append(watch.is_over)
            return []

        monkeypatch.setattr("tcptrace.verdicts.inquest.judge", judge)
        stop = Stop(Limits())

        def tick() -> None:
            watch.verdicts()
            stop.asked = watch.is_over

        watch.run(stop, tick)
        assert judged.count(True) == 1

    def test_a_recording_with_stacks(self) -> None:
        """The frames behind each record are no records."""
        file = io.BytesIO()
        writer = RecordingWriter(file, "t.rec", samples.head(stacks=True))
        stack = struct.pack(f"<{STACK_DEPTH}Q", *range(1, STACK_DEPTH + 1))
        for at in range(3):
            writer.write((samples.batch(samples.record(samples.START + at)) + stack) * 2)
        writer.finish(samples.NO_LOSSES, samples.START + 9)
        file.seek(0)
        watch = watch_of(ReplaySource(RecordingReader(file, "t.rec"), AT_ONCE))
        self.run_to_end(watch)
        assert watch.fault is None
        assert watch.tally.events[Kind.STATE_CHANGED] == 6
        assert watch.tracker.open_count == 1

    def run_to_end(self, watch: Watch) -> None:
        stop = Stop(Limits())
        source = watch.source
        assert isinstance(source, ReplaySource)

        def tick() -> None:
            stop.asked |= source.finished

        watch.run(stop, tick)


def test_who_holds_a_socket_that_was_there_before_is_told_to_the_snapshot() -> None:
    host = FakeHost()
    found = samples.record(samples.START + 1, Kind.SEEN)._replace(
        old_state=1, new_state=1, origin=77
    )
    host.found = [samples.batch(found)]
    reading = host.ledger_reading

    def with_owners() -> Any:
        one = reading()
        assert one is not None
        return one._replace(owners={77: (5, b"holder")})

    host.ledger_reading = with_owners  # type: ignore[method-assign]
    watch = watch_of(host)
    watched(watch, 1)
    assert watch.tracker.open_count == 1
    assert watch.reading is not None
    assert watch.reading.owners == {77: (5, b"holder")}


def test_lives_are_told_to_who_listens() -> None:
    stream = Stream()
    listen(stream)
    open_server(stream)
    close_second(stream)
    told: list[tuple[str, Connection]] = []
    watch = watch_of(FakeHost(samples.batch(*stream.records)))
    watch.on_closed.append(lambda life: told.append(("closed", life)))
    watch.on_ended.append(lambda life: told.append(("ended", life)))
    watched(watch, 3)
    assert [what for what, _ in told] == ["closed", "ended"]
    assert told[0][1] is told[1][1]


def test_slow_lives_of_plain_course_are_told_only_if_anybody_listens() -> None:
    stream = Stream()
    listen(stream)
    for _ in range(30):
        queue_syn(stream)
        make_child(stream)
        stream.goes(CHILD, SERVER, State.SYN_RECV, State.ESTABLISHED)
        stream.wait(samples.S)
        accept(stream)
        close_second(stream)
    stream.now_ns = samples.START
    batch = samples.batch(*stream.records)
    told: list[Connection] = []
    for listens in (False, True):
        watch = watch_of(FakeHost(batch))
        if listens:
            watch.on_ended.append(told.append)
        watched(watch, 3)
        assert watch.tally.accept_wait.count == 30
        assert len(told) == (MOST_A_WINDOW if listens else 0)


def test_evidence_is_gathered_only_if_verdicts_are_asked_for() -> None:
    stream = Stream()
    listen(stream)
    drop_syn(stream)
    calls = {None: 0, WINDOW_NS: 0}
    for verdicts_ns in calls:
        host = FakeHost(samples.batch(*stream.records))
        watch = Watch(host, Tally(), 10, verdicts_ns=verdicts_ns)
        with called("tcptrace.verdicts") as count:
            watched(watch, 5)
        calls[verdicts_ns] = count[0]
        if verdicts_ns is None:
            with pytest.raises(AssertionError, match="no evidence"):
                watch.verdicts()
        else:
            assert watch.verdicts() == []
            assert watch.inquest.looked.listeners == 1
    assert calls[None] == 0 < calls[WINDOW_NS]


@contextmanager
def called(package: str) -> Iterator[list[int]]:
    """Counts calls of a package's functions."""
    count = [0]

    def note(frame: FrameType, event: str, _argument: object) -> None:
        count[0] += event == "call" and frame.f_globals["__name__"].startswith(package)

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        yield count
    finally:
        sys.setprofile(before)


def test_what_is_recent_is_told_by_records_and_readings() -> None:
    stream = Stream()
    listen(stream)
    drop_syn(stream)
    recent = Recent()
    source = FakeHost(samples.batch(*stream.records))
    watch = Watch(source, Tally(), 10, recent=recent)
    watched(watch, 12)
    assert [drop.stage for drop in recent.drops] == [Stage.SYN_ACCEPT_QUEUE_FULL]
    assert len(recent.queues.times_ns) == 3
    assert list(recent.queues.pasts) == [Address(slots.NETNS, "0.0.0.0", 80)]  # noqa: S104
    assert recent.transitions == {(State.CLOSE, State.LISTEN): 0.0}
    assert watch.tally.transitions == {(State.CLOSE, State.LISTEN): 1}
