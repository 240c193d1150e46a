"""Lives of which nothing was told for a while, in as few bytes as will do; nothing is lost.

What a frozen life has in common with many others, such as the states that it went through and the
process that accepted it, is kept once for all of them: its shape. The rest are numbers, each kept
once however often it occurs: most of a life's times are the same few.
"""

from __future__ import annotations

import struct
from functools import cache
from itertools import chain
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tcptrace.lifecycle.connection import Connection, Moment, Partial, Role, StateSpan
from tcptrace.lifecycle.ends import keys_of
from tcptrace.lifecycle.life import Life, lack
from tcptrace.tcp import MAPPED_PREFIX, Endpoint, State

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tcptrace.lifecycle.counts import Place
    from tcptrace.wire.events import Kind, Stage

CONNECTION_NUMBERS: Final = (
    "id", "moments_left_out", "peer_id", "syn_at_ns", "request_at_ns", "queued_at_ns",
    "established_at_ns", "accepted_at_ns", "timewait_at_ns", "ended_at_ns", "syn_retransmits",
    "synack_retransmits", "syn_drops", "ack_drops", "retransmits", "error",
)  # fmt: skip
LIFE_NUMBERS: Final = (
    "other_ns", "request", "listener", "last_syn_ns", "last_gap_ns", "born_ns",
)  # fmt: skip
CONNECTION_SHAPE: Final = (
    "role", "family", "cgroup", "process", "listening_process", "closed_by", "closed_how",
    "outcome", "timewait_end", "cookie", "fastopen", "partial",
)  # fmt: skip
LIFE_SHAPE: Final = (
    "is_timewait", "is_released", "is_reported", "was_established", "syn_was_sent",
    "reset_received", "reset_sent", "is_sighted", "counted", "place",
)  # fmt: skip

_PROCESS: Final = CONNECTION_SHAPE.index("process")
_CGROUP: Final = CONNECTION_SHAPE.index("cgroup")
_IS_SIGHTED: Final = LIFE_SHAPE.index("is_sighted")
_IS_TIMEWAIT: Final = LIFE_SHAPE.index("is_timewait")

_connection_numbers: Final = attrgetter(*CONNECTION_NUMBERS)
_life_numbers: Final = attrgetter(*LIFE_NUMBERS)
_connection_shape: Final = attrgetter(*CONNECTION_SHAPE)
_life_shape: Final = attrgetter(*LIFE_SHAPE)
_OF_CONNECTION: Final = len(CONNECTION_NUMBERS)
_OF_LIFE: Final = _OF_CONNECTION + len(LIFE_NUMBERS)

HEAD: Final = struct.Struct("<III")
"""Numbers: of its shape, of the gaps until then, of the last snapshot that found it."""
ENDS: Final = struct.Struct("<I16sH16sH")
MAPPED: Final = struct.Struct("<I4sH4sH")
"""The same between two IPv4 addresses, whose prefix goes without saying."""
_NUMBER: Final = struct.Struct("<I")
SEEN_AT: Final = 8
"""Where a snapshot's number is in it."""
_ALWAYS: Final[dict[int | None, int]] = {None: 0, 0: 1}
"""What hardly any life is without, and none keeps."""
_PREFIX: Final = len(MAPPED_PREFIX)
_MOST_NUMBERS: Final = 250
"""Different ones; a life with more stays as it is."""
_OF_MOMENT: Final = 5
"""Numbers of each, its time first."""


class Shape(NamedTuple):
    """What many lives have in common.

    Attributes:
        connection: CONNECTION_SHAPE of it.
        life: LIFE_SHAPE of it.
        is_known: whether it is found by its ends.
        is_request: whether it is in its request socket.
        is_mapped: whether both addresses are IPv4 ones.
        spans: state and stack of each.
        moments: kind and stage of each.
        pattern: which of the different numbers each number is.
    """

    connection: tuple[Any, ...]
    life: tuple[Any, ...]
    is_known: bool
    is_request: bool
    is_mapped: bool
    spans: tuple[tuple[State, tuple[int, ...]], ...]
    moments: tuple[tuple[Kind, Stage], ...]
    pattern: bytes

    @property
    def state(self) -> State | None:
        """That it is in."""
        return self.spans[-1][0] if self.spans else None

    @property
    def is_timewait(self) -> bool:
        """Whether it is in a TIME_WAIT socket."""
        return bool(self.life[_IS_TIMEWAIT])

    @property
    def counted(self) -> State | None:
        """In which state it is counted."""
        counted: State | None = self.life[LIFE_SHAPE.index("counted")]
        return counted

    @property
    def is_sighted(self) -> bool:
        """Whether a snapshot told of it first."""
        return bool(self.life[_IS_SIGHTED])

    @property
    def life_was_released(self) -> bool:
        """Whether its TIME_WAIT socket was ended before its timer."""
        return bool(self.life[LIFE_SHAPE.index("is_released")])

    @property
    def role(self) -> Role:
        """Its role."""
        return Role(self.connection[CONNECTION_SHAPE.index("role")])

    @property
    def place(self) -> Place:
        """Where it is counted."""
        place: Place = self.life[LIFE_SHAPE.index("place")]
        return place

    @property
    def place_of_id(self) -> int | None:
        """Which of its numbers tells its id; None if none does."""
        return self._place_of(CONNECTION_NUMBERS.index("id"))

    @property
    def places_of_times(self) -> set[int]:
        """Which of its numbers are times."""
        names = (*CONNECTION_NUMBERS, *LIFE_NUMBERS)
        times = [number for number, name in enumerate(names) if name.endswith("_ns")]
        moments = _OF_LIFE + 2 * len(self.spans)
        times += range(_OF_LIFE, moments)
        times += range(moments, len(self.pattern), _OF_MOMENT)
        found = map(self._place_of, times)
        return {place for place in found if place is not None}

    def _place_of(self, value: int) -> int | None:
        place = self.pattern[value] - len(_ALWAYS)
        return None if place < 0 else place

    @property
    def has_process(self) -> bool:
        """Whether it is known who connected or accepted."""
        return self.connection[_PROCESS] is not None

    @property
    def has_cgroup(self) -> bool:
        """Whether its cgroup is known."""
        return bool(self.connection[_CGROUP])


_NO_SHAPE: Final = Shape((), (), False, False, False, (), (), b"")  # noqa: FBT003 - of nobody


class Frozen(NamedTuple):
    """What can be told of a frozen life at a glance."""

    shape: Shape
    ends: tuple[Any, ...]


class Freezer:
    """Freezes and thaws lives.

    Attributes:
        gaps: how often every life was marked as one that may lack a record: those that are frozen
            are marked when they are thawed.
    """

    def __init__(self) -> None:
        self.gaps = 0
        self._numbers: dict[Shape, int] = {}
        self._shapes: list[Shape] = []
        self._uses: list[int] = []
        self._free: list[int] = []

    def __len__(self) -> int:
        """How many shapes there are."""
        return len(self._numbers)

    def freeze(self, life: Life) -> bytes | None:
        """Returns a life as bytes; None if it has a second object, or too much to tell.

        It takes one use of its shape, which is the caller's to give back.
        """
        connection = life.connection
        sides = (connection.netns, *connection.local, *connection.remote)
        if life.other or life.ends != sides:
            return None
        values = _numbers_of(life)
        places = dict(_ALWAYS)
        pattern = [places.setdefault(value, len(places)) for value in values]
        if len(places) > _MOST_NUMBERS:
            return None
        is_mapped = _is_mapped(connection.local) and _is_mapped(connection.remote)
        shape = Shape(
            _connection_shape(connection),
            _life_shape(life),
            bool(life.keys),
            bool(life.request) and life.sock == life.request,
            is_mapped,
            tuple([(span.state, span.stack) for span in connection.spans]),
            tuple([moment[1:3] for moment in connection.moments]),
            bytes(pattern),
        )
        told = tuple(places)[len(_ALWAYS) :]
        try:
            numbers = _packing(len(told)).pack(*told)
            ends = _pack_ends(sides, is_mapped=is_mapped)
            return HEAD.pack(self._take(shape), self.gaps, life.seen_in) + ends + numbers
        except struct.error:  # a number that no kernel would tell
            return None

    def look(self, frozen: bytes) -> Frozen:
        """What can be told of a frozen life without thawing it."""
        (number,) = _NUMBER.unpack_from(frozen)
        shape = self._shapes[number]
        return Frozen(shape, _ends_of(shape, frozen))

    def thaw_with(self, sock: int, frozen: bytes, numbers: Sequence[int]) -> Life:
        """What thaw() returns, but for other numbers."""
        at = numbers_at(is_mapped=self._shapes[_NUMBER.unpack_from(frozen)[0]].is_mapped)
        return self.thaw(sock, frozen[:at] + _packing(len(numbers)).pack(*numbers))

    def thaw(self, sock: int, frozen: bytes) -> Life:
        """The life in an object, as it was; its shape is still in use."""
        number, gaps, snapshot = HEAD.unpack_from(frozen)
        shape = self._shapes[number]
        at = numbers_at(is_mapped=shape.is_mapped)
        places = (*_ALWAYS, *_packing((len(frozen) - at) // 8).unpack_from(frozen, at))
        values: list[Any] = [places[place] for place in shape.pattern]
        ends = _ends_of(shape, frozen)
        netns, local, local_port, remote, remote_port = ends
        connection = Connection(
            netns=netns,
            local=Endpoint(local, local_port),
            remote=Endpoint(remote, remote_port),
            spans=_spans(shape, values),
            moments=_moments(shape, values),
            **dict(zip(CONNECTION_NUMBERS, values, strict=False)),
            **dict(zip(CONNECTION_SHAPE, shape.connection, strict=True)),
        )
        life = Life(
            connection,
            sock=sock,
            ends=ends,
            seen_in=snapshot,
            **dict(zip(LIFE_NUMBERS, values[_OF_CONNECTION:], strict=False)),
            **dict(zip(LIFE_SHAPE, shape.life, strict=True)),
        )
        if shape.is_known:
            life.keys = keys_of(netns, connection.local, connection.remote)
        if gaps != self.gaps:
            lack(connection, Partial.GAP)
        return life

    def release(self, frozen: bytes) -> None:
        """A frozen life is frozen no more."""
        (number,) = _NUMBER.unpack_from(frozen)
        self.change_uses(number, -1)

    def shape_of(self, number: int) -> Shape:
        """The shape of the frozen lives that begin with this number."""
        return self._shapes[number]

    def change_uses(self, number: int, by: int) -> None:
        """So many more lives have a shape that at least one has already, or have it no more."""
        self._uses[number] += by
        if not self._uses[number]:
            del self._numbers[self._shapes[number]]
            self._shapes[number] = _NO_SHAPE
            self._free.append(number)

    def _take(self, shape: Shape) -> int:
        number = self._numbers.get(shape)
        if number is None:
            if self._free:
                number = self._free.pop()
            else:
                number = len(self._shapes)
                self._shapes.append(shape)
                self._uses.append(0)
            self._shapes[number] = shape
            self._numbers[shape] = number
        self._uses[number] += 1
        return number


def numbers_at(*, is_mapped: bool) -> int:
    """Where a frozen life has its numbers."""
    return HEAD.size + (MAPPED if is_mapped else ENDS).size


def shape_number(frozen: bytes) -> int:
    """The number of a frozen life's shape."""
    (number,) = _NUMBER.unpack_from(frozen)
    return int(number)


def seen_in(frozen: bytes) -> int:
    """The number of the last snapshot that found a frozen life."""
    (number,) = _NUMBER.unpack_from(frozen, SEEN_AT)
    return int(number)


def seen(frozen: bytes, snapshot: int) -> bytes:
    """The same life, found by a snapshot."""
    return frozen[:SEEN_AT] + _NUMBER.pack(snapshot) + frozen[SEEN_AT + _NUMBER.size :]


def _is_mapped(side: Endpoint) -> bool:
    return side.address.startswith(MAPPED_PREFIX)


def _pack_ends(ends: tuple[Any, ...], *, is_mapped: bool) -> bytes:
    if not is_mapped:
        return ENDS.pack(*ends)
    netns, local, local_port, remote, remote_port = ends
    return MAPPED.pack(netns, local[_PREFIX:], local_port, remote[_PREFIX:], remote_port)


def _ends_of(shape: Shape, frozen: bytes) -> tuple[Any, ...]:
    if not shape.is_mapped:
        return ENDS.unpack_from(frozen, HEAD.size)
    netns, local, local_port, remote, remote_port = MAPPED.unpack_from(frozen, HEAD.size)
    return netns, MAPPED_PREFIX + local, local_port, MAPPED_PREFIX + remote, remote_port


@cache
def _packing(numbers: int) -> struct.Struct:
    return struct.Struct(f"<{numbers}Q")


def _numbers_of(life: Life) -> list[int | None]:
    connection = life.connection
    values = [*_connection_numbers(connection), *_life_numbers(life)]
    for span in connection.spans:
        at_ns, duration_ns = span.at_ns, span.duration_ns
        # Its end is the next one's begin, and so no further number.
        end_ns = None if at_ns is None or duration_ns is None else at_ns + duration_ns
        values += (at_ns, end_ns)
    values += chain.from_iterable((moment.at_ns, *moment[3:]) for moment in connection.moments)
    return values


def _spans(shape: Shape, values: list[Any]) -> list[StateSpan]:
    numbers = iter(values[_OF_LIFE : _OF_LIFE + 2 * len(shape.spans)])
    return [
        StateSpan(state, at_ns, None if end_ns is None else end_ns - at_ns, stack)
        for (state, stack), at_ns, end_ns in zip(shape.spans, numbers, numbers, strict=True)
    ]


def _moments(shape: Shape, values: list[Any]) -> list[Moment]:
    numbers = iter(values[_OF_LIFE + 2 * len(shape.spans) :])
    return [
        Moment(at_ns, kind, stage, *rest)
        for (kind, stage), at_ns, *rest in zip(shape.moments, *[numbers] * _OF_MOMENT, strict=True)
    ]
