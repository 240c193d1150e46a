"""A reading of the ledger as a recording's blocks, and back: only what changed since the last one.

at_ns, epoch (u64 each), whether it is the reading's last block, how many slots (u32 each)
so many times: number of the slot (u32), 4 bytes of 0, the slot
the rest, if there is any: a JSON object with owners that are new, or with namespaces

Paths of cgroups are among a recording's names (names.py). Readings of older recordings have them
here; from there they go where the others are.
"""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Any, Final, TypeVar

from tcptrace.sinks.recording.layout import MAX_PAYLOAD
from tcptrace.wire.ledger import (
    COUNTERS,
    MORE_COUNTERS,
    SLOT_SIZE,
    LedgerReading,
    NamespaceFigures,
    Slot,
    decode_slot,
    encode_slot,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tcptrace.lifecycle.names import Known

_FRONT: Final = struct.Struct("<QQII")
_NUMBER: Final = struct.Struct("<I4x")
_STEP: Final = _NUMBER.size + SLOT_SIZE
_SLOTS_A_BLOCK: Final = MAX_PAYLOAD // 2 // _STEP
_ITEMS_A_BLOCK: Final = 64
"""Of JSON."""
_MOST_SLOTS: Final = 1 << 16
_MOST_NUMBER: Final = (1 << 64) - 1
_Told = TypeVar("_Told")


class BadLedger(ValueError):  # noqa: N818
    """The bytes are no reading."""


class LedgerEncoder:
    """Turns readings into blocks."""

    def __init__(self) -> None:
        self._slots: dict[int, Slot] = {}
        self._owners: dict[int, tuple[int, bytes]] = {}

    def blocks(self, reading: LedgerReading) -> Iterator[bytes]:
        """Returns the payloads of a reading's blocks."""
        slots = _news(reading.slots, self._slots)
        owners = _news(reading.owners.items(), self._owners)
        front = (reading.at_ns, reading.epoch)
        for start in range(0, len(slots), _SLOTS_A_BLOCK):
            part = slots[start : start + _SLOTS_A_BLOCK]
            packed = (_NUMBER.pack(number) + encode_slot(slot) for number, slot in part)
            yield _FRONT.pack(*front, 0, len(part)) + b"".join(packed)
        told: dict[str, list[Any]] = {
            "owners": [[inode, pid, comm.hex()] for inode, (pid, comm) in owners],
            "namespaces": [figures._asdict() for figures in reading.namespaces],
        }
        parts = [(key, part) for key, items in told.items() for part in _parts(items)]
        for place, (key, part) in enumerate(parts):
            is_last = place == len(parts) - 1
            yield _FRONT.pack(*front, is_last, 0) + json.dumps({key: part}).encode()


def _news(pairs: Iterable[tuple[int, _Told]], known: dict[int, _Told]) -> list[tuple[int, _Told]]:
    """What is new or has changed since it was known; it is known from now on."""
    news = [(key, value) for key, value in pairs if known.get(key) != value]
    known.update(news)
    return news


def _parts(items: list[Any]) -> Iterator[list[Any]]:
    """At least one part; none is too large for a block."""
    for start in range(0, max(1, len(items)), _ITEMS_A_BLOCK):
        yield items[start : start + _ITEMS_A_BLOCK]


class LedgerDecoder:
    """Puts readings together again.

    Args:
        cgroups: their paths, as far as the recording has told them; takes those of readings too.

    Attributes:
        reading: the last whole one; None before the first.
    """

    def __init__(self, cgroups: Known[int, str]) -> None:
        self.reading: LedgerReading | None = None
        self._cgroups = cgroups
        self._slots: dict[int, Slot] = {}
        self._owners: dict[int, tuple[int, bytes]] = {}
        self._namespaces: list[NamespaceFigures] = []

    def take(self, payload: bytes) -> None:
        """Takes the next block.

        Raises:
            BadLedger: it is something else.
        """
        if len(payload) < _FRONT.size:
            raise BadLedger("a block of a broken ledger")
        at_ns, epoch, is_last, count = _FRONT.unpack_from(payload)
        end = _FRONT.size + count * _STEP
        if is_last > 1 or end > len(payload):
            raise BadLedger("a block of a broken ledger")
        for at in range(_FRONT.size, end, _STEP):
            (number,) = _NUMBER.unpack_from(payload, at)
            if number >= _MOST_SLOTS:
                raise BadLedger("a ledger with a slot that there can't be")
            self._slots[number] = decode_slot(payload[at + _NUMBER.size : at + _STEP])
        if len(payload) > end or is_last:
            self._take_words(payload[end:])
        if is_last:
            self.reading = LedgerReading(
                at_ns,
                epoch,
                sorted(self._slots.items()),
                tuple(self._namespaces),
                dict(self._owners),
                self._paths(),
            )
            self._namespaces.clear()

    def _paths(self) -> dict[int, str]:
        ids = {slot.cgroup for slot in self._slots.values() if not slot.closed_at_ns}
        return {cgroup: self._cgroups[cgroup] for cgroup in ids & self._cgroups.keys()}

    def _take_words(self, words: bytes) -> None:
        try:
            told = json.loads(words)
            self._namespaces += [_figures(figures) for figures in told.get("namespaces", ())]
            for inode, pid, comm in told.get("owners", ()):
                self._owners[_number(inode)] = (_number(pid), bytes.fromhex(comm))
            for cgroup, path in told.get("cgroups", ()):
                self._cgroups.learn(_number(cgroup), str(path))
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise BadLedger("a ledger of broken JSON") from error


def _figures(told: dict[str, Any]) -> NamespaceFigures:
    before, after = (tuple(map(_number, told[key])) for key in ("before", "after"))
    if len(before) != len(COUNTERS) or len(after) != len(COUNTERS):
        raise BadLedger("a ledger with other counters")
    more, last = (tuple(map(_number, told.get(key, ()))) for key in ("more_before", "more_after"))
    if len(more) != len(last) or len(more) not in (0, len(MORE_COUNTERS)):
        raise BadLedger("a ledger with other counters")
    tw_reuse = told.get("tw_reuse")
    return NamespaceFigures(
        _number(told["netns"]),
        str(told["name"]),
        _number(told["ephemeral_ports"]),
        before,
        after,
        more,
        last,
        tw_reuse if tw_reuse is None else _number(tw_reuse),
    )


def _number(value: object) -> int:
    if type(value) is not int or not 0 <= value <= _MOST_NUMBER:
        raise BadLedger("a ledger with a number that is none of 64 bits")
    return value
