"""A source of records that are given to it."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from tcptrace.lifecycle.names import Names
from unit import samples

if TYPE_CHECKING:
    from collections.abc import Callable

    from tcptrace.wire.head import Losses, ProgramRuns, TraceHead
    from tcptrace.wire.ledger import Inventory, LedgerReading

BATCH = samples.batch(samples.record(), samples.record())


class FakeSource:
    """Gives prepared batches; b"" for ever, or the end, after them."""

    def __init__(self, *batches: bytes | BaseException, endless: bool = False) -> None:
        self._batches = list(batches)
        self._endless = endless
        self.closed = False
        self.reads = 0
        self.found: list[bytes] = []
        """What a snapshot has sent, part by part."""
        self.readings: list[LedgerReading] = []
        """The next ones of the ledger; none any more when they are used up."""
        self.lost: list[int] = []
        """How many records are lost at each question."""
        self.names = Names()

    @property
    def head(self) -> TraceHead:
        return samples.head()

    def read(self, timeout_s: float) -> bytes | None:
        assert 0 <= timeout_s <= 0.1
        self.reads += 1
        if not self._batches:
            return b"" if self._endless else None
        batch = self._batches.pop(0)
        if isinstance(batch, BaseException):
            raise batch
        return batch

    def lost_records(self) -> int:
        return self.lost.pop(0) if self.lost else 0

    def losses(self) -> Losses:
        assert not self.closed
        return samples.NO_LOSSES

    def now_ns(self) -> int:
        return samples.START + self.reads * samples.S

    def symbol(self, offset: int) -> str | None:
        raise AssertionError(offset)

    trouble: str = ""

    @property
    def takes_snapshots(self) -> bool:
        return True

    def inventory(self) -> dict[int, Inventory]:
        return {}

    def snapshot(self, between: Callable[[], None]) -> set[int]:
        for part in self.found:
            self._batches[:0] = [part, b""]
            between()
        return set()

    def ledger_reading(self) -> LedgerReading | None:
        return self.readings.pop(0) if self.readings else None

    def programs(self) -> tuple[ProgramRuns, ...]:
        return ()

    def close(self) -> None:
        self.closed = True


def close_and_interrupt(source: FakeSource) -> Callable[[], None]:
    """Closes it while somebody presses Ctrl-C."""
    close = source.close

    def interrupt() -> None:
        signal.raise_signal(signal.SIGINT)
        close()

    return interrupt
