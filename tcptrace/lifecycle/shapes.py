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

    from tcptrace.lifecycle.connection import Connection, Listener, Partial
    from tcptrace.lifecycle.life import Life
    from tcptrace.wire.events import Record

MOST_RECORDS: Final = 24
"""Of a life that has an outline."""
_MOST_TIMES: Final = 60
_FIRST_TIME: Final = 1 << 62

PLAIN: Final = frozenset(
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

WITH_QUEUES: Final = (Kind.SYN_QUEUED, Kind.CHILD_CREATED)
"""They carry their listener's queues."""

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
        is_resting: whether it is in TIME_WAIT, its last object, at its end.
        is_open: whether it is established; if it is neither it is over.
        established: the record by which it was established, if any.
        timewait: the one by which it entered TIME_WAIT.
        with_queues: the records that carry their listener's queues.
        last: a record of the object that it is in then.
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
    is_open: bool = False
    established: int | None = None
    timewait: int | None = None
    with_queues: tuple[int, ...] = ()
    last: int = 0

    @property
    def length(self) -> int:
        """How many records it has."""
        return self.kinds.total()


def outline_of(batch: bytes) -> Outline | None:
    """What the whole life that these records tell of comes to; None if more depends on."""
    records = list(decode_batch(batch))
    if len(records) > MOST_RECORDS or any(record.kind not in PLAIN for record in records):
        return None
    timed = [record._replace(at_ns=time_of(number)) for number, record in enumerate(records)]
    student = _Student()
    tracker = Tracker(student.closed, student.ended, student)
    tracker.feed(timed)
    outline = student.outline
    outline.with_queues = tuple(
        number for number, record in enumerate(records) if record.kind in WITH_QUEUES
    )
    if not student.is_simple or tracker.unexpected or student.is_over + tracker.open_count != 1:
        return None
    if student.life is None:
        return _opened(outline, tracker, records)
    return _closed(outline, tracker, student.life)


def _closed(outline: Outline, tracker: Tracker, life: Connection) -> Outline | None:
    """The same of one that is over, or in TIME_WAIT."""
    outline.is_resting = tracker.open_count > 0
    is_told = not outline.is_resting or (
        life.state is State.TIME_WAIT
        and not tracker.has_second_objects
        and not outline.kinds[Kind.TIMEWAIT_RELEASED]
        and life.established_at_ns is not None  # else it was closed in SYN_RECV
    )
    if life.partial or not is_told:
        return None
    outline.role = life.role
    outline.established = number_of(life.established_at_ns or 0)
    outline.timewait = number_of(life.timewait_at_ns or 0)
    outline.last = outline.timewait or 0
    return outline


def _opened(outline: Outline, tracker: Tracker, records: Sequence[Record]) -> Outline | None:
    """The same of one that is established, and accepted if it is a server's."""
    life = _only(tracker)
    if life is None or life.counted is not State.ESTABLISHED or life.connection.partial:
        return None
    connection = life.connection
    is_served = connection.role is Role.SERVER and connection.accepted_at_ns is not None
    if not life.keys or not (is_served or connection.role is Role.CLIENT):
        return None
    outline.role, outline.is_open = connection.role, True
    outline.last = max(place for place, record in enumerate(records) if record.sock == life.sock)
    return outline


def _only(tracker: Tracker) -> Life | None:
    """The only life, in one object."""
    lives = list(tracker.registry.objects.peek())
    is_alone = len(lives) == tracker.open_count == 1 and not tracker.has_second_objects
    return lives[0] if is_alone else None


def beginning_of(batch: bytes) -> Life:
    """A life that these records begin, and have an outline of that is open.

    Its numbers are those of time_of(): first the records' times, then what object each is about,
    then its id. What happened in it is left out: nobody is told of it any more.
    """
    records = list(decode_batch(batch))
    count = len(records)
    objects: dict[int, int] = {}
    for number, record in enumerate(records):
        objects.setdefault(record.sock, time_of(count + number))
    student = _Student()
    tracker = Tracker(student.closed, student.ended, student)
    tracker.registry.take_ids(time_of(2 * count) - 1)
    tracker.feed(
        [
            record._replace(
                at_ns=time_of(number),
                sock=objects[record.sock],
                origin=objects.get(record.origin, record.origin),
                retransmits=0,
            )
            for number, record in enumerate(records)
        ]
    )
    life = _only(tracker)
    if life is None:
        raise AssertionError("its outline was of one open life")
    life.connection.moments.clear()
    return life


@dataclass
class Continuation:
    """What frozen lives of a shape come to, of all of which the same is told.

    Times are told by numbers: first those that are frozen, then the records.

    Attributes:
        kinds: records by kind.
        figures: those that the kernel counts too, by name.
        changes: transitions, as Outline has them.
        partial: what such a life lacks, if it is over then.
        life: what it is then, each number being that of time_of(); None if it is over.
        last: a record of the object that it is in then.
    """

    kinds: Counter[int]
    figures: Counter[str]
    changes: list[tuple[State, Pair | None, State]]
    partial: frozenset[Partial] = frozenset()
    life: Life | None = None
    last: int = 0


def continuation_of(life: Life, numbers: int, batch: bytes) -> Continuation | None:
    """What a life goes on to by these records; None if more depends on.

    Args:
        life: a thawed one, whose frozen numbers are those of time_of().
        numbers: how many.
        batch: the records.
    """
    records = list(decode_batch(batch))
    is_plain = all(record.kind in PLAIN for record in records)
    if not is_plain or not life.keys or numbers + len(records) > _MOST_TIMES:
        return None
    student = _Heir()
    tracker = Tracker(student.closed, student.ended, student)
    tracker.registry.adopt(life)
    tracker.feed(
        [
            record._replace(at_ns=time_of(numbers + number), retransmits=0)
            for number, record in enumerate(records)
        ]
    )
    outline = student.outline
    going_on = tracker.open_count
    if not student.is_simple or tracker.unexpected or going_on == student.is_over:
        return None
    comes_to = Continuation(outline.kinds, outline.figures, outline.changes)
    if not going_on:
        comes_to.partial = student.partial
        return comes_to
    about = [number for number, record in enumerate(records) if record.sock == life.sock]
    if _only(tracker) is not life or not about or not life.keys or life.counted is None:
        return None
    comes_to.life, comes_to.last = life, about[-1]
    return comes_to


def time_of(number: int) -> int:
    """Times of which each difference tells between which two it is."""
    return _FIRST_TIME + (1 << number)


def number_of(at_ns: int) -> int | None:
    """Which of these times it is; None if it is none."""
    rest = at_ns - _FIRST_TIME
    return rest.bit_length() - 1 if rest > 0 and not rest & (rest - 1) else None


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


class _Heir(_Student):
    """The same of a life that goes on: it may lack something, but nothing begins any more."""

    def __init__(self) -> None:
        super().__init__()
        self.partial: frozenset[Partial] = frozenset()

    def established(self, _connection: Connection) -> None:
        self.is_simple = False

    def queued(self, _connection: Connection) -> None:
        self.is_simple = False

    def accepted(self, _connection: Connection, _listener: Listener | None) -> None:
        self.is_simple = False

    def over(self, connection: Connection) -> None:
        self.partial = connection.partial
        if connection.role is Role.CLIENT and connection.established_at_ns is None:
            self.is_simple = False
