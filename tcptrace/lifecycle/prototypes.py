"""A life of each shape as the tracker tells of it, its numbers being marks.

The first life of a shape is given to a tracker of its own, its times, queues and objects marked.
What then closes, ends or rests there has a mark wherever lives of the shape differ, but for their
ends. A shape of which more depends on than its own records has no prototype.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from tcptrace.lifecycle import marks
from tcptrace.lifecycle.connection import Role
from tcptrace.lifecycle.marks import Columns, Time
from tcptrace.lifecycle.shapes import MOST_RECORDS, PLAIN, WITH_QUEUES
from tcptrace.lifecycle.tracker import Tracker
from tcptrace.tcp import State
from tcptrace.wire import columns
from tcptrace.wire.decode import BLANK, decode_batch
from tcptrace.wire.events import Kind, Record

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from tcptrace.lifecycle.connection import Connection, Process
    from tcptrace.lifecycle.life import Life
    from tcptrace.wire.columns import Words

    Numbers = npt.NDArray[np.int64]
    Truths = npt.NDArray[np.bool_]

_FIELDS: Final = ("sock", "origin", "accept_queue_len", "accept_queue_limit", "syn_queue_len")
"""What is marked of each record besides its time."""
_SOCK, _ORIGIN = 0, 1
_NOTHING: Final = np.uint64(0)
_LATEST_NS: Final = 1 << 62
"""Of what is later not even the year is certain."""
ID: Final = 1 << 10
PEER: Final = ID + 1
"""Values that no record tells."""
_LISTENING: Final = BLANK._replace(
    kind=Kind.STATE_CHANGED, old_state=State.CLOSE, new_state=State.LISTEN
)


@dataclass
class Prototype:
    """What every life of a shape comes to.

    Attributes:
        closed: it as its full socket was gone.
        ended: it as its last object was gone; None if it goes on in TIME_WAIT.
        rests: the same that goes on.
        begins: by which record it came into each of its objects.
        origins: for each record, which of its objects it names as its origin; None for none.
        over: the record by which it was over, or closed if it goes on.
        meets: the one by which its ends became known.
        established: the one by which it was established, if any.
        with_queues: those that carry their listener's queues.
    """

    closed: Connection
    ended: Connection | None
    rests: Life | None
    begins: list[int]
    origins: list[int | None]
    over: int
    meets: int
    established: int | None
    with_queues: tuple[int, ...]

    @property
    def length(self) -> int:
        """How many records it has."""
        return len(self.origins)

    @property
    def is_server(self) -> bool:
        """Whether it began at a listener."""
        return self.closed.role is Role.SERVER

    @cached_property
    def ended_each_way(self) -> tuple[Connection | None, Connection | None]:
        """What is over, with marks for its id: without another end here, and with one."""
        if self.ended is None:
            return None, None
        return _marked(self.ended, is_linked=False), _marked(self.ended, is_linked=True)

    def resting(self, *, is_linked: bool) -> Life:
        """What goes on in TIME_WAIT, with marks for its id and its other end's."""
        if self.rests is None:
            raise AssertionError("it is over")
        connection = _marked(self.rests.connection, is_linked=is_linked)
        return replace(self.rests, connection=connection)

    def fit(self, words: Words, first: Numbers) -> Truths:
        """Whether lives of this shape differ from it in nothing but what is marked.

        Args:
            words: records by life.
            first: where the records of each life begin.
        """
        times = self._times(words, first)
        fits: Truths = (times[:, 0] >= 0) & (times[:, -1] < _LATEST_NS)
        fits &= (times[:, 1:] >= times[:, :-1]).all(axis=1)
        fits &= ~columns.high(words[:, columns.SYN_QUEUE])[self._records(first)].any(axis=1)
        objects, came_from = words[:, columns.SOCK], words[:, columns.ORIGIN]
        socks = [objects[first + begin] for begin in self.begins]
        for number, sock in enumerate(socks):
            for other in socks[:number]:
                fits &= sock != other
        for place, origin in enumerate(self.origins[1:], 1):
            named = came_from[first + place]
            fits &= named == (_NOTHING if origin is None else socks[origin])
        return fits

    def last_objects(self, words: Words, first: Numbers) -> Words:
        """The last object of each life."""
        return words[:, columns.SOCK][first + self.begins[-1]]

    def _records(self, first: Numbers) -> Numbers:
        """The places of each life's records."""
        return first[:, None] + np.arange(self.length)

    def _times(self, words: Words, first: Numbers) -> Numbers:
        return words.view(np.int64)[:, columns.AT_NS][self._records(first)]

    def columns_of(self, words: Words, first: Numbers, ids: Numbers, peers: Numbers) -> Columns:
        """The numbers that the marks of it stand for."""

        def value_of(number: int) -> Numbers:
            if number in (ID, PEER):
                return ids if number == ID else peers
            place, field = divmod(number, len(_FIELDS))
            return _read(words.take(first + place, axis=0), field)

        return Columns(self._times(words, first), value_of)


def _marked(connection: Connection, *, is_linked: bool) -> Connection:
    """It with marks for its id and its other end's."""
    peer = marks.value(PEER) if is_linked else None
    return replace(connection, id=marks.value(ID), peer_id=peer)


def _read(records: Words, field: int) -> Numbers:
    if field == _SOCK:
        return records[:, columns.SOCK].view(np.int64)
    if field == _ORIGIN:
        return records[:, columns.ORIGIN].view(np.int64)
    queue = records[:, columns.ACCEPT_QUEUE]
    halves = (columns.low(queue), columns.high(queue), columns.low(records[:, columns.SYN_QUEUE]))
    return halves[field - 2].astype(np.int64)


def prototype_of(
    batch: bytes, generations: Sequence[int], listening: Process | None
) -> Prototype | None:
    """Learns what the life comes to that these records tell of whole.

    Args:
        batch: its records.
        generations: which of its objects each is about.
        listening: who listens, if it began at a listener and that is known.

    Returns:
        None if more depends on than them.
    """
    records = list(decode_batch(batch))
    if len(records) > MOST_RECORDS or any(one.kind not in PLAIN for one in records):
        return None
    begins = [generations.index(number) for number in range(max(generations) + 1)]
    socks = [records[begin].sock for begin in begins]
    origins = [socks.index(one.origin) if one.origin in socks else None for one in records]
    student = _Student()
    if listening is not None:
        pid, comm = listening
        origin = marks.value(_ORIGIN)
        student.feed(0, _LISTENING._replace(sock=origin, pid=pid, comm=comm))
    meets = None
    ends = student.tracker.registry.objects.ends
    for place, record in enumerate(records):
        told = _with_marks(place, record, begins[generations[place]], begins, origins)
        student.feed(place, told)
        if meets is None and len(ends):
            meets = place
    return _prototype(student, [one.kind for one in records], begins, origins, meets)


def _prototype(
    student: _Student,
    kinds: list[int],
    begins: list[int],
    origins: list[int | None],
    meets: int | None,
) -> Prototype | None:
    registry = student.tracker.registry
    rests = None
    if student.ended is None:
        rests = registry.in_object(marks.value(begins[-1] * len(_FIELDS) + _SOCK))
        is_at_rest = rests is not None and rests.connection.state is State.TIME_WAIT
        if not is_at_rest or registry.has_second_objects or len(begins) == 1:
            return None
    is_one = student.closed is not None and registry.open_count == (rests is not None)
    if student.is_odd or not is_one or student.tracker.unexpected or registry.born != 1:
        return None
    if student.closed is None or student.closed.partial or meets is None:
        return None
    if rests is not None and (rests.is_released or rests.connection.partial):
        return None
    at_ns = student.closed.established_at_ns
    established = None if at_ns is None else marks.meaning_of(at_ns)
    return Prototype(
        student.closed,
        student.ended,
        rests,
        begins,
        origins,
        student.over,
        meets,
        established.number if isinstance(established, Time) else None,
        tuple(place for place, kind in enumerate(kinds) if kind in WITH_QUEUES),
    )


def _with_marks(
    place: int, record: Record, begin: int, begins: list[int], origins: list[int | None]
) -> Record:
    """The record with marks in the place of numbers."""
    values: dict[str, Any] = {
        name: marks.value(place * len(_FIELDS) + number) for number, name in enumerate(_FIELDS)
    }
    values["at_ns"] = marks.time(place)
    values["sock"] = marks.value(begin * len(_FIELDS) + _SOCK)
    origin = origins[place]
    if origin is not None:
        values["origin"] = marks.value(begins[origin] * len(_FIELDS) + _SOCK)
    elif place or not record.origin:
        values["origin"] = 0
    return record._replace(**values)


def ending_of(life: Life, killed: Record) -> Connection | None:
    """Learns what a life in TIME_WAIT comes to when its timer runs out.

    Args:
        life: it, its numbers being marks.
        killed: the record of its end.

    Returns:
        None if more depends on.
    """
    student = _Student()
    life.sock = 0
    student.tracker.registry.rest(life, killed.sock, 0)
    student.feed(0, killed)
    is_over = not student.tracker.open_count and not student.tracker.unexpected
    return student.ended if is_over and student.closed is None else None


class _Student:
    """A tracker of one life."""

    def __init__(self) -> None:
        self.tracker = Tracker(self._closed, self._ended)
        self.closed: Connection | None = None
        self.ended: Connection | None = None
        self.over = 0
        self.is_odd = False
        self._place = 0

    def feed(self, place: int, record: Record) -> None:
        self._place = place
        self.tracker.feed((record,))

    def _closed(self, connection: Connection) -> None:
        self.is_odd |= self.closed is not None
        self.closed = replace(connection)
        self.over = self._place

    def _ended(self, connection: Connection) -> None:
        self.is_odd |= self.ended is not None
        self.ended = connection
        self.over = self._place
