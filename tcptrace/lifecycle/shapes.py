"""What lives of one shape come to: learnt from the tracker itself, once for each shape.

A shape is what the records of a whole life tell, but for when, where and how much. Whatever a trace
counts follows from it: how often, and between which of the records the time passed. So the first
life of a shape is given to a tracker of its own, with times by which every duration tells between
which records it lies, and what its observer hears is noted. A shape of which more depends on than
that has no outline: its lives take the long way.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from tcptrace.lifecycle.connection import Role
from tcptrace.lifecycle.figures import figure_of
from tcptrace.lifecycle.observer import Observer
from tcptrace.lifecycle.tracker import Tracker
from tcptrace.tcp import State
from tcptrace.wire.decode import decode_batch
from tcptrace.wire.events import Kind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tcptrace.lifecycle.connection import Connection, Listener
    from tcptrace.wire.events import Record

MOST_RECORDS: Final = 24
"""Of a life that has an outline."""

_PLAIN: Final = frozenset(
    {
        Kind.STATE_CHANGED,
        Kind.CONNECT_SENT,
        Kind.SYN_QUEUED,
        Kind.CHILD_CREATED,
        Kind.ACCEPTED,
        Kind.TIMEWAIT_ENTERED,
        Kind.TIMEWAIT_STATE_CHANGED,
        Kind.TIMEWAIT_RELEASED,
        Kind.TIMEWAIT_KILLED,
    }
)
"""Drops and retransmits count on their listener and by their family too."""

_WITH_QUEUES: Final = (Kind.SYN_QUEUED, Kind.CHILD_CREATED)

Pair = tuple[int, int]
"""Two records of a life, by their numbers from 0: what lasted from the one to the other."""


@dataclass
class Outline:
    """What every life of a shape comes to.

    Attributes:
        kinds: records by kind.
        figures: those that the kernel counts too, by name.
        changes: transitions, each with the records between which the state left lasted, if known.
        handshake: the records between which it lasted, by whose role.
        connected: whether it is a connect() that was established.
        syn_queue_wait: between which records.
        accept_wait: the same.
        is_resting: whether it is in TIME_WAIT, its last object, at its end; else it is over.
        established: the record by which it was established, if any.
        timewait: the one by which it entered TIME_WAIT.
        with_queues: the records that carry their listener's queues.
    """

    kinds: Counter[int] = field(default_factory=Counter)
    figures: Counter[str] = field(default_factory=Counter)
    changes: list[tuple[State, Pair | None, State]] = field(default_factory=list)
    role: Role = Role.UNKNOWN
    handshake: Pair | None = None
    is_connected: bool = False
    syn_queue_wait: Pair | None = None
    accept_wait: Pair | None = None
    is_resting: bool = False
    established: int | None = None
    timewait: int | None = None
    with_queues: tuple[int, ...] = ()

    @property
    def length(self) -> int:
        """How many records it has."""
        return self.kinds.total()


def outline_of(batch: bytes) -> Outline | None:
    """What the whole life that these records tell of comes to; None if more depends on."""
    records = list(decode_batch(batch))
    if len(records) > MOST_RECORDS or any(record.kind not in _PLAIN for record in records):
        return None
    timed = [record._replace(at_ns=_time_of(number)) for number, record in enumerate(records)]
    student = _Student()
    tracker = Tracker(student.closed, student.ended, student)
    tracker.feed(timed)
    outline = student.outline
    if not student.is_simple or tracker.unexpected or student.life is None:
        return None
    outline.is_resting = not student.is_over
    if tracker.open_count != outline.is_resting:
        return None
    life = student.life
    if life.partial or (outline.is_resting and life.state is not State.TIME_WAIT):
        return None
    if outline.is_resting and (
        tracker.has_second_objects
        or _is_released(outline)
        or life.established_at_ns is None  # closed in SYN_RECV
    ):
        return None
    outline.role = life.role
    outline.established = _record_at(life.established_at_ns)
    outline.timewait = _record_at(life.timewait_at_ns)
    outline.with_queues = tuple(
        number for number, record in enumerate(records) if record.kind in _WITH_QUEUES
    )
    return outline


def _is_released(outline: Outline) -> bool:
    """Whether its TIME_WAIT socket was ended before its timer."""
    return bool(outline.kinds[Kind.TIMEWAIT_RELEASED])


def _time_of(number: int) -> int:
    """Times of which each difference tells between which two it is."""
    return (1 << MOST_RECORDS) + (1 << number)


def _record_at(at_ns: int | None) -> int | None:
    return None if at_ns is None else (at_ns - (1 << MOST_RECORDS)).bit_length() - 1


class _Student(Observer):
    """Notes what it hears."""

    def __init__(self) -> None:
        self.outline = Outline()
        self.life: Connection | None = None
        self.is_simple = True
        self.is_over = False

    def closed(self, connection: Connection) -> None:
        self.life = connection

    def ended(self, _connection: Connection) -> None:
        self.is_over = True

    def fed(self, records: Sequence[Record]) -> None:
        for record in records:
            self.outline.kinds[record.kind] += 1
            figure = figure_of(record.kind, record.old_state, record.new_state, record.flags)
            if figure is not None:
                self.outline.figures[figure] += 1

    def changed(self, old: State, duration_ns: int | None, new: State) -> None:
        self.outline.changes.append((old, self._pair(duration_ns), new))

    def established(self, connection: Connection) -> None:
        self.outline.handshake = self._pair(connection.handshake_ns)
        self.outline.is_connected = connection.role is Role.CLIENT

    def queued(self, connection: Connection) -> None:
        self.outline.syn_queue_wait = self._pair(connection.syn_queue_wait_ns)

    def accepted(self, connection: Connection, _listener: Listener | None) -> None:
        self.outline.accept_wait = self._pair(connection.accept_wait_ns)

    def over(self, connection: Connection) -> None:
        is_client = connection.role is Role.CLIENT
        if connection.partial or (is_client and connection.established_at_ns is None):
            self.is_simple = False

    def _pair(self, duration_ns: int | None) -> Pair | None:
        """The records between which it lies: its bits are set from the one to the other."""
        if duration_ns is None:
            return None
        if not duration_ns:
            self.is_simple = False
        begin = (duration_ns & -duration_ns).bit_length() - 1
        return begin, duration_ns.bit_length()
