"""Joins records into lives: events in, lives out. No clock, no I/O.

A life is found by the kernel object that a record is about; it moves from object to object
(request socket → child, socket → TIME_WAIT socket) by the records that name both. The registry
knows which life is where; what each kind of record means is told by requests, sockets, timewaits,
snapshots.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Final

from tcptrace.lifecycle.folding import MOST_CONNECTIONS
from tcptrace.lifecycle.registry import Registry
from tcptrace.lifecycle.requests import RequestEvents
from tcptrace.lifecycle.snapshots import Snapshots
from tcptrace.lifecycle.sockets import SocketEvents
from tcptrace.lifecycle.timewaits import TimewaitEvents

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from collections.abc import Set as AbstractSet

    from tcptrace.lifecycle.connection import Connection, Listener, Process
    from tcptrace.lifecycle.counts import StateCounts
    from tcptrace.lifecycle.observer import Observer
    from tcptrace.wire.decode import Stacked
    from tcptrace.wire.events import Record

_CHUNK_RECORDS: Final = 256
"""How many an observer gets at a time: enough to count at once, and few for the CPU's cache."""


class Tracker:
    """Rebuilds lives from records.

    Args:
        on_closed: called once a life's full socket is gone: with TIME_WAIT entered, or at its end.
        on_ended: called once its last object is gone; after on_closed, but for a life that was told
            of and then folded, of which a part is left.
        observer: hears of what happens; without one sockets are not counted either.
        most: how many connections are kept; the oldest idle ones beyond it are folded.
    """

    def __init__(
        self,
        on_closed: Callable[[Connection], None],
        on_ended: Callable[[Connection], None],
        observer: Observer | None = None,
        most: int = MOST_CONNECTIONS,
    ) -> None:
        self._observer = observer
        self._registry = Registry(on_closed, on_ended, observer, most)
        self._snapshots = Snapshots(self._registry)
        self._last_ns = 0
        self._handlers: dict[int, Callable[[Record], None]] = {
            **SocketEvents(self._registry).handlers,
            **RequestEvents(self._registry).handlers,
            **TimewaitEvents(self._registry).handlers,
            **self._snapshots.handlers,
        }

    @property
    def registry(self) -> Registry:
        """Every life that is not over; for what feeds whole ones past the records."""
        return self._registry

    @property
    def stock(self) -> Snapshots:
        """What snapshots change; for what takes their findings past the records."""
        return self._snapshots

    @property
    def listeners(self) -> list[Listener]:
        """Every listener that the records told of."""
        return self._registry.listeners.all

    @property
    def listener_count(self) -> int:
        """How many of them are kept one by one."""
        return len(self._registry.listeners)

    @property
    def counts(self) -> StateCounts:
        """How many sockets are in each state now; without an observer only of folded ones."""
        return self._registry.counts

    @property
    def snapshots(self) -> int:
        """How many snapshots were brought to an end."""
        return self._snapshots.taken

    @property
    def healed(self) -> int:
        """Lives whose end was lost: a snapshot did not find them, or their namespace is gone."""
        return self._snapshots.healed

    @property
    def most(self) -> int:
        """How many connections are kept at most."""
        return self._registry.most

    @property
    def folded(self) -> int:
        """How often a connection was folded."""
        return self._registry.folded.total

    @property
    def corrected(self) -> int:
        """Lives that a snapshot found in another state than the one known of them."""
        return self._snapshots.corrected

    @property
    def found(self) -> int:
        """Lives that a snapshot found and no record had told of, but for the first snapshot's."""
        return self._snapshots.found

    @property
    def open_count(self) -> int:
        """How many lives are kept that are not over."""
        return self._registry.open_count

    @property
    def has_second_objects(self) -> bool:
        """Whether a life has two objects at this moment."""
        return self._registry.has_second_objects

    @property
    def unexpected(self) -> int:
        """Records that tell of a transition which the tables don't have, or of nothing known."""
        return self._registry.unexpected

    def feed(self, records: Iterable[Record]) -> None:
        """Takes records in the order of the ring."""
        if self._observer is None:
            self._take(records)
            return
        left = iter(records)
        while chunk := list(islice(left, _CHUNK_RECORDS)):
            self._observer.fed(chunk)
            self._take(chunk)

    def _take(self, records: Iterable[Record]) -> None:
        handlers = self._handlers
        record = None
        for record in records:
            handler = handlers.get(record.kind)
            if handler is None:
                self._registry.unexpected += 1
            else:
                handler(record)
        if record is not None:
            self._last_ns = record.at_ns
            self._registry.make_room(record.at_ns)

    def feed_stacked(self, pairs: Iterable[Stacked]) -> None:
        """The same, with the kernel stack behind each record."""
        for record, stack in pairs:
            self._registry.stack = stack
            self.feed((record,))
        self._registry.stack = ()

    def begin_snapshot(self, now_ns: int, owners: Mapping[int, Process]) -> None:
        """A snapshot is about to be asked for; its SEEN records come among the others.

        Args:
            now_ns: the time before that.
            owners: who holds a socket, by its inode number; may be empty.
        """
        self._snapshots.begin(now_ns, owners)

    def end_snapshot(self, netns: AbstractSet[int]) -> bool:
        """The snapshot is complete, and every record until its end has been fed.

        Args:
            netns: the namespaces that it covered completely, or that are gone with all their
                sockets: what it did not find there is over.

        Returns:
            Whether no record was lost since it began.
        """
        is_whole = self._snapshots.end(netns)
        self._registry.make_room(self._last_ns)
        return is_whole

    def leave(self, netns: AbstractSet[int], now_ns: int) -> None:
        """Takes note that namespaces are gone.

        Args:
            netns: in which there is no socket any more.
            now_ns: a time whose records have all been fed: what was told of before it is over.
        """
        self._snapshots.leave(netns, now_ns)

    def lose(self, now_ns: int) -> None:
        """Takes note that records were lost: any life that is not over may lack one of them.

        Args:
            now_ns: the time. What is fed from now on may have been told of before: lives that began
                until then may lack a record too.
        """
        self._registry.mark_gaps(now_ns)
        self._snapshots.lose()

    def advance(self, now_ns: int) -> None:
        """Lets go what was held long enough.

        Args:
            now_ns: a time whose records have all been fed.
        """
        self._registry.advance(now_ns)

    def finish(self, now_ns: int) -> None:
        """Ends the trace: what is still going on is reported as it stands."""
        self._registry.finish(now_ns)
