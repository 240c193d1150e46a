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
from tcptrace.lifecycle.names import Names, PodNames
from tcptrace.sinks.recording import RecordingReader, RecordingWriter
from tcptrace.sinks.recording.head import head_json
from tcptrace.sinks.recording.layout import FRONT, MAGIC, MAX_PAYLOAD, START
from tcptrace.sinks.recording.ledger import LedgerEncoder
from tcptrace.wire.decode import decode_batch, decode_stacked
from tcptrace.wire.events import STACK_DEPTH, Stage
from tcptrace.wire.head import Losses
from tcptrace.wire.layout import RECORD_SIZE
from tcptrace.wire.ledger import encode_slot
from unit import samples, slots

if TYPE_CHECKING:
    from pathlib import Path

    from tcptrace.wire.ledger import LedgerReading

LOSSES = Losses(3, {"tcp_set_state": 2}, ("tcp_fin",))
END_NS = samples.START + 9 * samples.S
BATCHES = [
    samples.batch(*(samples.record(samples.START + at) for at in range(first, first + 5)))
    for first in (0, 5, 10)
]
READINGS = [
    slots.reading(
        at_s,
        {1: slots.slot(counts={Stage.OTHER: at_s}, cgroup=9), 2: slots.slot("::1", 443, pid=0)},
        namespaces=(slots.figures({"ListenDrops": at_s}, name="blue\x1b[2J"),),
        owners={12345: (77, b"h\xffllo")},
        cgroups={9: "/system.slice/ünder.service"},
    )
    for at_s in (1, 2)
]
FUZZED = 2000
"""Inputs of each kind of damage (a quarter for JSON); the exhaustive tests add about 5,000."""


def write_first(writer: RecordingWriter) -> None:
    """All but the last batch."""
    writer.write_ledger(READINGS[0])
    writer.write(BATCHES[0])
    writer.write_lost(3)
    writer.write(BATCHES[1])
    writer.write_ledger(READINGS[1])


def written(*, ended: bool = True) -> bytes:
    file = io.BytesIO()
    writer = RecordingWriter(file, "t.rec", samples.head())
    write_first(writer)
    writer.write(BATCHES[2])
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
    assert reader.reading == READINGS[1]
    assert reader.lost_records == 3
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
            assert reader.reading in (None, *READINGS)
        else:
            assert reader is None, "only a cut within the head is an error"


def test_every_flipped_bit_is_noticed_and_spoils_nothing_before_it() -> None:
    for place in range(len(WHOLE)):
        damaged = bytearray(WHOLE)
        damaged[place] ^= 1 << place % 8
        got, reader, error = read(bytes(damaged))
        assert isinstance(error, BadRecording)
        assert RECORDS.startswith(got)
        assert reader is None or reader.reading in (None, *READINGS)


@settings(max_examples=FUZZED)
@given(st.binary(max_size=400))
def test_random_bytes_are_no_recording(data: bytes) -> None:
    got, reader, error = read(data)
    assert (got, reader) == (b"", None)
    assert isinstance(error, BadRecording)


@settings(max_examples=FUZZED)
@given(st.binary(max_size=400))
@example(FRONT.pack(b"RECS", 2**32 - 1, 0))
def test_random_bytes_behind_good_blocks(data: bytes) -> None:
    got, reader, _ = read(written(ended=False) + data)
    assert got == RECORDS
    assert reader is not None


@settings(max_examples=FUZZED)
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


@settings(max_examples=FUZZED // 4)
@given(
    st.sampled_from([b"HEAD", b"SYMS", b"DONE", b"LDGR"]),
    JSON,
    st.sampled_from(samples.head()._fields),
)
def test_json_of_any_shape(tag: bytes, value: object, field: str) -> None:
    front = LEDGER_FRONT.pack(1, 1, 1, 0) if tag == b"LDGR" else b""
    read(written(ended=False) + block(tag, front + json.dumps(value).encode()))
    head = {**samples.head()._asdict(), field: value}
    read(START.pack(MAGIC, 1) + block(b"HEAD", json.dumps(head, default=str).encode()))


def test_json_nested_too_deep() -> None:
    for tag in (b"HEAD", b"SYMS", b"DONE"):
        _, _, error = read(START.pack(MAGIC, 1) + block(tag, b"[" * 200_000))
        assert isinstance(error, BadRecording)
    deep = LEDGER_FRONT.pack(1, 1, 1, 0) + b"[" * 200_000
    _, _, error = read(written(ended=False) + block(b"LDGR", deep))
    assert isinstance(error, BadRecording)


LEDGER_FRONT = struct.Struct("<QQII")
HOSTILE = {
    "netns": JSON,
    "name": JSON,
    "ephemeral_ports": JSON,
    "tw_reuse": JSON,
    "before": JSON | st.lists(st.integers(), min_size=7, max_size=7),
    "after": JSON | st.lists(st.integers(), min_size=7, max_size=7),
}


@settings(max_examples=FUZZED // 4)
@given(
    st.fixed_dictionaries(
        {},
        optional={
            "namespaces": JSON | st.lists(st.fixed_dictionaries(HOSTILE), max_size=2),
            "owners": JSON | st.lists(st.tuples(JSON, JSON, JSON), max_size=2),
            "cgroups": JSON | st.lists(st.tuples(JSON, JSON), max_size=2),
        },
    ),
    st.integers(0, 3),
)
@example({"owners": [[1, 2, "zz"]]}, 1)
@example({"owners": [[True, 2, "aa"]]}, 1)
@example({"cgroups": [[-1, "/"]]}, 1)
@example({"namespaces": [{**slots.figures()._asdict(), "before": [0] * 6}]}, 1)
@example({"namespaces": [{**slots.figures()._asdict(), "netns": 1e300}]}, 1)
def test_a_ledger_of_any_words(words: object, is_last: int) -> None:
    """What is taken has the types that it must have; all else is damage."""
    payload = LEDGER_FRONT.pack(5, 6, is_last, 0) + json.dumps(words).encode()
    got, reader, error = read(written(ended=False) + block(b"LDGR", payload))
    assert got == RECORDS
    assert reader is not None
    reading = reader.reading
    assert reading is not None
    assert reading == READINGS[1] or (error is None and reading.at_ns == 5)
    for inode, (pid, comm) in reading.owners.items():
        assert (type(inode), type(pid), type(comm)) == (int, int, bytes)
    for cgroup, path in reading.cgroups.items():
        assert (type(cgroup), type(path)) == (int, str)
    for figures in reading.namespaces:
        assert type(figures.netns) is type(figures.ephemeral_ports) is int
        assert figures.tw_reuse is None or type(figures.tw_reuse) is int
        assert {type(value) for value in (*figures.before, *figures.after)} == {int}
        assert len(figures.before) == len(figures.after) == 7


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (b"", "broken ledger"),
        (LEDGER_FRONT.pack(1, 1, 2, 0), "broken ledger"),
        (LEDGER_FRONT.pack(1, 1, 0, 1), "broken ledger"),
        (LEDGER_FRONT.pack(1, 1, 0, 2**32 - 1) + bytes(500), "broken ledger"),
        (LEDGER_FRONT.pack(1, 1, 1, 0), "broken JSON"),
        (LEDGER_FRONT.pack(1, 1, 0, 0) + b"x", "broken JSON"),
        (
            LEDGER_FRONT.pack(1, 1, 0, 1) + struct.pack("<Q", 1 << 16) + encode_slot(slots.slot()),
            "a slot that there can't be",
        ),
    ],
)
def test_a_broken_ledger_is_named(payload: bytes, message: str) -> None:
    got, _, error = read(written(ended=False) + block(b"LDGR", payload))
    assert got == RECORDS
    assert message in str(error)


def ledger_blocks(*readings: LedgerReading) -> tuple[list[bytes], list[LedgerReading]]:
    """The blocks of a recording of these alone, and what is read from them."""
    file = io.BytesIO()
    writer = RecordingWriter(file, "t.rec", samples.head())
    sizes = []
    for one in readings:
        writer.write_ledger(one)
        sizes.append(len(file.getvalue()))
    reader = RecordingReader(io.BytesIO(file.getvalue()), "t.rec")
    told = [reader.reading for block in reader.blocks() if block == b""]
    assert None not in told
    encoder = LedgerEncoder()
    return [payload for one in readings for payload in encoder.blocks(one)], [
        one for one in told if one is not None
    ]


def test_readings_come_back_one_by_one() -> None:
    _, told = ledger_blocks(*READINGS)
    assert told == READINGS


def test_only_what_changed_is_written() -> None:
    many = {number: slots.slot(port=number) for number in range(1, 100)}
    first = slots.reading(1, many, namespaces=(slots.figures(),))
    same = slots.reading(2, many, namespaces=(slots.figures(),))
    other = slots.reading(
        3, {**many, 50: slots.slot(port=50, accept_queue_len=1)}, namespaces=(slots.figures(),)
    )
    blocks, told = ledger_blocks(first, same, other)
    assert told == [first, same, other]
    slots_written = [LEDGER_FRONT.unpack_from(block)[3] for block in blocks]
    assert [count for count in slots_written if count] == [100, 1]


def test_owners_are_written_once_and_again_when_they_change() -> None:
    owned = [
        slots.reading(1, owners={1: (2, b"a")}),
        slots.reading(2, owners={1: (2, b"a")}),
        slots.reading(3, owners={1: (2, b"b"), 2: (2, b"c")}),
    ]
    blocks, told = ledger_blocks(*owned)
    assert told == owned
    words = b"".join(blocks)
    assert words.count(b'"61"') == words.count(b'"62"') == words.count(b'"63"') == 1


def test_a_path_is_written_once_whether_a_record_or_a_reading_names_it_first() -> None:
    names = Names()
    of = {1: slots.slot(cgroup=3), 2: slots.slot(port=81, cgroup=4)}
    file = io.BytesIO()
    writer = RecordingWriter(file, "t.rec", samples.head())
    names.cgroups.learn(3, "/first-by-a-record")
    writer.write_names(names)
    names.cgroups.learn(4, "/first-by-a-reading")
    paths = dict(names.cgroups)
    for at_s in (1, 2):
        writer.write_ledger(slots.reading(at_s, of, cgroups=paths))
        writer.write_names(names)
    for path in paths.values():
        assert file.getvalue().count(path.encode()) == 1
    reader = RecordingReader(io.BytesIO(file.getvalue()), "t.rec")
    assert [reader.reading.cgroups for _ in reader.blocks() if reader.reading] == [paths] * 2
    assert reader.names.cgroups == paths


def test_paths_in_the_readings_of_an_older_recording_are_read() -> None:
    one = slots.slot(cgroup=9)
    front = LEDGER_FRONT.pack(5, 6, 0, 1) + struct.pack("<Q", 1) + encode_slot(one)
    words = json.dumps({"cgroups": [[9, "/old"]], "namespaces": []}).encode()
    older = block(b"LDGR", front) + block(b"LDGR", LEDGER_FRONT.pack(5, 6, 1, 0) + words)
    _, reader, error = read(written(ended=False) + older)
    assert error is None
    assert reader is not None
    assert reader.reading is not None
    assert reader.reading.cgroups == {9: "/old"}
    assert reader.names.cgroups[9] == "/old"


def test_no_block_is_too_large_whatever_there_is() -> None:
    """As many listeners and namespaces as can be, with the longest names."""
    long = "/" + "\U0001f984" * 5000
    huge = slots.reading(
        1,
        {number: slots.slot(port=number, cgroup=number % 300) for number in range(1, 8192)},
        namespaces=tuple(
            slots.figures({"ListenDrops": 2**64 - 1}, netns=number, name="\x01" * 255)
            for number in range(1024)
        ),
        owners=dict.fromkeys(range(8192), (2**32 - 1, b"\xff" * 16)),
        cgroups=dict.fromkeys(range(300), long),
    )
    blocks, (told,) = ledger_blocks(huge)
    assert max(map(len, blocks)) <= MAX_PAYLOAD
    assert sum(LEDGER_FRONT.unpack_from(block)[2] for block in blocks) == 1
    assert told == huge._replace(cgroups=dict.fromkeys(range(300), long[:1024]))


def test_a_reading_that_was_cut_off_is_none() -> None:
    payloads = list(LedgerEncoder().blocks(READINGS[0]))
    assert len(payloads) > 1
    cut = b"".join(block(b"LDGR", payload) for payload in payloads[:-1])
    _, reader, error = read(START.pack(MAGIC, 1) + block(b"HEAD", head_json(samples.head())) + cut)
    assert error is None
    assert reader is not None
    assert reader.reading is None


def test_a_recording_without_a_ledger_is_read_as_ever() -> None:
    file = io.BytesIO()
    writer = RecordingWriter(file, "t.rec", samples.head())
    for batch in BATCHES:
        writer.write(batch)
    writer.finish(LOSSES, END_NS)
    got, reader, error = read(file.getvalue())
    assert (got, error) == (RECORDS, None)
    assert reader is not None
    assert reader.reading is None


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
    write_first(writer)
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


def test_names_are_written_once_and_come_before_what_follows() -> None:
    names = Names(own_netns=11)
    names.cgroups.learn(7, "/ünder\x1b")
    names.containers.learn("0f", PodNames("nginx", "web-0", "shop"))
    file = io.BytesIO()
    writer = RecordingWriter(file, "x", samples.head())
    writer.write_names(names)
    size = writer.size
    writer.write_names(names)
    assert writer.size == size
    names.namespaces.learn(12, "blue")
    for number in range(100, 300):
        names.cgroups.learn(number, "/" + "\x1b" * 2000)
    writer.write_names(names)
    writer.finish(samples.NO_LOSSES, samples.START)
    reader = RecordingReader(io.BytesIO(file.getvalue()), "x")
    assert list(reader.blocks()) == []
    told = reader.names
    assert (told.own_netns, told.namespaces, told.containers) == (
        11,
        {12: "blue"},
        {"0f": PodNames("nginx", "web-0", "shop")},
    )
    assert told.cgroups[7] == "/ünder\x1b"
    assert len(told.cgroups) == 201
    assert len(told.cgroups[299]) == 1024


def test_a_namespace_that_lost_its_name_has_none_in_a_recording() -> None:
    names = Names()
    names.namespaces.learn(12, "blue")
    names.namespaces.learn(13, "red")
    file = io.BytesIO()
    writer = RecordingWriter(file, "x", samples.head())
    writer.write_names(names)
    names.namespaces.forget(12)
    writer.write_names(names)
    size = writer.size
    writer.write_names(names)
    assert writer.size == size
    reader = RecordingReader(io.BytesIO(file.getvalue()), "x")
    assert list(reader.blocks()) == []
    assert reader.names.namespaces == {13: "red"}
    names.namespaces.learn(12, "blue")
    writer.write_names(names)
    reader = RecordingReader(io.BytesIO(file.getvalue()), "x")
    assert list(reader.blocks()) == []
    assert reader.names.namespaces == {12: "blue", 13: "red"}


@settings(max_examples=FUZZED // 4)
@given(
    JSON
    | st.fixed_dictionaries(
        {},
        optional={
            "own_netns": JSON,
            "cgroups": JSON | st.lists(st.tuples(JSON, JSON), max_size=2),
            "namespaces": JSON | st.lists(st.tuples(JSON, JSON), max_size=2),
            "containers": JSON | st.lists(st.tuples(JSON, JSON, JSON, JSON), max_size=2),
        },
    ),
)
@example({"own_netns": True})
@example({"cgroups": [[-1, "/"]]})
@example({"containers": [[]]})
@example({"namespaces": {"ab": 1}})
def test_names_of_any_words(words: object) -> None:
    payload = json.dumps(words).encode()
    got, reader, _ = read(written(ended=False) + block(b"NAME", payload))
    assert got == RECORDS
    assert reader is not None
    names = reader.names
    assert {type(key) for key in (*names.cgroups, *names.namespaces, names.own_netns)} == {int}
    assert {type(key) for key in names.containers} <= {str}
    for name in (*names.cgroups.values(), *names.namespaces.values()):
        assert type(name) is str
    for pod in names.containers.values():
        assert [type(name) for name in pod] == [str, str, str]
