from __future__ import annotations

import io

import pytest

from tcptrace.errors import BadRecording
from tcptrace.replay import AT_ONCE, ReplaySource, replaying_line
from tcptrace.sinks.recording import RecordingReader, RecordingWriter
from tcptrace.wire.decode import decode_batch
from tcptrace.wire.head import Losses
from tcptrace.wire.ledger import LedgerReading
from unit import samples, slots

TIMES = (
    samples.START + 5 * samples.S,
    samples.START + 6 * samples.S,
    samples.START + 7 * samples.S,
)


def recording(*, ended: bool = True) -> bytes:
    file = io.BytesIO()
    writer = RecordingWriter(file, "t.rec", samples.head())
    writer.write(samples.batch(*map(samples.record, TIMES)))
    if ended:
        writer.finish(Losses(1, {}, ()), samples.START + 60 * samples.S)
    return file.getvalue()


class Clock:
    """Real time that passes only in sleep."""

    def __init__(self) -> None:
        self.ns = 77
        self.slept: list[float] = []

    def __call__(self) -> int:
        return self.ns

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.ns += int(seconds * 1e9)


def source_of(data: bytes, speed: float, clock: Clock) -> ReplaySource:
    return ReplaySource(RecordingReader(io.BytesIO(data), "t.rec"), speed, clock, clock.sleep)


def times(batch: bytes | None) -> list[int]:
    assert batch is not None
    return [record.at_ns for record in decode_batch(batch)]


def test_at_once_never_waits() -> None:
    clock = Clock()
    source = source_of(recording(), AT_ONCE, clock)
    assert times(source.read(1)) == list(TIMES)
    assert source.now_ns() == TIMES[-1]
    assert source.read(1) is None
    assert not clock.slept
    assert source.losses().lost_records == 1
    assert source.now_ns() == samples.START + 60 * samples.S


@pytest.mark.parametrize("speed", [0.5, 1, 10])
def test_records_come_when_they_are_due(speed: float) -> None:
    clock = Clock()
    source = source_of(recording(), speed, clock)
    came: list[tuple[float, int]] = []
    while (batch := source.read(0.05)) is not None:
        came += [((clock.ns - 77) / 1e9, at) for at in times(batch)]
    assert [at for _, at in came] == list(TIMES)
    assert [after for after, _ in came] == pytest.approx([0, 1 / speed, 2 / speed], abs=0.06)
    assert max(clock.slept) <= 0.05


def test_the_clock_moves_while_nothing_is_due() -> None:
    clock = Clock()
    source = source_of(recording(), 1, clock)
    source.read(0.05)
    assert source.read(0.05) == b""
    assert source.now_ns() == pytest.approx(TIMES[0] + 50 * samples.MS, abs=1000)


@pytest.mark.parametrize("speed", [1, AT_ONCE])
def test_readings_and_losses_come_when_they_are_due(speed: float) -> None:
    file = io.BytesIO()
    writer = RecordingWriter(file, "t.rec", samples.head())
    readings = [LedgerReading(at, number, [], ()) for number, at in enumerate(TIMES)]
    writer.write_ledger(readings[0])
    writer.write_ledger(readings[1])
    writer.write_lost(7)
    writer.write(samples.batch(samples.record(TIMES[2])))
    clock = Clock()
    source = source_of(file.getvalue(), speed, clock)
    told = []
    while (batch := source.read(0.05)) is not None:
        told.append((source.now_ns(), source.ledger_reading(), source.lost_records(), batch))
    assert {reading.at_ns for _, reading, _, _ in told if reading} == {*TIMES[:2]}
    assert all(reading.at_ns <= now_ns for now_ns, reading, _, _ in told if reading)
    assert [lost for _, _, lost, batch in told if batch] == [7]
    assert told[0][2] == 0
    waited = (TIMES[2] - TIMES[0]) / 1e9 if speed == 1 else 0
    assert sum(clock.slept) == pytest.approx(waited, abs=0.06)


@pytest.mark.parametrize("speed", [1, AT_ONCE])
def test_names_that_only_a_reading_has_are_known(speed: float) -> None:
    file = io.BytesIO()
    writer = RecordingWriter(file, "t.rec", samples.head())
    for at_ns, name in zip(TIMES, ("blue", "", "red"), strict=False):
        writer.write_ledger(LedgerReading(at_ns, 0, [], (slots.figures(name=name),)))
    source = source_of(file.getvalue(), speed, Clock())
    told = []
    while source.read(0.05) is not None:
        told.append(source.names.namespaces.get(slots.NETNS))
    assert list(dict.fromkeys(told)) in (["blue", "red"], [None, "blue", "red"])


def test_a_cut_recording_ends_where_it_was_cut() -> None:
    source = source_of(recording(ended=False), AT_ONCE, Clock())
    source.read(0)
    assert not source.trouble
    assert source.read(0) is None
    assert "the recording has no end" in source.trouble
    assert "(3 records)" in source.trouble
    assert source.now_ns() == TIMES[-1]
    assert source.losses() == Losses(0, {}, ())


def test_damage_comes_after_what_was_good() -> None:
    source = source_of(recording(ended=False) + b"x" * 100, AT_ONCE, Clock())
    assert len(times(source.read(0))) == 3
    with pytest.raises(BadRecording):
        source.read(0)


def test_lines_for_people() -> None:
    reader = RecordingReader(io.BytesIO(recording()), "t.rec")
    assert replaying_line(reader, "t.rec").startswith("replaying t.rec: port 8080, recorded 2025-")
