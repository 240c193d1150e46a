"""Writes a recording."""

from __future__ import annotations

import json
import zlib
from typing import TYPE_CHECKING, BinaryIO

from tcptrace.errors import OutputFailed
from tcptrace.sinks.recording.head import Ending, ending_json, head_json
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
from tcptrace.sinks.recording.ledger import LedgerEncoder
from tcptrace.sinks.recording.names import NamesEncoder
from tcptrace.sinks.units import plural
from tcptrace.wire.decode import decode_stacked
from tcptrace.wire.layout import stride_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from tcptrace.lifecycle.names import Names
    from tcptrace.wire.head import Losses, TraceHead
    from tcptrace.wire.ledger import LedgerReading


class RecordingWriter:
    """Writes a recording, block by block, each straight to the file.

    Args:
        file: open for writing in binary, unbuffered, at its begin, truncated.
        name: what to call it in messages.
        head: what is recorded.
        symbol: names a kernel address given as its offset from _stext; None if it can't.

    Raises:
        OutputFailed: from the constructor and each method, if the file takes no more; whole
            blocks written before that stay readable.
    """

    def __init__(
        self,
        file: BinaryIO,
        name: str,
        head: TraceHead,
        symbol: Callable[[int], str | None] = lambda _offset: None,
    ) -> None:
        self._file = file
        self._name = name
        self._symbol = symbol
        self._stride = stride_of(head)
        self._stacks = head.stacks
        self._ledger = LedgerEncoder()
        self._names = NamesEncoder()
        self._named: set[int] = set()
        self.records = 0
        """How many were written."""
        self.size = 0
        """Bytes written in whole blocks."""
        self._append(START.pack(MAGIC, FORMAT_VERSION))
        self._block(HEAD, head_json(head))

    def write(self, records: bytes) -> None:
        """Appends whole records (with their stacks, if the head says so), end to end."""
        step = MAX_PAYLOAD // self._stride * self._stride
        for start in range(0, len(records), step):
            part = records[start : start + step]
            if self._stacks:
                self._name_new(part)
            self._block(RECS, part)
            self.records += len(part) // self._stride

    def write_ledger(self, reading: LedgerReading) -> None:
        """Appends a reading of the ledger, and before it the paths that nobody has told yet."""
        for payload in self._names.cgroups(reading.cgroups):
            self._block(NAME, payload)
        for payload in self._ledger.blocks(reading):
            self._block(LDGR, payload)

    def write_names(self, names: Names) -> None:
        """Appends what the trace has learnt since the last time."""
        for payload in self._names.blocks(names):
            self._block(NAME, payload)

    def write_lost(self, lost_records: int) -> None:
        """Appends how many records the ring has lost until now."""
        self._block(LOST, COUNT.pack(lost_records))

    def finish(self, losses: Losses, ended_monotonic_ns: int) -> None:
        """Appends the last block; nothing may be written after it."""
        self._block(DONE, ending_json(Ending(losses, ended_monotonic_ns, self.records)))

    def _name_new(self, records: bytes) -> None:
        frames = {frame for _, stack in decode_stacked(records) for frame in stack}
        fresh = sorted(frames - self._named)
        self._named.update(fresh)
        names = [(frame, name) for frame in fresh if (name := self._symbol(frame)) is not None]
        for start in range(0, len(names), 1000):
            self._block(SYMS, json.dumps(names[start : start + 1000]).encode())

    def _block(self, tag: bytes, payload: bytes) -> None:
        front = FRONT.pack(tag, len(payload), zlib.crc32(payload))
        self._append(front + CRC.pack(zlib.crc32(front)) + payload)

    def _append(self, data: bytes) -> None:
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[self._file.write(rest) or 0 :]
            self._file.flush()
        except OSError as error:
            raise OutputFailed(
                f"{self._name}: {error.strerror};"
                f" its first {plural(self.records, 'record')} stay readable"
            ) from error
        self.size += len(data)
