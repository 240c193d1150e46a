"""A host as a source, for what watches it: its time passes with each read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tcptrace.stopping import Limits, Stop
from unit import samples, slots
from unit.sources import FakeSource

if TYPE_CHECKING:
    from collections.abc import Callable

    from tcptrace.watching import Watch
    from tcptrace.wire.head import Losses, ProgramRuns, TraceHead
    from tcptrace.wire.ledger import Inventory, LedgerReading, Slot

DEADLINE_S = 20
"""How long a test waits for what must come; on a busy machine too."""


class FakeHost(FakeSource):
    """Gives batches like FakeSource, and a reading of its slots whenever it is asked.

    Attributes:
        slots: of the ledger, by number; None: there is no ledger.
        covers: the namespaces that snapshots cover.
        snapshots_ns: when snapshots were taken.
        readings_ns: when the ledger was read.
        told: what the kernel says of its own sockets.
        kernel: what the kernel's counters are, as of now.
    """

    def __init__(
        self, *batches: bytes | BaseException, endless: bool = True, step_ms: int = 250
    ) -> None:
        super().__init__(*batches, endless=endless)
        self.slots: dict[int, Slot] | None = {1: slots.slot()}
        self.covers = {slots.NETNS}
        self.snapshots_ns: list[int] = []
        self.readings_ns: list[int] = []
        self.trace_head = samples.head(what="everything")
        self.loss = samples.NO_LOSSES
        self.runs: tuple[ProgramRuns, ...] = ()
        self.told: dict[int, Inventory] = {}
        self.kernel: Callable[[], dict[str, int]] = dict
        self._step_ms = step_ms
        self._epoch = 0

    @property
    def head(self) -> TraceHead:
        return self.trace_head

    def now_ns(self) -> int:
        return samples.START + self.reads * self._step_ms * samples.MS

    def losses(self) -> Losses:
        super().losses()
        return self.loss

    def inventory(self) -> dict[int, Inventory]:
        return self.told

    def programs(self) -> tuple[ProgramRuns, ...]:
        return self.runs

    def snapshot(self, between: Callable[[], None]) -> set[int]:
        self.snapshots_ns.append(self.now_ns())
        super().snapshot(between)
        return self.covers

    def ledger_reading(self) -> LedgerReading | None:
        if self.slots is None:
            return None
        self.readings_ns.append(self.now_ns())
        self._epoch += 1
        return slots.reading(
            slots=self.slots,
            at_ns=self.now_ns(),
            epoch=self._epoch - 1,
            namespaces=(slots.figures(self.kernel()),),
        )


def watched(watch: Watch, seconds: float) -> None:
    """Runs a watch for so long in its host's time; for a moment more after its end."""
    stop = Stop(Limits(duration_s=DEADLINE_S))
    until_ns = watch.source.now_ns() + int(seconds * samples.S)
    ticks = 0

    def tick() -> None:
        nonlocal ticks
        ticks += 1
        stop.asked |= watch.source.now_ns() >= until_ns or ticks > 10_000

    watch.run(stop, tick)
    assert stop.asked
