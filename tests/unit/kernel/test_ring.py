"""The reading end of a ring, against a memory file laid out as kernel/bpf/ringbuf.c has it."""

from __future__ import annotations

import mmap
import os
import select
import struct
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcptrace.kernel import ring as ring_module
from tcptrace.kernel.ring import Ring
from tcptrace.wire import columns, framing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tcptrace.wire.framing import Framing

PAGE = mmap.PAGESIZE
DATA = 4 * PAGE
RECORD = 24
HEADER = 8
BUSY, DISCARDED = 1 << 31, 1 << 30


class FakeRing:
    """The kernel's side: consumer page, producer page, then the data twice in a row."""

    def __init__(self) -> None:
        self.descriptor = os.memfd_create("ring")
        os.ftruncate(self.descriptor, 2 * PAGE + 2 * DATA)
        self.memory = mmap.mmap(self.descriptor, 0)

    @property
    def consumed(self) -> int:
        return int(struct.unpack_from("=Q", self.memory, 0)[0])

    @property
    def produced(self) -> int:
        return int(struct.unpack_from("=Q", self.memory, PAGE)[0])

    def start_at(self, position: int) -> None:
        struct.pack_into("=Q", self.memory, 0, position)
        struct.pack_into("=Q", self.memory, PAGE, position)

    def reserve(self, record: bytes) -> int:
        """Puts a record in place, not yet submitted; returns its position."""
        position = self.produced
        assert position + HEADER + RECORD - self.consumed <= DATA, "the ring is full"
        self._write(position, struct.pack("=II", len(record) | BUSY, 0) + record)
        struct.pack_into("=Q", self.memory, PAGE, position + HEADER + RECORD)
        return position

    def submit(self, position: int, *, discarded: bool = False) -> None:
        self._write(position, struct.pack("=I", RECORD | (DISCARDED if discarded else 0)))

    def put(self, record: bytes, *, discarded: bool = False) -> None:
        self.submit(self.reserve(record), discarded=discarded)

    def _write(self, position: int, content: bytes) -> None:
        for offset, byte in enumerate(content):
            at = (position + offset) % DATA
            for copy in (0, DATA):
                self.memory[2 * PAGE + copy + at] = byte

    def close(self) -> None:
        self.memory.close()
        os.close(self.descriptor)


class NoPoll:
    """A memory file can't be waited for."""

    waited = 0

    def register(self, descriptor: int, events: int) -> None: ...

    def poll(self, timeout_s: float) -> None:  # noqa: ARG002 - as select.epoll has it
        NoPoll.waited += 1

    def close(self) -> None: ...


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeRing]:
    monkeypatch.setattr(select, "epoll", NoPoll)
    monkeypatch.setattr(NoPoll, "waited", 0)
    fake = FakeRing()
    yield fake
    fake.close()


@pytest.fixture(params=[framing, columns], ids=["stdlib", "numpy"])
def ring(fake: FakeRing, request: pytest.FixtureRequest) -> Iterator[Ring]:
    ring = Ring(fake.descriptor, DATA, RECORD, request.param)
    yield ring
    ring.close()


def numbered(number: int) -> bytes:
    return bytes([number % 256]) * RECORD


def test_an_empty_ring(fake: FakeRing, ring: Ring) -> None:
    assert ring.read(10) == b""
    assert fake.consumed == 0


def test_a_small_ring_is_filling_as_soon_as_it_has_anything(fake: FakeRing, ring: Ring) -> None:
    assert not ring.is_filling
    fake.put(numbered(1))
    assert ring.is_filling
    ring.read(10)
    assert not ring.is_filling


def test_a_large_ring_is_filling_when_half_of_it_is_taken(fake: FakeRing) -> None:
    os.ftruncate(fake.descriptor, 2 * PAGE + (2 << 20))
    ring = Ring(fake.descriptor, 1 << 20, RECORD)
    room = (1 << 19) // (HEADER + RECORD)
    for taken, is_filling in ((room, False), (room + 1, True)):
        struct.pack_into("=Q", fake.memory, PAGE, taken * (HEADER + RECORD))
        assert ring.is_filling is is_filling
    ring.close()


def test_records_come_end_to_end_without_headers(fake: FakeRing, ring: Ring) -> None:
    for number in range(3):
        fake.put(numbered(number))
    assert ring.read(10) == numbered(0) + numbered(1) + numbered(2)
    assert fake.consumed == fake.produced
    assert ring.read(10) == b""


def test_no_more_than_asked_for(fake: FakeRing, ring: Ring) -> None:
    for number in range(3):
        fake.put(numbered(number))
    assert ring.read(2) == numbered(0) + numbered(1)
    assert ring.read(2) == numbered(2)


def test_a_busy_record_holds_back_those_behind_it(fake: FakeRing, ring: Ring) -> None:
    """Another CPU reserved it first and writes it still."""
    fake.put(numbered(0))
    busy = fake.reserve(numbered(1))
    fake.put(numbered(2))
    assert ring.read(10) == numbered(0)
    assert ring.read(10) == b""
    fake.submit(busy)
    assert ring.read(10) == numbered(1) + numbered(2)


def test_a_discarded_record_is_passed_over(fake: FakeRing, ring: Ring) -> None:
    fake.put(numbered(0), discarded=True)
    fake.put(numbered(1))
    assert ring.read(10) == numbered(1)
    fake.put(numbered(2), discarded=True)
    assert ring.read(10) == b""
    assert fake.consumed == fake.produced


@pytest.mark.parametrize("before_the_end", [HEADER, HEADER + RECORD - 1, HEADER + 8])
def test_a_record_across_the_end_of_the_data(fake: FakeRing, before_the_end: int) -> None:
    fake.start_at(5 * DATA - before_the_end)
    ring = Ring(fake.descriptor, DATA, RECORD)
    for number in range(3):
        fake.put(numbered(number))
    assert ring.read(10) == b"".join(map(numbered, range(3)))
    ring.close()


@given(
    steps=st.lists(st.integers(-200, 200).filter(bool), max_size=40),
    part=st.sampled_from([PAGE, 2 * PAGE, DATA]),
    handling=st.sampled_from([framing, columns]),
)
def test_whatever_is_put_comes_out_once_and_in_order(
    steps: list[int], part: int, handling: Framing
) -> None:
    """Positive: so many records are put; negative: so many are asked for."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ring_module, "_PART_SIZE", part)
        patch.setattr(select, "epoll", NoPoll)
        fake = FakeRing()
        ring = Ring(fake.descriptor, DATA, RECORD, handling)
        put = 0
        taken = b""
        for step in steps:
            for _ in range(step):
                if fake.produced - fake.consumed + HEADER + RECORD <= DATA:
                    fake.put(numbered(put))
                    put += 1
            if step < 0:
                taken += ring.read(-step)
        while more := ring.read(DATA):
            taken += more
        assert taken == b"".join(map(numbered, range(put)))
        ring.close()
        fake.close()


def test_it_waits_only_while_there_is_nothing(fake: FakeRing, ring: Ring) -> None:
    ring.wait(1.0)
    assert NoPoll.waited == 1
    fake.put(numbered(0))
    ring.wait(1.0)
    assert NoPoll.waited == 1
