"""Lives that come to TIME_WAIT within a window, many at once: they are frozen as they come."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from tcptrace.lifecycle import life as rules
from tcptrace.lifecycle.connection import Connection, Partial, Role, StateSpan
from tcptrace.lifecycle.ends import keys_of
from tcptrace.lifecycle.frozen_rows import are_mapped, lack, rows_of, timed
from tcptrace.lifecycle.life import Life
from tcptrace.lifecycle.shapes import time_of
from tcptrace.tcp import Endpoint, State
from tcptrace.wire import columns
from tcptrace.wire.decode import decode_batch

if TYPE_CHECKING:
    import numpy.typing as npt

    from tcptrace.lifecycle.counts import Place
    from tcptrace.lifecycle.frozen_columns import FrozenColumns
    from tcptrace.lifecycle.registry import Registry
    from tcptrace.wire.columns import Words

    Numbers = npt.NDArray[np.int64]

_TIME_WAIT: Final = State.TIME_WAIT


class Entries(NamedTuple):
    """Lives of one namespace and family that enter TIME_WAIT alike.

    Attributes:
        records: of each one that names its ends.
        socks: their TIME_WAIT sockets.
        established_ns: when each was established.
        timewait_ns: when it entered TIME_WAIT.
        born_ns: when it began.
        role: theirs.
        place: where they are counted.
    """

    records: Words
    socks: Words
    established_ns: Numbers
    timewait_ns: Numbers
    born_ns: Numbers
    role: Role
    place: Place

    def some(self, which: Numbers) -> Entries:
        """Those in these places."""
        return self._replace(
            records=self.records.take(which, axis=0),
            socks=self.socks.take(which),
            established_ns=self.established_ns.take(which),
            timewait_ns=self.timewait_ns.take(which),
            born_ns=self.born_ns.take(which),
        )

    def numbers(self, ids: Numbers) -> tuple[Numbers, ...]:
        """What is kept of each, in the order in which _life() takes it."""
        return (ids, self.established_ns, self.timewait_ns, self.born_ns)


class Resting:
    """Puts lives that were told of whole to rest.

    Args:
        registry: where they are.
        frozen: what they are frozen to there.
    """

    def __init__(self, registry: Registry, frozen: FrozenColumns) -> None:
        self._registry = registry
        self._frozen = frozen

    def begin(self, entries: Entries) -> None:
        """Lives go on in TIME_WAIT; whatever was in their objects is over."""
        digests = columns.digests(entries.records)
        are_free = self._frozen.are_free(digests)
        if not are_free.all():
            self._begin_each(entries.some(np.flatnonzero(~are_free)))
            entries = entries.some(np.flatnonzero(are_free))
            digests = digests[are_free]
        is_mapped = are_mapped(entries.records)
        if is_mapped.any() and not is_mapped.all():
            self._begin_each(entries)
        elif len(entries.socks):
            self._begin_alike(entries, digests)

    def _begin_alike(self, entries: Entries, digests: Words) -> None:
        """Lives whose ends are free, frozen as the freezer would freeze each."""
        ids = self._take_ids(entries)
        one = _life(entries.records[:1], entries.role, [time_of(place) for place in range(4)])
        connection = one.connection
        one.keys = keys_of(connection.netns, connection.local, connection.remote)
        one.counted, one.place = _TIME_WAIT, entries.place
        freezer = self._registry.objects.freezer
        told = timed(entries.numbers(ids).__getitem__)
        rows = rows_of(freezer, one, entries.records, told)
        lack(rows, freezer, entries.born_ns <= self._registry.lossy_until_ns)
        self._frozen.add(entries.socks, rows, digests)
        entered_ns = entries.timewait_ns.tolist()
        entries.place.add(_TIME_WAIT, entries.role, ids.tolist(), entered_ns)

    def _take_ids(self, entries: Entries) -> Numbers:
        first = self._registry.take_ids(len(entries.socks))
        return np.arange(first, first + len(entries.socks))

    def _begin_each(self, entries: Entries) -> None:
        ids = self._take_ids(entries)
        for place, sock in enumerate(entries.socks.tolist()):
            record = entries.records[place : place + 1]
            numbers = [int(column[place]) for column in entries.numbers(ids)]
            life = _life(record, entries.role, numbers)
            if life.born_ns <= self._registry.lossy_until_ns:
                rules.lack(life.connection, Partial.GAP)
            self._registry.rest(life, sock, int(entries.timewait_ns[place]))


def _life(record: Words, role: Role, numbers: list[int]) -> Life:
    """What is left of a life in TIME_WAIT.

    Args:
        record: any that names its ends.
        role: its role.
        numbers: its id, when it was established, entered TIME_WAIT, and began.
    """
    life_id, established_ns, timewait_ns, born_ns = numbers
    told = next(decode_batch(record.tobytes()))
    netns, local, local_port = told.netns, told.local, told.local_port
    remote, remote_port = told.remote, told.remote_port
    connection = Connection(
        life_id,
        role,
        told.family,
        netns,
        Endpoint(local, local_port),
        Endpoint(remote, remote_port),
        spans=[StateSpan(_TIME_WAIT, timewait_ns)],
        established_at_ns=established_ns,
        timewait_at_ns=timewait_ns,
    )
    life = Life(
        connection,
        ends=(netns, local, local_port, remote, remote_port),
        is_timewait=True,
        is_reported=True,
        was_established=True,
        syn_was_sent=True,
        born_ns=born_ns,
    )
    rules.finish_fins(life)
    return life
