"""Reads the ledger's table of slots through plain mappings: no bcc, no privilege.

The probes write while this reads. A slot's identity is written between two steps of its sequence:
an odd one, or one that changes in between, is read again, and left out if that doesn't end: its
probe's CPU has been taken away. Each count is one aligned word.

The kernel has every page of a table's mapping resident at once, so only the part is mapped that is
in use: slots are taken in their order, and again only once each has been used.
"""

from __future__ import annotations

import mmap
from enum import IntEnum
from typing import TYPE_CHECKING, Final

from tcptrace.kernel.source import SLOTS
from tcptrace.wire.ledger import OVERFLOW_SLOT, SLOT_SIZE, decode_slot

if TYPE_CHECKING:
    from tcptrace.wire.ledger import Slot

_CONTROL_EPOCH: Final = 0
_CONTROL_CENSUS: Final = 1
CONTROL_MIGRATION: Final = 2
"""The loader's: whether every hook of migrations has attached."""
_TRIES: Final = 100
_FIRST_PART: Final = 256
"""Slots that are mapped from the beginning."""
_MARGIN: Final = 64
"""Slots: one of the last that are mapped is used before any beyond them, or at least being taken,
by another CPU."""


class Census(IntEnum):
    """What the probes tell of the sockets that a sock_diag dump comes across."""

    OFF = 0
    LISTENERS = 1
    """Measure listeners."""
    ALL = 2
    """Also send a record of each socket."""


class LedgerMap:
    """The collector's view of the ledger.

    Args:
        slots: descriptor of the table of slots.
        control: descriptor of the table by which the collector tells the probes what it wants.
    """

    def __init__(self, slots: int, control: int) -> None:
        self._descriptor = slots
        self._control_map = mmap.mmap(control, mmap.PAGESIZE, mmap.MAP_SHARED)
        self._control = memoryview(self._control_map).cast("Q")
        self._map_slots(_FIRST_PART)

    def census(self, census: Census) -> None:
        """Tells the probes what to make of sock_diag dumps from now on."""
        self._control[_CONTROL_CENSUS] = census

    def read(self) -> tuple[int, list[tuple[int, Slot]]]:
        """Reads every slot that was ever used, and begins a new epoch of peaks.

        Returns:
            The epoch that has just ended, whose peaks are now complete; and the number and the
            content of each slot that is not being written, the overflow slot first.
        """
        epoch = self._control[_CONTROL_EPOCH]
        self._control[_CONTROL_EPOCH] = (epoch + 1) & 0xFFFFFFFF
        while len(self._sequences) < SLOTS and any(self._sequences[-_MARGIN:]):
            many = min(2 * len(self._sequences), SLOTS)
            self._unmap_slots()
            self._map_slots(many)
        used = [number for number, sequence in enumerate(self._sequences) if sequence]
        found = ((number, self._read(number)) for number in (OVERFLOW_SLOT, *used))
        return epoch, [(number, slot) for number, slot in found if slot is not None]

    def _read(self, number: int) -> Slot | None:
        begin = number * SLOT_SIZE
        for _ in range(_TRIES):
            sequence = self._sequences[number]
            raw = bytes(self._slots[begin : begin + SLOT_SIZE])
            if not sequence & 1 and self._sequences[number] == sequence:
                return decode_slot(raw)
        return None

    def _map_slots(self, many: int) -> None:
        size = _whole_pages(many * SLOT_SIZE)
        self._slots_map = mmap.mmap(self._descriptor, size, mmap.MAP_SHARED, mmap.PROT_READ)
        self._slots = memoryview(self._slots_map)
        self._sequences = self._slots[: many * SLOT_SIZE].cast("Q")[:: SLOT_SIZE // 8]

    def _unmap_slots(self) -> None:
        self._sequences.release()
        self._slots.release()
        self._slots_map.close()

    def close(self) -> None:
        """Unmaps both tables."""
        self._unmap_slots()
        self._control.release()
        self._control_map.close()


def _whole_pages(size: int) -> int:
    return -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
