"""A synthetic stream of whole connections, as the probes would send it.

Both ends are of this host; the client closes first. One connection begins each ms.
"""

from __future__ import annotations

import random
import struct
from typing import TYPE_CHECKING

from tcptrace.tcp import MAPPED_PREFIX, State
from tcptrace.wire.decode import decode_batch
from tcptrace.wire.events import Kind, Record
from tcptrace.wire.layout import OFFSETS, RECORD_FORMAT, RECORD_SIZE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

LOOPBACK = MAPPED_PREFIX + bytes((127, 0, 0, 1))
PORT = 8080
BEGAN_NS = 1_000_000_000
AT_ONCE = 8
"""How many connections are open at any time, unless told otherwise."""
EACH_NS = 1_000_000
_STEP_NS = 10_000
_TIME_WAIT_NS = 60_000_000_000
_PORTS = 60_000
_LISTENER = 1 << 5
_PACK = struct.Struct("<" + RECORD_FORMAT)
_EMPTY = next(decode_batch(bytes(RECORD_SIZE)))
_BOTH = _EMPTY._replace(local=LOOPBACK, remote=LOOPBACK, netns=1, family=2)
_OURS = _BOTH._replace(remote_port=PORT, comm=b"client", pid=7)
_THEIRS = _BOTH._replace(local_port=PORT, comm=b"server", pid=8)
_QUEUED = _THEIRS._replace(accept_queue_limit=128)
_CLIENT, _REQUEST, _CHILD, _TIMEWAIT = range(1, 5)
"""Objects of a connection."""


def _change(of: Record, sock: int, old: State, new: State) -> Record:
    return of._replace(kind=Kind.STATE_CHANGED, sock=sock, old_state=old, new_state=new)


_OPENING = (
    _change(_OURS, _CLIENT, State.CLOSE, State.SYN_SENT),
    _OURS._replace(kind=Kind.CONNECT_SENT, sock=_CLIENT),
    _QUEUED._replace(kind=Kind.SYN_QUEUED, sock=_REQUEST, origin=_LISTENER),
    _change(_OURS, _CLIENT, State.SYN_SENT, State.ESTABLISHED),
    _QUEUED._replace(kind=Kind.CHILD_CREATED, sock=_CHILD, origin=_REQUEST),
    _change(_THEIRS, _CHILD, State.SYN_RECV, State.ESTABLISHED),
    _THEIRS._replace(kind=Kind.ACCEPTED, sock=_CHILD, new_state=State.ESTABLISHED),
)
_CLOSING = (
    _change(_OURS, _CLIENT, State.ESTABLISHED, State.FIN_WAIT1),
    _change(_THEIRS, _CHILD, State.ESTABLISHED, State.CLOSE_WAIT),
    _change(_THEIRS, _CHILD, State.CLOSE_WAIT, State.LAST_ACK),
    _change(_OURS, _CLIENT, State.FIN_WAIT1, State.FIN_WAIT2),
    _change(_OURS, _TIMEWAIT, State.FIN_WAIT2, State.TIME_WAIT)._replace(
        kind=Kind.TIMEWAIT_ENTERED, origin=_CLIENT
    ),
    _change(_THEIRS, _CHILD, State.LAST_ACK, State.CLOSE),
    _change(_OURS, _CLIENT, State.FIN_WAIT2, State.CLOSE),
)
_ENDING = (_OURS._replace(kind=Kind.TIMEWAIT_KILLED, sock=_TIMEWAIT, new_state=State.TIME_WAIT),)
EVENTS = len(_OPENING) + len(_CLOSING)
"""Of a connection, until both of its ends are over but for TIME_WAIT."""


class _Records:
    """Some records of a connection, packed but for what differs from one to the next."""

    def __init__(self, records: Sequence[Record]) -> None:
        self._packed = b"".join(_PACK.pack(*record) for record in records)
        self._objects = [(one.sock, one.origin) for one in records]
        self._ports = []
        for number, one in enumerate(records):
            side = "remote" if one.local_port == PORT else "local"
            at = number * RECORD_SIZE
            self._ports.append((at + OFFSETS[side] + 12, at + OFFSETS[side + "_port"]))

    def of(self, number: int, at_ns: int) -> bytearray:
        """The records of a connection, from that time on."""
        told = bytearray(self._packed)
        host, port = divmod(number, _PORTS)
        first = number * 4
        for step, (sock, origin) in enumerate(self._objects):
            came_from = origin if origin in (0, _LISTENER) else (first + origin) << 6
            times = (at_ns + step * _STEP_NS, (first + sock) << 6, came_from)
            struct.pack_into("<3Q", told, step * RECORD_SIZE, *times)
        for address_at, port_at in self._ports:
            struct.pack_into(">I", told, address_at, 0x7F00_0001 + host)
            struct.pack_into("<H", told, port_at, 1024 + port)
        return told


_OPEN, _CLOSE, _END = _Records(_OPENING), _Records(_CLOSING), _Records(_ENDING)


def opened(numbers: range) -> Iterator[bytearray]:
    """Connections that stay open."""
    for number in numbers:
        yield _OPEN.of(number, BEGAN_NS + number * EACH_NS)


def replaced(numbers: range, among: list[int]) -> Iterator[bytearray]:
    """Connections that open, each in the place of another one, which ends with its TIME_WAIT.

    Args:
        numbers: those that open.
        among: those that are open; kept up to date. Which of them ends is chance.
    """
    chance = random.Random(1)  # noqa: S311 - no secret
    for number in numbers:
        at_ns = BEGAN_NS + number * EACH_NS
        place = chance.randrange(len(among))
        ending, among[place] = among[place], number
        yield _OPEN.of(number, at_ns)
        yield _CLOSE.of(ending, at_ns + EACH_NS // 2)
        yield _END.of(ending, at_ns + EACH_NS * 3 // 4)


def whole(numbers: range) -> Iterator[bytearray]:
    """Whole connections, AT_ONCE at a time, with their TIME_WAIT."""
    for number in range(numbers.start, numbers.stop + AT_ONCE):
        at_ns = BEGAN_NS + number * EACH_NS
        ending = number - AT_ONCE
        if number in numbers:
            yield _OPEN.of(number, at_ns)
        if ending in numbers:
            yield _CLOSE.of(ending, at_ns + EACH_NS // 2)
            yield _END.of(ending, at_ns + EACH_NS * 3 // 4)


def lives(count: int) -> bytes:
    """So many connections, and a minute later the end of each one's TIME_WAIT."""
    late_ns = BEGAN_NS + count * EACH_NS + _TIME_WAIT_NS
    ends = (_END.of(number, late_ns + number * EACH_NS) for number in range(count))
    return connections(count) + b"".join(ends)


def connections(count: int) -> bytes:
    """So many connections, AT_ONCE at a time, each of EVENTS records; their TIME_WAIT goes on."""
    parts = []
    for number in range(count + AT_ONCE):
        at_ns = BEGAN_NS + number * EACH_NS
        if number < count:
            parts.append(_OPEN.of(number, at_ns))
        if number >= AT_ONCE:
            parts.append(_CLOSE.of(number - AT_ONCE, at_ns + EACH_NS // 2))
    return b"".join(parts)
