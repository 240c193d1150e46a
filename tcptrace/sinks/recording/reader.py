"""Reads a recording, trusting nothing in it."""

from __future__ import annotations

import json
import zlib
from typing import TYPE_CHECKING, BinaryIO, Final, NamedTuple

from tcptrace.errors import BadRecording
from tcptrace.lifecycle.names import Names
from tcptrace.sinks.recording.head import BadHead, Ending, ending_from, head_from
from tcptrace.sinks.recording.layout import (
    COUNT,
    CRC,
    DONE,
    FORMAT_VERSION,
    FRONT,
    HEAD,
    LDGR,
    LOST,
    MAGIC,
    MAX_PAYLOAD,
    NAME,
    RECS,
    START,
    SYMS,
)
from tcptrace.sinks.recording.ledger import BadLedger, LedgerDecoder
from tcptrace.sinks.recording.names import BadNames, take_names
from tcptrace.tcp import State
from tcptrace.wire.events import WIRE_VERSION, Kind, Stage
from tcptrace.wire.layout import OFFSETS, RECORD_SIZE, stride_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tcptrace.wire.head import TraceHead
    from tcptrace.wire.ledger import LedgerReading

_TAGS: Final = (HEAD, RECS, SYMS, LDGR, NAME, LOST, DONE)
_STATES: Final = frozenset({0, *State})
_ALLOWED: Final = {
    "kind": frozenset(Kind),
    "stage": frozenset(Stage),
    "old_state": _STATES,
    "new_state": _STATES,
}
"""What the fields that become enums may hold."""


class _Block(NamedTuple):
    tag: bytes
    payload: bytes


class RecordingReader:
    """Reads a recording from its begin.

    Args:
        file: open for reading in binary.
        name: what to call it in messages.

    Raises:
        BadRecording: it is no recording, of another version, or damaged or cut in its head.
    """

    def __init__(self, file: BinaryIO, name: str) -> None:
        self._file = file
        self._name = name
        self._position = 0
        self.records = 0
        """How many were read."""
        self.ending: Ending | None = None
        """How the trace ended; None before that was read, and if the file was cut."""
        self.cut = False
        """Whether the file stopped before its last block: its writer was killed."""
        self.symbols: dict[int, str] = {}
        """Names of kernel addresses, by offset from _stext, as far as they were read."""
        self.names = Names()
        """Names for the numbers in the records, as far as they were read."""
        self.lost_records = 0
        """How many records the ring had lost by then, as far as that was read."""
        self._ledger = LedgerDecoder(self.names.cgroups)
        self.head = self._read_head()
        self._stride = stride_of(self.head)

    @property
    def reading(self) -> LedgerReading | None:
        """The last reading of the ledger that was read; None if there was none."""
        return self._ledger.reading

    def blocks(self) -> Iterator[bytes]:
        """Yields the records of each block, checked, until the end or the cut.

        Yields:
            Whole records end to end; b"" where there is a new reading.

        Raises:
            BadRecording: damage; all that was yielded before is intact.
        """
        while (block := self._next_block()) is not None:
            if block.tag == RECS:
                self._check_records(block.payload)
                self.records += len(block.payload) // self._stride
                yield block.payload
            elif block.tag == SYMS:
                self._take_symbols(block.payload)
            elif block.tag == LDGR:
                before = self.reading
                self._take_ledger(block.payload)
                if self.reading is not before:
                    yield b""
            elif block.tag == NAME:
                self._take_names(block.payload)
            elif block.tag == LOST:
                self._take_lost(block.payload)
            elif block.tag == DONE:
                self._take_ending(block.payload)
                return
            else:
                raise self._damage("a second head")
        self.cut = True

    def _read_head(self) -> TraceHead:
        start = self._read(START.size)
        if start[: len(MAGIC)] != MAGIC[: len(start)] or not start:
            raise BadRecording(f"{self._name} is not a recording of tcptrace")
        if len(start) < START.size:
            raise BadRecording(f"{self._name} was cut within its head: there is nothing to replay")
        _, version = START.unpack(start)
        if version != FORMAT_VERSION:
            raise BadRecording(
                f"{self._name} has format version {version}; this tcptrace reads {FORMAT_VERSION}"
            )
        block = self._next_block()
        if block is None:
            raise BadRecording(f"{self._name} was cut within its head: there is nothing to replay")
        if block.tag != HEAD:
            raise self._damage("its head is missing")
        try:
            head = head_from(block.payload)
        except BadHead as error:
            raise self._damage(str(error)) from error
        if (head.wire_version, head.record_size) != (WIRE_VERSION, RECORD_SIZE):
            raise BadRecording(
                f"{self._name} has records of version {head.wire_version} ({head.record_size}"
                f" bytes each); this tcptrace reads {WIRE_VERSION} ({RECORD_SIZE} bytes)"
            )
        return head

    def _next_block(self) -> _Block | None:
        """Reads and checks one block; None where the file ends before the block does."""
        front = self._read(FRONT.size + CRC.size)
        if len(front) < FRONT.size + CRC.size:
            return None
        tag, length, payload_crc = FRONT.unpack_from(front)
        (front_crc,) = CRC.unpack_from(front, FRONT.size)
        if zlib.crc32(front[: FRONT.size]) != front_crc:
            raise self._damage("a block's front has a wrong checksum")
        if tag not in _TAGS or length > MAX_PAYLOAD:
            raise self._damage("a block of an unknown kind or size")
        payload = self._read(length)
        if len(payload) < length:
            return None
        if zlib.crc32(payload) != payload_crc:
            raise self._damage("a block has a wrong checksum")
        return _Block(tag, payload)

    def _check_records(self, payload: bytes) -> None:
        if len(payload) % self._stride:
            raise self._damage("a block of broken records")
        for name, allowed in _ALLOWED.items():
            found = set(payload[OFFSETS[name] :: self._stride])
            if not found <= allowed:
                raise self._damage(f"a record of unknown {name} {min(found - allowed)}")

    def _take_symbols(self, payload: bytes) -> None:
        try:
            pairs = json.loads(payload)
            self.symbols.update({int(frame): str(name) for frame, name in pairs})
        except (ValueError, TypeError, OverflowError, RecursionError) as error:
            raise self._damage("a block of broken symbols") from error

    def _take_ledger(self, payload: bytes) -> None:
        try:
            self._ledger.take(payload)
        except BadLedger as error:
            raise self._damage(str(error)) from error

    def _take_names(self, payload: bytes) -> None:
        try:
            take_names(self.names, payload)
        except BadNames as error:
            raise self._damage(str(error)) from error

    def _take_lost(self, payload: bytes) -> None:
        if len(payload) != COUNT.size:
            raise self._damage("a block of broken losses")
        (self.lost_records,) = COUNT.unpack(payload)

    def _take_ending(self, payload: bytes) -> None:
        try:
            self.ending = ending_from(payload)
        except BadHead as error:
            raise self._damage(str(error)) from error
        if self._read(1):
            raise self._damage("something follows its last block")
        if self.ending.records != self.records:
            raise self._damage(f"it should have {self.ending.records} records")

    def _read(self, length: int) -> bytes:
        try:
            data = self._file.read(length)
        except OSError as error:
            raise BadRecording(f"{self._name}: {error.strerror}") from error
        self._position += len(data)
        return data

    def _damage(self, what: str) -> BadRecording:
        return BadRecording(
            f"{self._name} is damaged before byte {self._position}: {what};"
            f" its first {self.records} records were good"
        )
