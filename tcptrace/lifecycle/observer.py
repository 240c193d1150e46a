"""What can be heard of a trace as it happens, for what counts rather than keeps lives."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tcptrace.lifecycle.connection import Connection, Listener
    from tcptrace.tcp import State
    from tcptrace.wire.events import Record


class Direction(StrEnum):
    """Which way a RST went."""

    SENT = "sent"
    RECEIVED = "received"


class Observer:
    """Hears of each thing once, in the order of the records; what it doesn't override is nothing.

    A life that a snapshot found is told of like any other, but finding it is no transition.
    """

    def fed(self, records: Sequence[Record]) -> None:
        """Some records, in their order, are about to be taken."""

    def changed(self, old: State, duration_ns: int | None, new: State) -> None:
        """A socket went from a state to another.

        Args:
            old: where it was; CLOSE or LISTEN (a listener's request or child) at its birth.
            duration_ns: for how long; None if its begin wasn't seen, and at its birth.
            new: where it is.
        """

    def established(self, connection: Connection) -> None:
        """A life reached ESTABLISHED, before the eyes of the trace."""

    def queued(self, connection: Connection) -> None:
        """A request's final ACK was taken: its child waits for accept()."""

    def accepted(self, connection: Connection, listener: Listener | None) -> None:
        """accept() took it; the listener is None if it isn't known."""

    def dropped(self, record: Record, listener: Listener) -> None:
        """A listener refused a SYN or a final ACK, or lost a request, as the record tells."""

    def syn_retransmitted(self, netns: int, family: str) -> None:
        """A SYN left again."""

    def synack_retransmitted(self, netns: int, family: str) -> None:
        """A SYN-ACK left again."""

    def reset(self, netns: int, direction: Direction, state: State) -> None:
        """A RST was sent or received for a socket in this state."""

    def over(self, connection: Connection) -> None:
        """A life is over; not told of those that the end of the trace cuts off."""


class Observers(Observer):
    """Several of them, each told first what its predecessors were told.

    What only one of them cares for costs no more than with that one alone.

    Args:
        observers: at least one.
    """

    def __init__(self, *observers: Observer) -> None:
        for name in (name for name in vars(Observer) if not name.startswith("_")):
            silent = getattr(Observer, name)
            hearing = [getattr(one, name) for one in observers]
            hearing = [call for call in hearing if call.__func__ is not silent]
            if hearing:
                setattr(self, name, hearing[0] if len(hearing) == 1 else _all_of(hearing))


def _all_of(calls: list[Callable[..., None]]) -> Callable[..., None]:
    def call_all(*told: Any) -> None:
        for call in calls:
            call(*told)

    return call_all
