from __future__ import annotations

import io
import signal
from typing import TYPE_CHECKING

import pytest

from tcptrace import session
from tcptrace.errors import BadRecording, OutputFailed
from tcptrace.lifecycle.counts import StateCounts
from tcptrace.lifecycle.registry import Registry
from tcptrace.recorder import record
from tcptrace.sinks.recording import RecordingWriter
from tcptrace.stopping import Limits
from unit import samples
from unit.sources import BATCH, FakeSource, close_and_interrupt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tcptrace.lifecycle.connection import Connection, Listener
    from tcptrace.wire.decode import Stacked
    from tcptrace.wire.events import Record


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
        self.registry = Registry(on_closed, on_ended)
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


def test_one_at_the_end_spares_the_summary(monkeypatch: pytest.MonkeyPatch) -> None:
    source = FakeSource(BATCH)
    monkeypatch.setattr(source, "close", close_and_interrupt(source))
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


@pytest.mark.parametrize("is_record", [False, True])
def test_a_trouble_is_told_while_it_traces(is_record: bool) -> None:
    source, notes = FakeSource(BATCH), io.StringIO()
    source.trouble = "the runtime is gone"
    if is_record:
        writer = RecordingWriter(io.BytesIO(), "t.rec", samples.head())
        record(source, writer, Limits(), notes, "tracing …")
    else:
        session.run(source, ListPrinter(), Limits(), notes, "tracing …")
    assert notes.getvalue().startswith("tracing …\ntcptrace: the runtime is gone\n")
