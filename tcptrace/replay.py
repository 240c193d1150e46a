"""A recording as a source of records: as fast as they came, faster, or at once."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Final

from tcptrace.sinks.terminal import safe_text
from tcptrace.sinks.units import WallClock, plural
from tcptrace.wire.head import Losses
from tcptrace.wire.layout import stride_of, time_at

if TYPE_CHECKING:
    from collections.abc import Callable

    from tcptrace.lifecycle.names import Names
    from tcptrace.sinks.recording import RecordingReader
    from tcptrace.wire.head import ProgramRuns, TraceHead
    from tcptrace.wire.ledger import Inventory, LedgerReading

AT_ONCE: Final = math.inf


class ReplaySource:
    """Hands a recording's records out when they are due; its clock is the recording's.

    It begins at the first record or reading, so that nobody waits for a quiet beginning.

    Args:
        reader: at the recording's begin.
        speed: times as fast as it was recorded; AT_ONCE doesn't wait.
        clock: the real clock, ns.
        sleep: waits for so many seconds.
    """

    def __init__(
        self,
        reader: RecordingReader,
        speed: float = 1.0,
        clock: Callable[[], int] = time.monotonic_ns,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._reader = reader
        self._blocks = reader.blocks()
        self._speed = speed
        self._clock = clock
        self._sleep = sleep
        self._stride = stride_of(reader.head)
        self._waiting = b""
        self._next_reading: LedgerReading | None = None
        self._reading: LedgerReading | None = None
        self._position_ns = reader.head.began_monotonic_ns
        self._start_ns: tuple[int, int] | None = None
        self.finished = False
        """Whether it came to the recording's end."""

    @property
    def head(self) -> TraceHead:
        """The recording's head."""
        return self._reader.head

    def read(self, timeout_s: float) -> bytes | None:
        """Returns the records that are due, waiting for the first up to `timeout_s`.

        Returns:
            Whole records end to end; b"" if none is due in time; None at the end.

        Raises:
            BadRecording: damage; all that came before is intact.
        """
        if not self._waiting and self._next_reading is None and not self._next_block():
            return None
        if self._speed == AT_ONCE:
            return self._take_all()
        wait_s = (self._due_ns() - self._now_ns()) / 1e9 / self._speed
        if wait_s > 0:
            self._sleep(min(wait_s, timeout_s))
        return self._take_due(self._now_ns())

    def lost_records(self) -> int:
        """Returns how many records the recorded trace had lost until now."""
        return self.losses().lost_records

    def losses(self) -> Losses:
        """Returns what the recorded trace missed; skipped runs of probes only at its end."""
        ending = self._reader.ending
        return ending.losses if ending else Losses(self._reader.lost_records, {}, ())

    def now_ns(self) -> int:
        """Returns the recording's time, CLOCK_MONOTONIC of its host."""
        ending = self._reader.ending
        if self.finished and ending is not None:
            return max(self._position_ns, ending.ended_monotonic_ns)
        return self._position_ns

    def symbol(self, offset: int) -> str | None:
        """Names a kernel address given as its offset from _stext."""
        return self._reader.symbols.get(offset)

    @property
    def names(self) -> Names:
        """Returns the names that the recording has told until now."""
        return self._reader.names

    @property
    def trouble(self) -> str:
        """Says that the recording has no end, once it came to where it stops."""
        if not self._reader.cut:
            return ""
        records = plural(self._reader.records, "record")
        return (
            f"the recording has no end, its writer was stopped: shown is all that is whole"
            f" ({records}); what the trace lost is not known"
        )

    @property
    def takes_snapshots(self) -> bool:
        """Whether it can: what a recorded trace saw is among its records."""
        return False

    def snapshot(self, between: Callable[[], None]) -> set[int]:  # noqa: ARG002 - Source's
        """Covers nothing."""
        return set()

    def ledger_reading(self) -> LedgerReading | None:
        """Returns the last recorded reading of the ledger."""
        return self._reading

    def inventory(self) -> dict[int, Inventory]:
        """Returns nothing: a recording holds none."""
        return {}

    def programs(self) -> tuple[ProgramRuns, ...]:
        """Returns nothing: a recording doesn't say what it cost."""
        return ()

    def close(self) -> None:
        """Does nothing: whoever opened the file closes it."""

    def _next_block(self) -> bool:
        """Has the next records, or the next reading of the ledger, wait for their time."""
        block = next(self._blocks, None)
        if block is None:
            self.finished = True
            return False
        self._waiting = block
        self._next_reading = None if block else self._reader.reading
        if self._start_ns is None:
            self._start_ns = (self._due_ns(), self._clock())
        return True

    def _due_ns(self) -> int:
        reading = self._next_reading
        return reading.at_ns if reading is not None else time_at(self._waiting, 0)

    def _take_all(self) -> bytes:
        due, self._waiting = self._waiting, b""
        last_ns = self._due_ns() if not due else time_at(due, len(due) - self._stride)
        self._position_ns = max(self._position_ns, last_ns)
        self._take_reading()
        return due

    def _take_reading(self) -> None:
        if self._next_reading is not None:
            self._reading, self._next_reading = self._next_reading, None
            self._learn_namespaces(self._reading)

    def _learn_namespaces(self, reading: LedgerReading) -> None:
        """Readings have names that a recording's other parts may lack."""
        known = self.names.namespaces
        for figures in reading.namespaces:
            if figures.name and known.get(figures.netns) != figures.name:
                known.learn(figures.netns, figures.name)

    def _now_ns(self) -> int:
        """Where the replay should be by now."""
        began_ns, real_began_ns = self._start_ns or (0, 0)
        return began_ns + int((self._clock() - real_began_ns) * self._speed)

    def _take_due(self, now_ns: int) -> bytes:
        end = 0
        while end < len(self._waiting) and time_at(self._waiting, end) <= now_ns:
            end += self._stride
        due, self._waiting = self._waiting[:end], self._waiting[end:]
        self._position_ns = max(self._position_ns, now_ns)
        if self._next_reading is not None and self._next_reading.at_ns <= now_ns:
            self._take_reading()
        return due


def replaying_line(reader: RecordingReader, name: str) -> str:
    """Says in one line what is replayed: what was traced where, when and how."""
    head = reader.head
    hooks = plural(len(head.hooks), "hook")
    return safe_text(
        f"replaying {name}: {head.what}, {origin(head)}: {hooks}, {head.carrier},"
        f" kernel {head.kernel}"
    )


def origin(head: TraceHead) -> str:
    """When a recording was begun, as of here, and on which host; not yet safe for a terminal."""
    return f"recorded {WallClock(head).local(head.began_monotonic_ns)} on {head.hostname}"
