"""Where records come from, whatever it is: the kernel or a recording."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from tcptrace.wire.layout import stride_of, time_at

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from tcptrace.lifecycle.names import Names
    from tcptrace.stopping import Stop
    from tcptrace.wire.head import Losses, ProgramRuns, TraceHead
    from tcptrace.wire.ledger import Inventory, LedgerReading

LAST_BATCHES: Final = 64
"""How many more reads a trace makes once it should end: enough for what the ring holds."""

READING_PERIOD_NS: Final = 1_000_000_000
"""Between two readings of the ledger."""


class Source(Protocol):
    """Where records come from: the kernel, or a recording."""

    @property
    def head(self) -> TraceHead:
        """What is traced, and how."""

    def read(self, timeout_s: float) -> bytes | None:
        """Returns whole records end to end; b"" after the timeout; None at the end."""

    def losses(self) -> Losses:
        """Returns what was missed until now."""

    def lost_records(self) -> int:
        """Returns how many records are known to be lost until now; cheap."""

    def now_ns(self) -> int:
        """Returns the time on the records' clock."""

    def symbol(self, offset: int) -> str | None:
        """Names a kernel address given as its offset from _stext; None if it can't."""

    @property
    def names(self) -> Names:
        """Names for the numbers in the records, as far as they are known by now."""

    @property
    def trouble(self) -> str:
        """What has gone wrong besides the tracing itself; "" while all is well."""

    @property
    def takes_snapshots(self) -> bool:
        """Whether it can: a recording has none but those that were taken when it was made."""

    def snapshot(self, between: Callable[[], None]) -> set[int]:
        """Has a record of every socket sent; returns the namespaces that it covers.

        Args:
            between: called from time to time, so that the records can be read.
        """

    def ledger_reading(self) -> LedgerReading | None:
        """Returns the ledger as it stands; None if there is none."""

    def inventory(self) -> Mapping[int, Inventory]:
        """Returns what the kernel says of its own sockets, by namespace; asks it now."""

    def programs(self) -> Sequence[ProgramRuns]:
        """Returns what the BPF programs have cost until now, where that is known."""

    def close(self) -> None:
        """Ends the trace."""


class Losing:
    """Notices that a source has lost more records."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.lost = 0
        """How many, as of the last question."""

    def goes_on(self) -> bool:
        """Whether there are more than at the last question."""
        before, self.lost = self.lost, self._source.lost_records()
        return self.lost > before


def batches(source: Source, stop: Stop) -> Iterator[tuple[int, bytes]]:
    """Yields what the source gives, and at the end what it still held.

    Yields:
        A time, so that whatever happened until then is in this batch or was in one before: that
        before the read, or that of the last record, since more may be left; and whole records end
        to end, or b"" if there were none in time.
    """
    stride = stride_of(source.head)
    while not stop.due:
        now_ns = source.now_ns()
        batch = source.read(stop.wait_s)
        if batch is None:
            return
        yield min(now_ns, last_ns(batch, stride)) if batch else now_ns, batch
    end_ns = source.now_ns()
    for _ in range(LAST_BATCHES):
        now_ns = source.now_ns()
        batch = source.read(0)
        if not batch:
            return
        yield min(now_ns, last_ns(batch, stride)), batch
        if last_ns(batch, stride) > end_ns:
            return  # more may come as fast as it is taken


def last_ns(batch: bytes, stride: int) -> int:
    """The time of the last of whole records, which lie so many bytes apart."""
    return time_at(batch, len(batch) - stride)
