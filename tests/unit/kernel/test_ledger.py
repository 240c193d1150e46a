"""The collector's view of the table of slots, with a memory file in the BPF map's place."""

from __future__ import annotations

import mmap
import os
import struct
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcptrace.kernel import ledger as module
from tcptrace.kernel.ledger import Census, LedgerMap
from tcptrace.kernel.source import SLOTS
from tcptrace.wire.events import Stage
from tcptrace.wire.ledger import SLOT_SIZE, Slot, decode_slot, encode_slot
from unit.slots import overflow, slot

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PAGES = -(-SLOTS * SLOT_SIZE // mmap.PAGESIZE) * mmap.PAGESIZE


class FakeMaps:
    """The kernel's side: both tables, writable."""

    def __init__(self) -> None:
        self.slots = os.memfd_create("slots")
        self.control = os.memfd_create("control")
        os.ftruncate(self.slots, PAGES)
        os.ftruncate(self.control, mmap.PAGESIZE)
        self.memory = mmap.mmap(self.slots, 0)
        self._words = mmap.mmap(self.control, 0)

    def put(self, number: int, one: Slot) -> None:
        self.memory[number * SLOT_SIZE : (number + 1) * SLOT_SIZE] = encode_slot(one)

    def set_sequence(self, number: int, sequence: int) -> None:
        struct.pack_into("=Q", self.memory, number * SLOT_SIZE, sequence)

    @property
    def epoch(self) -> int:
        return int(struct.unpack_from("=Q", self._words, 0)[0])

    @epoch.setter
    def epoch(self, epoch: int) -> None:
        struct.pack_into("=Q", self._words, 0, epoch)

    @property
    def census(self) -> int:
        return int(struct.unpack_from("=Q", self._words, 8)[0])

    def close(self) -> None:
        self.memory.close()
        self._words.close()
        os.close(self.slots)
        os.close(self.control)


@pytest.fixture
def fake() -> Iterator[FakeMaps]:
    fake = FakeMaps()
    yield fake
    fake.close()


@pytest.fixture
def ledger(fake: FakeMaps) -> Iterator[LedgerMap]:
    ledger = LedgerMap(fake.slots, fake.control)
    yield ledger
    ledger.close()


def test_an_unused_table_has_the_overflow_slot_alone(ledger: LedgerMap) -> None:
    assert ledger.read() == (0, [(0, decode_slot(bytes(SLOT_SIZE)))])


@pytest.mark.parametrize("many", [1, 191, 192, 255, 256, 3000, SLOTS - 1])
def test_every_slot_that_was_ever_used_is_read(
    many: int, fake: FakeMaps, ledger: LedgerMap
) -> None:
    told = {number: slot(port=number, closed_at_ns=number % 2) for number in range(1, many + 1)}
    for number, one in told.items():
        fake.put(number, one)
    fake.put(0, overflow({Stage.OTHER: 3}))
    assert ledger.read()[1] == [(0, overflow({Stage.OTHER: 3})), *told.items()]


def test_more_is_mapped_as_more_are_used(fake: FakeMaps, ledger: LedgerMap) -> None:
    """Also where some of them are still being taken."""
    read = []
    for number in (*range(1, 250), *range(260, 700, 2), SLOTS - 1):
        fake.put(number, slot(port=number))
        read.append(len(ledger.read()[1]) - 1)
    assert read[:-1] == [*range(1, len(read))]
    assert len(ledger._sequences) < SLOTS


def test_no_more_is_resident_than_is_used(ledger: LedgerMap) -> None:
    ledger.read()
    assert len(ledger._slots_map) < 80_000


@given(st.sampled_from([0, 1, 2, 2**31, 2**32 - 2, 2**32 - 1]))
def test_a_reading_begins_a_new_epoch(epoch: int) -> None:
    fake = FakeMaps()
    ledger = LedgerMap(fake.slots, fake.control)
    fake.epoch = epoch
    assert ledger.read()[0] == epoch
    assert fake.epoch == (epoch + 1) % 2**32
    ledger.close()
    fake.close()


def test_the_probes_are_told_what_to_make_of_a_dump(fake: FakeMaps, ledger: LedgerMap) -> None:
    for census in (Census.ALL, Census.LISTENERS, Census.OFF):
        ledger.census(census)
        assert fake.census == census
    assert fake.epoch == 0


def interfering(
    monkeypatch: pytest.MonkeyPatch, meanwhile: Callable[[], None], times: int
) -> list[int]:
    """Has something happen after the first copies of a slot; the overflow slot is not meant.

    Returns:
        An item for each copy.
    """
    copied: list[int] = []

    def copy(view: memoryview) -> bytes:
        raw = bytes(view)
        copied.append(len(raw))
        if 1 < len(copied) <= 1 + times:
            meanwhile()
        return raw

    monkeypatch.setattr(module, "bytes", copy, raising=False)
    return copied


def test_a_slot_that_is_taken_anew_meanwhile_is_read_again(
    fake: FakeMaps, ledger: LedgerMap, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.put(3, slot(port=1))
    anew = slot(port=2, sequence=4)
    copied = interfering(monkeypatch, lambda: fake.put(3, anew), 1)
    assert ledger.read()[1][1:] == [(3, anew)]
    assert len(copied) == 3


def test_a_slot_that_is_being_written_is_waited_for(
    fake: FakeMaps, ledger: LedgerMap, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.put(3, slot(sequence=5))
    steps = iter([7, 7, 7, 8])
    interfering(monkeypatch, lambda: fake.set_sequence(3, next(steps, 8)), 6)
    assert ledger.read()[1][1:] == [(3, slot(sequence=8))]


def test_one_that_stays_half_written_is_left_out_this_time(
    fake: FakeMaps, ledger: LedgerMap
) -> None:
    fake.put(3, slot(port=1, sequence=5))
    fake.put(4, slot(port=2))
    assert ledger.read()[1][1:] == [(4, slot(port=2))]
    fake.set_sequence(3, 6)
    assert ledger.read()[1][1:] == [(3, slot(port=1, sequence=6)), (4, slot(port=2))]


def test_the_slots_can_only_be_read(fake: FakeMaps, ledger: LedgerMap) -> None:
    assert ledger._slots.readonly
    assert not fake.memory.closed


def test_nothing_stays_mapped() -> None:
    fake = FakeMaps()
    ledger = LedgerMap(fake.slots, fake.control)
    ledger.read()
    ledger.close()
    assert ledger._slots_map.closed
    assert ledger._control_map.closed
    fake.close()
