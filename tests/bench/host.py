"""A host that has listeners and a stream of records, as a source that the bench watches."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from tcptrace.kernel.live import BATCH_RECORDS
from tcptrace.lifecycle.names import Names
from tcptrace.tcp import MAPPED_PREFIX
from tcptrace.wire.events import WIRE_VERSION
from tcptrace.wire.head import AttachedHook, Losses, ProgramRuns, TraceHead
from tcptrace.wire.layout import OFFSETS, RECORD_SIZE
from tcptrace.wire.ledger import (
    COUNTERS,
    COUNTS,
    SLOT_SIZE,
    Inventory,
    LedgerReading,
    NamespaceFigures,
    Slot,
    decode_slot,
)

from .stream import BEGAN_NS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

NAMESPACES = 10
REST = b""
"""A batch of nothing: REST_NS pass."""
REST_NS = 50_000_000
_AT = OFFSETS["at_ns"]
_EMPTY_SLOT = decode_slot(bytes(SLOT_SIZE))


class Host:
    """A source, that ends with its records.

    Args:
        listeners: how many the ledger has.
        batches: its records.

    Attributes:
        round: all figures of listeners grow with it.
    """

    head = TraceHead(
        wire_version=WIRE_VERSION,
        record_size=RECORD_SIZE,
        stacks=False,
        kernel="6.12.0",
        machine="x86_64",
        hostname="bench",
        began_monotonic_ns=BEGAN_NS,
        began_realtime_ns=BEGAN_NS,
        what="everything",
        port=None,
        carrier="fentry",
        hooks=tuple(AttachedHook(f"hook_{number}", "fentry") for number in range(30)),
    )
    takes_snapshots = False
    trouble = ""

    def __init__(self, listeners: int, batches: Iterable[bytes] = ()) -> None:
        self.listeners = listeners
        self.round = 0
        self._batches = iter(batches)
        self._at_ns = BEGAN_NS

    def read(self, timeout_s: float) -> bytes | None:  # noqa: ARG002 - reading.Source's
        batch = next(self._batches, None)
        if batch:
            at = len(batch) - RECORD_SIZE + _AT
            self._at_ns = max(self._at_ns, int.from_bytes(batch[at : at + 8], "little"))
        else:
            self._at_ns += REST_NS
        return batch

    @property
    def names(self) -> Names:
        return Names()

    def now_ns(self) -> int:
        return self._at_ns

    def losses(self) -> Losses:
        return Losses(0, {}, ())

    def lost_records(self) -> int:
        return 0

    def symbol(self, offset: int) -> str | None:  # noqa: ARG002
        return None

    def snapshot(self, between: object) -> set[int]:  # noqa: ARG002
        return set()

    def ledger_reading(self) -> LedgerReading | None:
        zeros = (0,) * len(COUNTERS)
        return LedgerReading(
            self._at_ns,
            1,
            [(number, _slot(number, self.round)) for number in range(1, self.listeners + 1)],
            tuple(NamespaceFigures(n, "", 28_232, zeros, zeros) for n in range(1, NAMESPACES + 1)),
            cgroups={number: f"/system.slice/unit-{number}.service" for number in range(100)},
        )

    def inventory(self) -> dict[int, Inventory]:
        return {}

    def programs(self) -> tuple[ProgramRuns, ...]:
        return tuple(ProgramRuns(hook.name, hook.carrier, 5, 5000) for hook in self.head.hooks)

    def close(self) -> None: ...


def in_batches(parts: Iterable[bytes | bytearray]) -> Iterator[bytes]:
    """As the ring gives them: some thousands of records at a time."""
    each = iter(parts)
    size = BATCH_RECORDS * RECORD_SIZE
    held = bytearray()
    while some := list(itertools.islice(each, 256)):
        held += b"".join(some)
        while len(held) >= size:
            yield bytes(held[:size])
            del held[:size]
    if held:
        yield bytes(held)


def address(number: int) -> bytes:
    """Of a listener."""
    return MAPPED_PREFIX + (0xC0A8_0000 + number).to_bytes(4, "big")


def _slot(number: int, grown: int) -> Slot:
    return _EMPTY_SLOT._replace(
        sequence=2,
        opened_at_ns=BEGAN_NS,
        local=address(number),
        comm=f"server-{number % 50}".encode(),
        cgroup=number % 100,
        netns=1 + number % NAMESPACES,
        pid=number,
        port=8080,
        accept_queue_limit=128,
        accept_queue_len=(number + grown) % 128,
        syn_queue_len=(number + grown) % 100,
        syncookies=1,
        counts=tuple(number * place + grown for place in range(COUNTS)),
    )
