"""A synthetic stream of whole connections, as the probes would send it."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from tcptrace.tcp import MAPPED_PREFIX, State
from tcptrace.wire.decode import decode_batch
from tcptrace.wire.events import Kind, Record
from tcptrace.wire.layout import RECORD_FORMAT, RECORD_SIZE

if TYPE_CHECKING:
    from collections.abc import Iterator

LOOPBACK = MAPPED_PREFIX + bytes((127, 0, 0, 1))
PORT = 8080
EMPTY = next(decode_batch(bytes(RECORD_SIZE)))

_PACK = struct.Struct("<" + RECORD_FORMAT)


def connections(count: int, first: int = 0) -> bytes:
    """Both ends of so many connections, one after the other; the client closes first.

    Args:
        count: how many.
        first: the number of the first: a millisecond for each.

    Returns:
        Records end to end: 14 for each connection.
    """
    return b"".join(
        _PACK.pack(*record)
        for number in range(first, first + count)
        for record in _connection(number)
    )


def _change(of: Record, sock: int, old: State, new: State) -> Record:
    return of._replace(kind=Kind.STATE_CHANGED, sock=sock, old_state=old, new_state=new)


def _connection(number: int) -> list[Record]:
    begin = 1_000_000_000 + number * 1_000_000
    client, request, child, timewait = ((number * 4 + offset) << 6 for offset in range(1, 5))
    listener = 1 << 5
    port = 1024 + number % 60_000
    both = EMPTY._replace(local=LOOPBACK, remote=LOOPBACK, netns=1, family=2)
    ours = both._replace(local_port=port, remote_port=PORT, comm=b"client", pid=7)
    theirs = both._replace(local_port=PORT, remote_port=port, comm=b"server", pid=8)
    queued = theirs._replace(accept_queue_limit=128)
    records = [
        _change(ours, client, State.CLOSE, State.SYN_SENT),
        ours._replace(kind=Kind.CONNECT_SENT, sock=client),
        queued._replace(kind=Kind.SYN_QUEUED, sock=request, origin=listener),
        _change(ours, client, State.SYN_SENT, State.ESTABLISHED),
        queued._replace(kind=Kind.CHILD_CREATED, sock=child, origin=request),
        _change(theirs, child, State.SYN_RECV, State.ESTABLISHED),
        theirs._replace(kind=Kind.ACCEPTED, sock=child, new_state=State.ESTABLISHED),
        _change(ours, client, State.ESTABLISHED, State.FIN_WAIT1),
        _change(theirs, child, State.ESTABLISHED, State.CLOSE_WAIT),
        _change(theirs, child, State.CLOSE_WAIT, State.LAST_ACK),
        _change(ours, client, State.FIN_WAIT1, State.FIN_WAIT2),
        _change(ours, timewait, State.FIN_WAIT2, State.TIME_WAIT)._replace(
            kind=Kind.TIMEWAIT_ENTERED, origin=client
        ),
        _change(theirs, child, State.LAST_ACK, State.CLOSE),
        _change(ours, client, State.FIN_WAIT2, State.CLOSE),
    ]
    return [record._replace(at_ns=begin + step * 10_000) for step, record in enumerate(records)]


def opened(count: int, most: int) -> Iterator[bytes]:
    """Ends of connections that are not over, each with another address, batch by batch.

    Half of them are a server's that were accepted; the rest a client's in TIME_WAIT.

    Args:
        count: how many of them.
        most: records in a batch.
    """
    batch: list[bytes] = []
    for number in range(count):
        address = MAPPED_PREFIX + (10 << 24 | number).to_bytes(4, "big")
        steps = _connection(1_000_000 + number)
        chosen = (2, 4, 5, 6) if number % 2 else (0, 1, 3, 7, 10, 11, 13)
        for step in chosen:
            batch.append(_PACK.pack(*steps[step]._replace(remote=address)))
            if len(batch) == most:
                yield b"".join(batch)
                batch.clear()
    yield b"".join(batch)
