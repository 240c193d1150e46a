"""A reading of the ledger as a recording's blocks, and back: only the slots that changed.

at_ns, epoch (u64 each), whether it is the reading's last block, how many slots (u32 each)
so many times: number of the slot (u32), 4 bytes of 0, the slot
in the last block: namespaces, owners and cgroups as JSON
"""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Any, Final

from tcptrace.sinks.recording.layout import MAX_PAYLOAD
from tcptrace.wire.ledger import (
    COUNTERS,
    SLOT_SIZE,
    LedgerReading,
    NamespaceFigures,
    Slot,
    decode_slot,
    encode_slot,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

_FRONT: Final = struct.Struct("<QQII")
_NUMBER: Final = struct.Struct("<I4x")
_STEP: Final = _NUMBER.size + SLOT_SIZE
_SLOTS_A_BLOCK: Final = MAX_PAYLOAD // 2 // _STEP
_MOST_NUMBER: Final = (1 << 64) - 1


class BadLedger(ValueError):  # noqa: N818
    """The bytes are no reading."""


class LedgerEncoder:
    """Turns readings into blocks."""

    def __init__(self) -> None:
        self._written: dict[int, Slot] = {}

    def blocks(self, reading: LedgerReading) -> Iterator[bytes]:
        """Returns the payloads of a reading's blocks."""
        changed = [pair for pair in reading.slots if self._written.get(pair[0]) != pair[1]]
        self._written.update(changed)
        starts = range(0, max(1, len(changed)), _SLOTS_A_BLOCK)
        for start in starts:
            part = changed[start : start + _SLOTS_A_BLOCK]
            is_last = start == starts[-1]
            front = _FRONT.pack(reading.at_ns, reading.epoch, is_last, len(part))
            slots = b"".join(_NUMBER.pack(number) + encode_slot(slot) for number, slot in part)
            yield front + slots + (_words_of(reading) if is_last else b"")


def _words_of(reading: LedgerReading) -> bytes:
    owners = [[inode, pid, comm.hex()] for inode, (pid, comm) in reading.owners.items()]
    return json.dumps(
        {
            "namespaces": [figures._asdict() for figures in reading.namespaces],
            "owners": owners,
            "cgroups": list(reading.cgroups.items()),
        }
    ).encode()


class LedgerDecoder:
    """Puts readings together again.

    Attributes:
        reading: the last whole one; None before the first.
    """

    def __init__(self) -> None:
        self.reading: LedgerReading | None = None
        self._slots: dict[int, Slot] = {}

    def take(self, payload: bytes) -> None:
        """Takes the next block.

        Raises:
            BadLedger: it is something else.
        """
        if len(payload) < _FRONT.size:
            raise BadLedger("a block of a broken ledger")
        at_ns, epoch, is_last, count = _FRONT.unpack_from(payload)
        end = _FRONT.size + count * _STEP
        if is_last > 1 or end > len(payload) or (not is_last and end != len(payload)):
            raise BadLedger("a block of a broken ledger")
        for at in range(_FRONT.size, end, _STEP):
            (number,) = _NUMBER.unpack_from(payload, at)
            self._slots[number] = decode_slot(payload[at + _NUMBER.size : at + _STEP])
        if is_last:
            self.reading = _reading(at_ns, epoch, self._slots, payload[end:])


def _reading(at_ns: int, epoch: int, slots: dict[int, Slot], words: bytes) -> LedgerReading:
    try:
        told = json.loads(words)
        namespaces = tuple(_figures(figures) for figures in told["namespaces"])
        owners = {
            _number(inode): (_number(pid), bytes.fromhex(comm))
            for inode, pid, comm in told["owners"]
        }
        cgroups = {_number(cgroup): str(path) for cgroup, path in told["cgroups"]}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise BadLedger("a ledger of broken JSON") from error
    return LedgerReading(at_ns, epoch, sorted(slots.items()), namespaces, owners, cgroups)


def _figures(told: dict[str, Any]) -> NamespaceFigures:
    before, after = (tuple(map(_number, told[key])) for key in ("before", "after"))
    if len(before) != len(COUNTERS) or len(after) != len(COUNTERS):
        raise BadLedger("a ledger with other counters")
    return NamespaceFigures(
        _number(told["netns"]), str(told["name"]), _number(told["ephemeral_ports"]), before, after
    )


def _number(value: object) -> int:
    if type(value) is not int or not 0 <= value <= _MOST_NUMBER:
        raise BadLedger("a ledger with a number that is none of 64 bits")
    return value
