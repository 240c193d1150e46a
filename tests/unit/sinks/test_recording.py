from __future__ import annotations

import io
import json
import struct
import tracemalloc
import zlib
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tcptrace.errors import BadRecording, OutputFailed
from tcptrace.sinks.recording import RecordingReader, RecordingWriter
from tcptrace.sinks.recording.layout import FRONT, MAGIC, MAX_PAYLOAD, START
from tcptrace.wire.decode import decode_batch, decode_stacked
from tcptrace.wire.events import STACK_DEPTH
from tcptrace.wire.head import Losses
from tcptrace.wire.layout import RECORD_SIZE
from unit import samples

if TYPE_CHECKING:
    from pathlib import Path

LOSSES = Losses(3, {"tcp_set_state": 2}, ("tcp_fin",))
END_NS = samples.START + 9 * samples.S
BATCHES = [
    samples.batch(*(samples.record(samples.START + at) for at in range(first, first + 5)))
    for first in (0, 5, 10)
]
FUZZED = 2000
"""Inputs of each kind of damage (a quarter for JSON); the exhaustive tests add about 5,000."""


def written(*, ended: bool = True) -> bytes:
    file = io.BytesIO()
    writer = RecordingWriter(file, "t.rec", samples.head())
    for batch in BATCHES:
        writer.write(batch)
    if ended:
        writer.finish(LOSSES, END_NS)
    assert writer.size == len(file.getvalue())
    return file.getvalue()


WHOLE = written()
RECORDS = b"".join(BATCHES)


def read(data: bytes) -> tuple[bytes, RecordingReader | None, BadRecording | None]:
    """Reads as far as it goes: the records, the reader, and the error that stopped it."""
    got = b""
    reader = None
    try:
        reader = RecordingReader(io.BytesIO(data), "t.rec")
        for block in reader.blocks():
            got += block
    except BadRecording as error:
        return got, reader, error
    return got, reader, None


def test_what_was_written_is_read() -> None:
    got, reader, error = read(WHOLE)
    assert (got, error) == (RECORDS, None)
    assert reader is not None
    assert reader.head == samples.head()
    assert reader.ending is not None
    assert reader.ending.losses == LOSSES
    assert reader.ending.ended_monotonic_ns == END_NS
    assert not reader.cut
    assert [record.at_ns for record in decode_batch(got)] == [
        samples.START + at for at in range(15)
    ]


def test_a_writer_that_was_killed_leaves_everything_whole_readable() -> None:
    got, reader, error = read(written(ended=False))
    assert (got, error) == (RECORDS, None)
    assert reader is not None
    assert reader.cut
    assert reader.ending is None


def test_every_truncation_replays_what_is_whole() -> None:
    for length in range(len(WHOLE)):
        got, reader, error = read(WHOLE[:length])
        assert RECORDS.startswith(got)
        if error is None:
            assert reader is not None
            assert reader.cut
        else:
            assert reader is None, "only a cut within the head is an error"


def test_every_flipped_bit_is_noticed_and_spoils_nothing_before_it() -> None:
    for place in range(len(WHOLE)):
        damaged = bytearray(WHOLE)
        damaged[place] ^= 1 << place % 8
        got, _, error = read(bytes(damaged))
        assert isinstance(error, BadRecording)
        assert RECORDS.startswith(got)


@settings(max_examples=FUZZED, deadline=None)
@given(st.binary(max_size=400))
def test_random_bytes_are_no_recording(data: bytes) -> None:
    got, reader, error = read(data)
    assert (got, reader) == (b"", None)
    assert isinstance(error, BadRecording)


@settings(max_examples=FUZZED, deadline=None)
@given(st.binary(max_size=400))
@example(FRONT.pack(b"RECS", 2**32 - 1, 0))
def test_random_bytes_behind_good_blocks(data: bytes) -> None:
    got, reader, _ = read(written(ended=False) + data)
    assert got == RECORDS
    assert reader is not None


@settings(max_examples=FUZZED, deadline=None)
@given(
    st.sampled_from([b"HEAD", b"RECS", b"SYMS", b"LDGR", b"LOST", b"DONE", b"????"]),
    st.binary(max_size=300),
)
def test_well_formed_blocks_of_anything(tag: bytes, payload: bytes) -> None:
    got, _, _ = read(written(ended=False) + block(tag, payload))
    assert got[: len(RECORDS)] == RECORDS


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)


@settings(max_examples=FUZZED // 4, deadline=None)
@given(st.sampled_from([b"HEAD", b"SYMS", b"DONE"]), JSON, st.sampled_from(samples.head()._fields))
def test_json_of_any_shape(tag: bytes, value: object, field: str) -> None:
    read(written(ended=False) + block(tag, json.dumps(value).encode()))
    head = {**samples.head()._asdict(), field: value}
    read(START.pack(MAGIC, 1) + block(b"HEAD", json.dumps(head, default=str).encode()))


def test_json_nested_too_deep() -> None:
    for tag in (b"HEAD", b"SYMS", b"DONE"):
        _, _, error = read(START.pack(MAGIC, 1) + block(tag, b"[" * 200_000))
        assert isinstance(error, BadRecording)


def block(tag: bytes, payload: bytes) -> bytes:
    front = FRONT.pack(tag, len(payload), zlib.crc32(payload))
    return front + struct.pack("<I", zlib.crc32(front)) + payload


def test_a_length_is_never_taken_at_its_word() -> None:
    front = FRONT.pack(b"RECS", 2**32 - 1, 0)
    data = written(ended=False) + front + struct.pack("<I", zlib.crc32(front)) + bytes(1000)
    tracemalloc.start()
    try:
        got, _, error = read(data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert got == RECORDS
    assert error is not None
    assert "unknown kind or size" in str(error)
    assert peak < 2 * MAX_PAYLOAD


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not a recording"),
        (b"\x7fELF" + bytes(100), "not a recording"),
        (b"\xd4\xc3\xb2\xa1\x02\x00\x04\x00" + bytes(100), "not a recording"),
        (MAGIC[:5], "cut within its head"),
        (START.pack(MAGIC, 2), "format version 2"),
        (START.pack(MAGIC, 1), "cut within its head"),
        (WHOLE + b"x", "something follows"),
    ],
)
def test_messages(data: bytes, message: str) -> None:
    _, _, error = read(data)
    assert message in str(error)
    assert "\n" not in str(error)


def test_another_wire_version_is_named() -> None:
    file = io.BytesIO()
    RecordingWriter(file, "t.rec", samples.head()._replace(wire_version=99))
    _, _, error = read(file.getvalue())
    assert "version 99" in str(error)


@pytest.mark.parametrize("field", ["kind", "stage", "old_state", "new_state"])
def test_a_record_that_no_probe_writes_is_damage(field: str) -> None:
    file = io.BytesIO()
    writer = RecordingWriter(file, "t.rec", samples.head())
    values: dict[str, Any] = {field: 200}
    writer.write(samples.batch(samples.record()._replace(**values)))
    got, _, error = read(file.getvalue())
    assert got == b""
    assert f"unknown {field} 200" in str(error)


def test_batches_larger_than_a_block_are_split() -> None:
    file = io.BytesIO()
    writer = RecordingWriter(file, "t.rec", samples.head())
    many = samples.batch(samples.record()) * (3 * MAX_PAYLOAD // RECORD_SIZE)
    writer.write(many)
    got, _, error = read(file.getvalue())
    assert (got, error) == (many, None)


def test_stacks_take_their_names_along() -> None:
    file = io.BytesIO()
    names = {1: "tcp_set_state", 2: "tcp_finish_connect"}
    writer = RecordingWriter(file, "t.rec", samples.head(stacks=True), names.get)
    one = samples.batch(samples.record()) + struct.pack(
        f"<{STACK_DEPTH}Q", 1, 2, 3, *[0] * (STACK_DEPTH - 3)
    )
    writer.write(one * 3)
    writer.write(one)
    writer.finish(samples.NO_LOSSES, END_NS)
    got, reader, error = read(file.getvalue())
    assert error is None
    assert reader is not None
    assert reader.symbols == names
    assert [pair.stack for pair in decode_stacked(got)] == [(1, 2, 3)] * 4
    assert file.getvalue().count(b"tcp_finish_connect") == 1


class FullDisk(io.BytesIO):
    """A disk with little room, that writes what fits, as a file system does."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self._room = room

    def write(self, data: object) -> int:
        view = memoryview(cast("bytes", data))
        part = view[: self._room - self.tell()]
        if not part:
            raise OSError(28, "No space left on device")
        return super().write(part)


def test_a_full_disk_keeps_what_had_been_written() -> None:
    disk = FullDisk(len(written(ended=False)) - 10)
    writer = RecordingWriter(disk, "t.rec", samples.head())
    writer.write(BATCHES[0])
    writer.write(BATCHES[1])
    with pytest.raises(OutputFailed, match="No space left on device; its first 10 records stay"):
        writer.write(BATCHES[2])
    got, reader, error = read(disk.getvalue())
    assert (got, error) == (b"".join(BATCHES[:2]), None)
    assert reader is not None
    assert reader.cut


def test_dev_full(tmp_path: Path) -> None:
    link = tmp_path / "full"
    link.symlink_to("/dev/full")
    with link.open("wb", buffering=0) as file, pytest.raises(OutputFailed):
        RecordingWriter(cast("BinaryIO", file), "full", samples.head())
