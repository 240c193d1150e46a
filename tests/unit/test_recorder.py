from __future__ import annotations

import io
from typing import TYPE_CHECKING

from tcptrace.recorder import record
from tcptrace.sinks.recording import RecordingReader, RecordingWriter
from tcptrace.stopping import Limits
from tcptrace.wire.events import Kind
from tcptrace.wire.ledger import LedgerReading
from unit import samples
from unit.sources import BATCH, FakeSource, close_and_interrupt

if TYPE_CHECKING:
    import pytest


def test_record_writes_all_and_says_how_much() -> None:
    file, notes = io.BytesIO(), io.StringIO()
    source = FakeSource(BATCH, b"", BATCH)
    writer = RecordingWriter(file, "t.rec", samples.head())
    record(source, writer, Limits(), notes, "tracing …")
    assert source.closed
    assert notes.getvalue().endswith("kB in 4.00s; 0 lost\n")
    assert "recorded 4 records, " in notes.getvalue()
    file.seek(0)
    reader = RecordingReader(file, "t.rec")
    assert b"".join(reader.blocks()) == BATCH * 2
    assert not reader.cut


def test_a_signal_at_the_end_spares_the_last_line(monkeypatch: pytest.MonkeyPatch) -> None:
    source, notes = FakeSource(BATCH), io.StringIO()
    monkeypatch.setattr(source, "close", close_and_interrupt(source))
    writer = RecordingWriter(io.BytesIO(), "t.rec", samples.head())
    record(source, writer, Limits(), notes, "tracing …")
    assert "recorded 2 records, " in notes.getvalue()


def test_record_begins_with_the_ledger_and_a_snapshot() -> None:
    found = [samples.batch(samples.record(samples.START + at, Kind.SEEN)) for at in (1, 2)]
    readings = [LedgerReading(samples.START + at * samples.S, at, [], ()) for at in range(3)]
    source = FakeSource(BATCH)
    source.found, source.readings = list(found), list(readings)
    file = io.BytesIO()
    writer = RecordingWriter(file, "t.rec", samples.head())
    record(source, writer, Limits(), io.StringIO(), "tracing …")
    file.seek(0)
    reader = RecordingReader(file, "t.rec")
    told = [block or reader.reading for block in reader.blocks()]
    assert told == [readings[0], *found, BATCH, readings[1], readings[2]]


def test_record_says_before_a_batch_that_records_were_lost() -> None:
    source = FakeSource(BATCH, BATCH, BATCH)
    source.lost = [0, 3, 3]
    file = io.BytesIO()
    record(
        source, RecordingWriter(file, "t.rec", samples.head()), Limits(), io.StringIO(), "tracing …"
    )
    file.seek(0)
    reader = RecordingReader(file, "t.rec")
    assert [(block, reader.lost_records) for block in reader.blocks()] == [
        (BATCH, 0),
        (BATCH, 3),
        (BATCH, 3),
    ]
