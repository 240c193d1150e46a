from __future__ import annotations

import io
import signal
from typing import TYPE_CHECKING

import pytest

from tcptrace import session
from tcptrace.errors import BadRecording, OutputFailed
from tcptrace.lifecycle.counts import StateCounts
from tcptrace.lifecycle.names import Names
from tcptrace.sinks.recording import RecordingReader, RecordingWriter
from tcptrace.stopping import Limits
from tcptrace.wire.events import Kind
from tcptrace.wire.ledger import Inventory, LedgerReading
from unit import samples

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tcptrace.lifecycle.connection import Connection, Listener
    from tcptrace.wire.decode import Stacked
    from tcptrace.wire.events import Record
    from tcptrace.wire.head import Losses, ProgramRuns, TraceHead

BATCH = samples.batch(samples.record(), samples.record())


class FakeTracker:
    """Makes a life of each record: closed when fed, ended when finished."""

    def __init__(
        self,
        on_closed: Callable[[Connection], None],
        on_ended: Callable[[Connection], None],
        *,
        most: int,
    ) -> None:
        self.most = most
        self.folded = 0
        self.counts = StateCounts()
        self._on_closed = on_closed
        self._on_ended = on_ended
        self.lives: list[Connection] = []
        self.advanced: list[int] = []
        self.unexpected = 0
        self.open_count = 0

    @property
    def listeners(self) -> list[Listener]:
        return [samples.listener()]

    def feed(self, records: Iterable[Record]) -> None:
        for _ in records:
            self.lives.append(samples.server())
            self._on_closed(self.lives[-1])

    def feed_stacked(self, pairs: Iterable[Stacked]) -> None:
        self.feed(pair.record for pair in pairs)

    def advance(self, now_ns: int) -> None:
        self.advanced.append(now_ns)

    def finish(self, now_ns: int) -> None:
        self.advanced.append(now_ns)
        for life in self.lives:
            self._on_ended(life)


class FakeSource:
    """Gives prepared batches; b"" for ever, or the end, after them."""

    def __init__(self, *batches: bytes | BaseException, endless: bool = False) -> None:
        self._batches = list(batches)
        self._endless = endless
        self.closed = False
        self.reads = 0
        self.found: list[bytes] = []
        """What a snapshot has sent, part by part."""
        self.readings: list[LedgerReading] = []
        """The next ones of the ledger; none any more when they are used up."""
        self.lost: list[int] = []
        """How many records are lost at each question."""
        self.names = Names()

    @property
    def head(self) -> TraceHead:
        return samples.head()

    def read(self, timeout_s: float) -> bytes | None:
        assert 0 <= timeout_s <= 0.1
        self.reads += 1
        if not self._batches:
            return b"" if self._endless else None
        batch = self._batches.pop(0)
        if isinstance(batch, BaseException):
            raise batch
        return batch

    def lost_records(self) -> int:
        return self.lost.pop(0) if self.lost else 0

    def losses(self) -> Losses:
        assert not self.closed
        return samples.NO_LOSSES

    def now_ns(self) -> int:
        return samples.START + self.reads * samples.S

    def symbol(self, offset: int) -> str | None:
        raise AssertionError(offset)

    trouble: str = ""

    @property
    def takes_snapshots(self) -> bool:
        return True

    def inventory(self) -> dict[int, Inventory]:
        return {}

    def snapshot(self, between: Callable[[], None]) -> set[int]:
        for part in self.found:
            self._batches[:0] = [part, b""]
            between()
        return set()

    def ledger_reading(self) -> LedgerReading | None:
        return self.readings.pop(0) if self.readings else None

    def programs(self) -> tuple[ProgramRuns, ...]:
        return ()

    def close(self) -> None:
        self.closed = True


class ListPrinter:
    def __init__(self, *, after_time_wait: bool = False, failing: OSError | None = None) -> None:
        self.after_time_wait = after_time_wait
        self.failing = failing
        self.shown: list[Connection] = []
        self.flushed = 0

    def begin(self) -> None:
        """Nothing to begin."""

    def show(self, connection: Connection, now_ns: int) -> None:
        assert now_ns >= samples.START
        if self.failing:
            raise self.failing
        self.shown.append(connection)

    def flush(self) -> None:
        self.flushed += 1


@pytest.fixture(autouse=True)
def _fake_tracker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "Tracker", FakeTracker)


def run(
    source: FakeSource,
    printer: ListPrinter,
    limits: Limits = Limits(),  # noqa: B008
) -> str:
    notes = io.StringIO()
    session.run(source, printer, limits, notes, "tracing …")
    assert source.closed
    return notes.getvalue()


@pytest.mark.parametrize("after_time_wait", [False, True])
def test_lives_are_shown_and_summed_up(after_time_wait: bool) -> None:
    printer = ListPrinter(after_time_wait=after_time_wait)
    notes = run(FakeSource(BATCH, b"", BATCH), printer)
    assert len(printer.shown) == 4
    assert printer.flushed >= 4
    assert notes.startswith("tracing …\n\n4 connections in 4.00s · port 8080\n")
    assert "listener 0.0.0.0:8080 nginx[1234]" in notes


def test_count_shows_just_so_many_and_ends() -> None:
    printer = ListPrinter()
    notes = run(FakeSource(BATCH, BATCH, endless=True), printer, Limits(count=3))
    assert len(printer.shown) == 3
    assert "4 connections" in notes


def test_duration_ends_but_what_the_source_still_holds_is_shown() -> None:
    printer = ListPrinter()
    run(FakeSource(BATCH, BATCH, endless=True), printer, Limits(duration_s=1e-9))
    assert len(printer.shown) == 4


def test_a_signal_ends_with_the_summary(monkeypatch: pytest.MonkeyPatch) -> None:
    source = FakeSource(BATCH, endless=True)
    read = source.read

    def read_and_interrupt(timeout_s: float) -> bytes | None:
        batch = read(timeout_s)
        if source.reads == 3:
            signal.raise_signal(signal.SIGINT)
        return batch

    monkeypatch.setattr(source, "read", read_and_interrupt)
    assert "2 connections" in run(source, ListPrinter())


def test_a_damaged_source_is_shown_up_to_the_damage_and_then_told() -> None:
    source = FakeSource(BATCH, BadRecording("damaged"))
    printer = ListPrinter()
    notes = io.StringIO()
    with pytest.raises(BadRecording, match="damaged"):
        session.run(source, printer, Limits(), notes, "replaying …")
    assert len(printer.shown) == 2
    assert "2 connections" in notes.getvalue()
    assert source.closed


def test_output_that_fails_is_told_and_the_source_closed() -> None:
    source = FakeSource(BATCH)
    printer = ListPrinter(failing=OSError(28, "No space left on device"))
    with pytest.raises(OutputFailed, match="No space left on device"):
        session.run(source, printer, Limits(), io.StringIO(), "tracing …")
    assert source.closed


def test_a_reader_that_went_away_passes() -> None:
    source = FakeSource(BATCH)
    with pytest.raises(BrokenPipeError):
        session.run(source, ListPrinter(failing=BrokenPipeError()), Limits(), io.StringIO(), "…")
    assert source.closed


def test_record_writes_all_and_says_how_much() -> None:
    file, notes = io.BytesIO(), io.StringIO()
    source = FakeSource(BATCH, b"", BATCH)
    writer = RecordingWriter(file, "t.rec", samples.head())
    session.record(source, writer, Limits(), notes, "tracing …")
    assert source.closed
    assert notes.getvalue().endswith("kB in 4.00s; 0 lost\n")
    assert "recorded 4 records, " in notes.getvalue()
    file.seek(0)
    reader = RecordingReader(file, "t.rec")
    assert b"".join(reader.blocks()) == BATCH * 2
    assert not reader.cut


def test_record_begins_with_the_ledger_and_a_snapshot() -> None:
    found = [samples.batch(samples.record(samples.START + at, Kind.SEEN)) for at in (1, 2)]
    readings = [LedgerReading(samples.START + at * samples.S, at, [], ()) for at in range(3)]
    source = FakeSource(BATCH)
    source.found, source.readings = list(found), list(readings)
    file = io.BytesIO()
    writer = RecordingWriter(file, "t.rec", samples.head())
    session.record(source, writer, Limits(), io.StringIO(), "tracing …")
    file.seek(0)
    reader = RecordingReader(file, "t.rec")
    told = [block or reader.reading for block in reader.blocks()]
    assert told == [readings[0], *found, BATCH, readings[1], readings[2]]


def test_record_says_before_a_batch_that_records_were_lost() -> None:
    source = FakeSource(BATCH, BATCH, BATCH)
    source.lost = [0, 3, 3]
    file = io.BytesIO()
    session.record(
        source, RecordingWriter(file, "t.rec", samples.head()), Limits(), io.StringIO(), "tracing …"
    )
    file.seek(0)
    reader = RecordingReader(file, "t.rec")
    assert [(block, reader.lost_records) for block in reader.blocks()] == [
        (BATCH, 0),
        (BATCH, 3),
        (BATCH, 3),
    ]


def test_a_trouble_is_told_once_each_time_that_it_comes_or_is_another() -> None:
    source, notes = FakeSource(), io.StringIO()
    troubles = session.Troubles(source, notes)
    for source.trouble in ("", "gone\x1b", "gone\x1b", "dead", "dead", "", "", "dead", "dead"):
        troubles.tell()
    first, *others = notes.getvalue().splitlines()
    assert first.startswith("tcptrace: gone")
    assert first.isprintable()
    assert others == ["tcptrace: dead"] * 2


@pytest.mark.parametrize("is_record", [False, True])
def test_a_trouble_is_told_while_it_traces(is_record: bool) -> None:
    source, notes = FakeSource(BATCH), io.StringIO()
    source.trouble = "the runtime is gone"
    if is_record:
        writer = RecordingWriter(io.BytesIO(), "t.rec", samples.head())
        session.record(source, writer, Limits(), notes, "tracing …")
    else:
        session.run(source, ListPrinter(), Limits(), notes, "tracing …")
    assert notes.getvalue().startswith("tracing …\ntcptrace: the runtime is gone\n")


def test_the_tracing_line_is_one_safe_line() -> None:
    assert session.tracing_line(samples.head()) == (
        "tracing port 8080: 2 hooks, fentry, kernel 6.1.0-28-amd64; Ctrl-C ends"
    )
    assert session.tracing_line(samples.head(what="\x1b[2J\n"), ["\n"]).isprintable()
    told = session.tracing_line(samples.head(), ["no seccomp filter: x", "y"])
    assert "-amd64; no seccomp filter: x; y; Ctrl-C ends" in told
