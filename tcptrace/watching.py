"""Keeps a whole host in view: a source, its tracker and its ledger, brought up to date together.

What `listeners` and `serve` share. One thread runs it; others may look at what it holds while they
hold its lock.
"""

from __future__ import annotations

import gc
import mmap
import threading
import time
from typing import TYPE_CHECKING, Final

from tcptrace import heap
from tcptrace.errors import BadRecording
from tcptrace.lifecycle.agreement import Agreement
from tcptrace.lifecycle.bulk import Bulk
from tcptrace.lifecycle.connection import Process
from tcptrace.lifecycle.departures import Departures
from tcptrace.lifecycle.folding import MOST_CONNECTIONS
from tcptrace.lifecycle.ledger import KEEP_CLOSED_NS, MOST_LISTENERS, Ledger
from tcptrace.lifecycle.observer import Observers
from tcptrace.lifecycle.tracker import Tracker
from tcptrace.reading import READING_PERIOD_NS, Losing, batches, last_ns
from tcptrace.stopping import TICK_S
from tcptrace.verdicts.inquest import Inquest
from tcptrace.wire.decode import decode_stacked
from tcptrace.wire.layout import RECORD_SIZE, stride_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from tcptrace.lifecycle.agreement import Numbers
    from tcptrace.lifecycle.connection import Connection
    from tcptrace.lifecycle.recent import Recent
    from tcptrace.lifecycle.tally import Tally
    from tcptrace.reading import Source
    from tcptrace.stopping import Stop
    from tcptrace.verdicts.verdict import Verdict
    from tcptrace.wire.ledger import LedgerReading

SNAPSHOT_PERIOD_NS: Final = 60_000_000_000
_REST: Final = 20
"""A snapshot out of turn, after a loss, waits until so many times the last one's length has passed:
losses may come every few seconds, and a walk over very many sockets is work for the kernel."""
_MOST_GATHERED: Final = 16_384 * RECORD_SIZE
"""So many bytes of records are counted at once at most: 2 MB, which a CPU's cache may hold."""


class Watch:
    """Everything that is known of a host, as of now.

    Args:
        source: where records, ledger and snapshots come from; keeps a ledger.
        tally: hears what the records tell.
        most_listeners: how many listeners are kept apart.
        most_connections: how many connections are kept; the oldest idle ones beyond it are folded.
        verdicts_ns: how far verdicts look back; None if nobody will ask for any: then nothing is
            gathered for them.
        recent: is told of now, if anybody looks.

    Attributes:
        lock: held while any of this changes.
        tracker: every connection that is open.
        ledger: what each listener holds, refuses and loses.
        agreement: how far all that is from the kernel's own figures.
        reading: the ledger's last reading; None before the first.
        fault: what ended a recording before its end, if anything.
        is_over: whether a recording came to its end.
        recent: the last 15 minutes; None if nobody looks.
        on_closed: called with each life that the tracker rebuilds once its full socket is gone, by
            the thread that runs this, under the lock. Lives of plain course are counted many at
            once and never told; but for some slow ones, if anybody listens (lifecycle.picking).
        on_ended: the same once its last object is gone, TIME_WAIT over; after on_closed.
    """

    def __init__(  # noqa: PLR0913 - what is kept, and how much of it
        self,
        source: Source,
        tally: Tally,
        most_listeners: int = MOST_LISTENERS,
        most_connections: int = MOST_CONNECTIONS,
        verdicts_ns: int | None = None,
        *,
        recent: Recent | None = None,
    ) -> None:
        self.source = source
        self.lock = threading.Lock()
        self.tally = tally
        self.ledger = Ledger(most_listeners)
        self._inquest: Inquest | None = None
        if verdicts_ns is not None:
            began_ns = source.head.began_monotonic_ns
            self._inquest = Inquest(self.ledger, began_ns, verdicts_ns, tally)
        self.recent = recent
        self.on_closed: list[Callable[[Connection], None]] = []
        self.on_ended: list[Callable[[Connection], None]] = []
        observer = tally if recent is None else Observers(tally, recent)
        self.tracker = Tracker(self._closed, self._ended, observer, most_connections)
        self.agreement = Agreement(self.tracker, tally, self.ledger, source.head)
        self.reading: LedgerReading | None = None
        self.fault: BadRecording | None = None
        self.is_over = False
        self._bulk = Bulk(self.tracker, tally)
        # Kept from window to window: fresh memory costs a page fault every 4 KB. Of a mapping only
        # what was ever written to is in memory.
        self._gathered = memoryview(
            mmap.mmap(-1, _MOST_GATHERED, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        )
        self._gathered_size = 0
        self._until_ns = 0
        self._losing = Losing(source)
        self._missed = 0
        self._next_reading_ns = 0
        self._next_snapshot_ns = 0
        self._rested_ns = 0
        self._has_settled = False
        self._departures = Departures(self.tracker, tally, self.agreement.healing)

    def run(self, stop: Stop, tick: Callable[[], None]) -> None:
        """Keeps up with the source until it is time to stop; a recording's end is kept in view.

        Args:
            stop: when to end.
            tick: called after each step, without the lock, at least every TICK_S.
        """
        try:
            for now_ns, batch in batches(self.source, stop):
                self._step(now_ns, batch)
                tick()
        except BadRecording as fault:
            self.fault = fault
        with self.lock:
            self.catch_up()
        if not stop.due:
            self.read_ledger()
            with self.lock:
                self.is_over = True
                if self._inquest is not None:
                    self._inquest.forget()
        while not stop.due:
            time.sleep(min(TICK_S, stop.wait_s))
            tick()

    def _step(self, now_ns: int, batch: bytes) -> None:
        with self.lock:
            self._feed(batch)
            self._until_ns = now_ns
        is_hurt = (
            self.source.takes_snapshots
            and now_ns >= self._rested_ns
            and self.agreement.healing.is_due(now_ns)
        )
        if now_ns >= self._next_snapshot_ns or is_hurt:
            self._next_snapshot_ns = now_ns + SNAPSHOT_PERIOD_NS
            self._take_stock()
        if now_ns >= self._next_reading_ns:
            self._next_reading_ns = now_ns + READING_PERIOD_NS
            self.notice_misses()
            self.read_ledger()

    def _feed(self, batch: bytes) -> None:
        """Gathers records: many at once cost much less."""
        if self._losing.goes_on():
            self.catch_up()
            now_ns = self.source.now_ns()
            self.tracker.lose(now_ns)
            self.agreement.healing.lose(now_ns)
        if not batch:
            return
        if self.source.head.stacks:
            self.tracker.feed_stacked(decode_stacked(batch))
            return
        if self._gathered_size + len(batch) > _MOST_GATHERED:
            self.catch_up()
        if len(batch) > _MOST_GATHERED:
            self._count(batch)
            return
        end = self._gathered_size + len(batch)
        self._gathered[self._gathered_size : end] = batch
        self._gathered_size = end

    def catch_up(self) -> None:
        """Tells the tracker of all that has been read; whoever looks at it asks for this first.

        The lock must be held.
        """
        size, self._gathered_size = self._gathered_size, 0
        if size:
            self._count(self._gathered[:size])
        self.tracker.advance(self._until_ns)

    def _count(self, batch: bytes | memoryview) -> None:
        listens = bool(self.on_closed or self.on_ended or self.recent)
        self._bulk.leaves_slow = self.tracker.registry.objects.keeps_slow = listens
        self._bulk.feed(batch)

    def _closed(self, connection: Connection) -> None:
        if self._inquest is not None:
            self._inquest.closed(connection)
        for tell in self.on_closed:
            tell(connection)

    def _ended(self, connection: Connection) -> None:
        for tell in self.on_ended:
            tell(connection)

    @property
    def slow_left_out(self) -> int:
        """How many slow lives of plain course were too many to be told of."""
        return self._bulk.slow.left_out

    def notice_misses(self) -> None:
        """A run of a probe that the kernel skipped is a loss too: what it had told is missing.

        Asks for each hook: not to be called more often than the ledger is read.
        """
        if not self.source.takes_snapshots:
            return  # a recording tells of them at its end alone
        missed = sum(self.source.losses().missed_by_hook.values())
        if missed > self._missed:
            with self.lock:
                self.agreement.healing.lose(self.source.now_ns())
        self._missed = missed

    def _take_some(self, timeout_s: float = 0) -> None:
        """Reads once, and so makes room: until a snapshot is over, each record takes its time."""
        batch = self.source.read(timeout_s)
        if batch:
            with self.lock:
                self._feed(batch)

    def _drain(self) -> None:
        """Takes every record from before now; more may come as fast as they are taken."""
        now_ns = self.source.now_ns()
        told_ns, stride = 0, stride_of(self.source.head)
        while told_ns < now_ns and (batch := self.source.read(0)):
            with self.lock:
                self._feed(batch)
            told_ns = last_ns(batch, stride)
        with self.lock:
            self.catch_up()

    def _take_stock(self) -> None:
        begin_ns = self.source.now_ns()
        self.take_snapshot()
        end_ns = self.source.now_ns()
        self._rested_ns = end_ns + _REST * (end_ns - begin_ns)
        with self.lock:
            self._forget_namespaces()
        if not self._has_settled:
            self._has_settled = True
            _spare_the_garbage_collector()
            heap.keep_freed()

    def take_snapshot(self) -> None:
        """Learns what sockets there are, if the source can tell, and heals what a loss damaged."""
        if not self.source.takes_snapshots:
            return
        self.read_ledger()
        owners = self.reading.owners if self.reading else {}
        begin_ns = self.source.now_ns()
        with self.lock:
            self.catch_up()
            processes = {inode: Process(*owner) for inode, owner in owners.items()}
            self.agreement.healing.begin(begin_ns)
            self.tracker.begin_snapshot(begin_ns, processes)
        covered = self.source.snapshot(self._take_some)
        self._drain()
        self.notice_misses()
        with self.lock:
            self._feed(b"")  # were its last findings lost?
            self.catch_up()
            is_whole = self.tracker.end_snapshot(covered)
            known = self.tracker.counts.namespaces
            self.agreement.healing.end(self.source.now_ns(), covered, known, is_whole=is_whole)
            self.agreement.reconciliation.sockets.restart()

    def _forget_namespaces(self) -> None:
        watched = {one.netns for one in self.reading.namespaces} if self.reading else set()
        self._departures.look(watched, self.source.now_ns())

    def read_ledger(self) -> None:
        """Reads the ledger once, out of turn."""
        before = self._numbers()
        began_ns = self.source.now_ns()
        reading = self.source.ledger_reading()
        if reading is None and self._inquest is not None:
            with self.lock:
                self._inquest.look(self.tracker, began_ns)
        if reading is None or reading is self.reading:
            return
        after = self._numbers()
        with self.lock:
            self._leave_namespaces(reading, began_ns)
            self.ledger.absorb(reading)
            self.agreement.compare(reading, before, after)
            self.reading = reading
            if self._inquest is not None:
                self._inquest.read(reading)
            self._forget_waits(reading.at_ns)
            if self.recent is not None:
                self.recent.take(
                    self.ledger.listeners, self.tally.waits, self.tally.transitions, reading.at_ns
                )

    @property
    def inquest(self) -> Inquest:
        """What verdicts are reached by.

        Raises:
            AssertionError: nobody was to ask for any.
        """
        if self._inquest is None:
            raise AssertionError("verdicts, of a watch that gathers no evidence")
        return self._inquest

    def verdicts(self) -> list[Verdict]:
        """What is wrong now, most harm first; [] is silence.

        The lock must be held.

        Raises:
            AssertionError: as for `inquest`.
        """
        self.catch_up()
        return self.inquest.verdicts(self.tracker, self.source.now_ns())

    @property
    def trouble(self) -> str:
        """What has gone wrong with its source, a damaged recording too; "" while all is well."""
        if self.fault is not None:
            return f"the recording is damaged: {self.fault}"
        return self.source.trouble

    def _leave_namespaces(self, reading: LedgerReading, began_ns: int) -> None:
        """One that is read no more had no socket left: whatever is counted there is over."""
        if self.reading is None or not self.source.takes_snapshots:
            return
        left = {one.netns for one in self.reading.namespaces}
        left -= {one.netns for one in reading.namespaces}
        self._departures.leave(left, began_ns)

    def _numbers(self) -> Numbers:
        """How many sockets there are in each namespace that is read; as of now."""
        if self.reading is None or not self.source.takes_snapshots:
            with self.lock:
                self.catch_up()
            return {}  # a recording's records are not as of its readings
        self._drain()
        with self.lock:
            return self.agreement.numbers(figures.netns for figures in self.reading.namespaces)

    def settle(self, readings: int) -> None:
        """Reads the ledger so often, one reading soon after the other.

        What is under way is over from one to the next, and little else has happened in between.
        """
        for _ in range(readings):
            self._take_some(TICK_S)
            self.read_ledger()

    def compare_sockets(self) -> None:
        """Has the kernel count its sockets, and compares them with the state counts, once."""
        before = self.source.inventory()
        self._drain()
        with self.lock:
            numbers = self.agreement.numbers(before)
        after = self.source.inventory()
        with self.lock:
            self.agreement.compare_sockets(before, numbers, after)

    def _forget_waits(self, now_ns: int) -> None:
        """A listener that the ledger has forgotten, or never told apart, is told of no more."""
        waits = self.tally.waits
        for address in waits.keys() - {one.address for one in self.ledger.listeners}:
            if waits[address].last_at_ns < now_ns - KEEP_CLOSED_NS:
                del waits[address]


def _spare_the_garbage_collector() -> None:
    """A full collection of 100,000 lives takes 0.4 s, and finds nothing: lives are no cycles."""
    gc.freeze()
    gc.set_threshold(50_000, 20, 1_000)
