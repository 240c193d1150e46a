"""Joins records into lives: events in, lives out. No clock, no I/O.

A life is found by the kernel object that a record is about; it moves from object to object
(request socket → child, socket → TIME_WAIT socket) by the records that name both. The registry
knows which life is where; what each kind of record means is told by requests, sockets, timewaits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tcptrace.lifecycle.registry import Registry
from tcptrace.lifecycle.requests import RequestEvents
from tcptrace.lifecycle.sockets import SocketEvents
from tcptrace.lifecycle.timewaits import TimewaitEvents

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tcptrace.lifecycle.connection import Connection, Listener
    from tcptrace.wire.decode import Stacked
    from tcptrace.wire.events import Record


class Tracker:
    """Rebuilds lives from records.

    Args:
        on_closed: called once a life's full socket is gone: with TIME_WAIT entered, or at its end.
        on_ended: called once its last object is gone, always after on_closed.
    """

    def __init__(
        self,
        on_closed: Callable[[Connection], None],
        on_ended: Callable[[Connection], None],
    ) -> None:
        self._registry = Registry(on_closed, on_ended)
        self._handlers: dict[int, Callable[[Record], None]] = {
            **SocketEvents(self._registry).handlers,
            **RequestEvents(self._registry).handlers,
            **TimewaitEvents(self._registry).handlers,
        }

    @property
    def listeners(self) -> list[Listener]:
        """Every listener that the records told of."""
        return self._registry.listeners.all

    @property
    def open_count(self) -> int:
        """How many lives are not over."""
        return self._registry.open_count

    @property
    def unexpected(self) -> int:
        """Records that tell of a transition which the tables don't have, or of nothing known."""
        return self._registry.unexpected

    def feed(self, records: Iterable[Record]) -> None:
        """Takes records in the order of the ring."""
        handlers = self._handlers
        for record in records:
            handler = handlers.get(record.kind)
            if handler is None:
                self._registry.unexpected += 1
            else:
                handler(record)

    def feed_stacked(self, pairs: Iterable[Stacked]) -> None:
        """The same, with the kernel stack behind each record."""
        for record, stack in pairs:
            self._registry.stack = stack
            self.feed((record,))
        self._registry.stack = ()

    def lose(self) -> None:
        """Takes note that records were lost: any life that is not over may lack one of them."""
        self._registry.mark_gaps()

    def advance(self, now_ns: int) -> None:
        """Lets go what was held long enough.

        Args:
            now_ns: a time whose records have all been fed.
        """
        self._registry.advance(now_ns)

    def finish(self, now_ns: int) -> None:
        """Ends the trace: what is still going on is reported as it stands."""
        self._registry.finish(now_ns)
