"""Lives in TIME_WAIT, many at once: each is frozen as it comes, and dropped as its timer runs out.

Nothing else happens to most of them. Whatever does, thaws them.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from tcptrace.lifecycle import life as rules
from tcptrace.lifecycle.connection import Connection, Partial, Role, StateSpan
from tcptrace.lifecycle.ends import SIDES, digests_of, keys_of
from tcptrace.lifecycle.freezing import ENDS, HEAD, MAPPED
from tcptrace.lifecycle.life import Life
from tcptrace.tcp import Endpoint, State
from tcptrace.wire import columns
from tcptrace.wire.events import Kind
from tcptrace.wire.layout import OFFSETS

if TYPE_CHECKING:
    import numpy.typing as npt

    from tcptrace.lifecycle.counts import Place
    from tcptrace.lifecycle.registry import Registry
    from tcptrace.lifecycle.scales import Scales
    from tcptrace.lifecycle.tally import Tally
    from tcptrace.wire.columns import Words

    Bytes = npt.NDArray[np.uint8]
    Numbers = npt.NDArray[np.int64]
    Truths = npt.NDArray[np.bool_]

_TIME_WAIT: Final = State.TIME_WAIT
_CLOSE: Final = State.CLOSE
_SIDES: Final = (("<u8", 0), ("<u8", 8), ("<u2", 16), ("<u8", 18), ("<u8", 26), ("<u2", 34))
"""The numbers that ends.SIDES consists of, and where they are."""
_IN_RECORD: Final = (
    OFFSETS["local"],
    OFFSETS["local"] + 8,
    OFFSETS["local_port"],
    OFFSETS["remote"],
    OFFSETS["remote"] + 8,
    OFFSETS["remote_port"],
)
_MAPPED_SIDES: Final = (("<u4", 12), ("<u2", 16), ("<u4", 30), ("<u2", 34))
"""What is kept of it of two IPv4 addresses."""


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
    socks: list[int]
    established_ns: Numbers
    timewait_ns: Numbers
    born_ns: Numbers
    role: Role
    place: Place

    def some(self, which: Numbers) -> Entries:
        """Those in these places."""
        return self._replace(
            records=self.records.take(which, axis=0),
            socks=[self.socks[place] for place in which.tolist()],
            established_ns=self.established_ns.take(which),
            timewait_ns=self.timewait_ns.take(which),
            born_ns=self.born_ns.take(which),
        )

    def numbers(self, ids: Numbers) -> tuple[Numbers, ...]:
        """What is kept of each, in the order in which _life takes it."""
        return (ids, self.established_ns, self.timewait_ns, self.born_ns)


class Resting:
    """Puts lives that were told of whole to rest, and ends those that rest.

    Args:
        registry: where they are.
        tally: hears of their ends.
        scales: of its histograms.
    """

    def __init__(self, registry: Registry, tally: Tally, scales: Scales) -> None:
        self._registry = registry
        self._tally = tally
        self._scales = scales

    def begin(self, entries: Entries) -> None:
        """Lives go on in TIME_WAIT; whatever was in their objects is over."""
        ends = self._registry.objects.ends
        digests = digests_of(_slices(_sides_of(entries.records)))
        if not ends.are_free(digests):
            free = np.array(ends.free_among(digests))
            self._begin_each(entries.some(np.flatnonzero(~free)))
            entries = entries.some(np.flatnonzero(free))
            digests = [digest for digest, is_free in zip(digests, free, strict=True) if is_free]
        is_mapped = _are_mapped(entries.records)
        if is_mapped.all() or not is_mapped.any():
            self._begin_alike(entries, digests, is_mapped=bool(is_mapped.any()))
        else:
            self._begin_each(entries)

    def _begin_alike(self, entries: Entries, digests: list[int], *, is_mapped: bool) -> None:
        """Lives whose digests are free."""
        if not entries.socks:
            return
        ids = self._take_ids(entries)
        rows = self._freeze(entries, ids, is_mapped=is_mapped)
        objects = self._registry.objects
        objects.lives.update(zip(entries.socks, rows, strict=True))
        objects.ends.hold(digests, entries.socks)
        place = entries.place
        place.by_state[_TIME_WAIT] += len(rows)
        place.roles[entries.role] += len(rows)
        place.time_waits.update(zip(ids.tolist(), entries.timewait_ns.tolist(), strict=True))

    def _take_ids(self, entries: Entries) -> Numbers:
        first = self._registry.take_ids(len(entries.socks))
        return np.arange(first, first + len(entries.socks))

    def _begin_each(self, entries: Entries) -> None:
        ids = self._take_ids(entries)
        for place, sock in enumerate(entries.socks):
            record = entries.records[place : place + 1]
            numbers = [int(column[place]) for column in entries.numbers(ids)]
            life = _life(record, entries.role, numbers)
            self._registry.rest(life, sock, int(entries.timewait_ns[place]))

    def _freeze(self, entries: Entries, ids: Numbers, *, is_mapped: bool) -> list[bytes]:
        """All of them as the freezer would freeze one."""
        freezer = self._registry.objects.freezer
        marks = [2, 3, 4, 5]
        sample = _life(entries.records[:1], entries.role, marks)
        connection = sample.connection
        sample.keys = keys_of(connection.netns, connection.local, connection.remote)
        sample.counted, sample.place = _TIME_WAIT, entries.place
        frozen = freezer.freeze(sample)
        if frozen is None:
            raise AssertionError("a life in TIME_WAIT is fit to be frozen")
        (number, _, _) = HEAD.unpack_from(frozen)
        freezer.change_uses(number, len(ids) - 1)
        rows: Bytes = np.empty((len(ids), len(frozen)), np.uint8)
        rows[:] = np.frombuffer(frozen, np.uint8)
        _write_sides(rows, _sides_of(entries.records), is_mapped=is_mapped)
        begin = HEAD.size + (MAPPED if is_mapped else ENDS).size
        kept = np.frombuffer(frozen, np.uint64, offset=begin).tolist()
        told = entries.numbers(ids)
        for place, mark in enumerate(kept):
            _column(rows, "<i8", begin + 8 * place)[:] = told[marks.index(mark)]
        return _slices(rows)

    def expire(self, records: Words) -> Truths:
        """TIME_WAIT sockets are gone by their timers.

        Args:
            records: TIMEWAIT_KILLED, of different objects, of which nothing else is told.

        Returns:
            Which of the lives were frozen, and are over now; the others are not touched.
        """
        lives = self._registry.objects.lives
        socks = records[:, columns.SOCK].tolist()
        frozen = [lives.get(sock) for sock in socks]
        is_over = np.zeros(len(socks), np.bool_)
        by_shape: dict[bytes, list[int]] = {}
        for place, row in enumerate(frozen):
            if isinstance(row, bytes):
                by_shape.setdefault(row[:4], []).append(place)
        for places in by_shape.values():
            rows = [row for place in places if isinstance(row := frozen[place], bytes)]
            which = np.array(places)
            is_over[which] = self._expire_alike(records[which], rows)
        return is_over

    def _expire_alike(self, records: Words, frozen: list[bytes]) -> Truths:
        """The same for lives of one shape."""
        objects = self._registry.objects
        freezer = objects.freezer
        (number, _, _) = HEAD.unpack_from(frozen[0])
        shape = freezer.shape_of(number)
        id_at, entry_at = shape.place_of_id, shape.place_of_entry
        if not shape.is_at_rest or id_at is None or entry_at is None:
            return np.zeros(len(frozen), np.bool_)
        rows = np.frombuffer(b"".join(frozen), np.uint8).reshape(len(frozen), -1)
        sides = _sides_of(records)
        expected = rows.copy()
        _write_sides(expected, sides, is_mapped=shape.is_mapped)
        netns = rows[:, HEAD.size : HEAD.size + 4].copy().view(np.uint32)[:, 0]
        is_same: Truths = (expected == rows).all(axis=1) & (netns == columns.netns(records))
        is_same &= _are_mapped(records) == shape.is_mapped
        begin = HEAD.size + (MAPPED if shape.is_mapped else ENDS).size
        numbers = rows[is_same, begin:].copy().view(np.uint64)
        gaps = rows[is_same, 4:8].copy().view(np.uint32)[:, 0]
        count = len(numbers)
        if not count:
            return is_same
        self._count_ends(records[is_same], numbers[:, entry_at].astype(np.int64))
        missing = int((gaps != freezer.gaps).sum())
        if missing:
            self._tally.partial[Partial.GAP] += missing
        socks = records[is_same, columns.SOCK].tolist()
        objects.remove_all(socks)
        if shape.is_known:
            objects.ends.drop_all(digests_of(_slices(sides[is_same])), socks)
        place = shape.place
        place.by_state[_TIME_WAIT] -= count
        place.roles[shape.role] -= count
        deque(map(place.time_waits.__delitem__, numbers[:, id_at].tolist()), maxlen=0)
        freezer.change_uses(number, -count)
        return is_same

    def _count_ends(self, records: Words, entered_ns: Numbers) -> None:
        tally = self._tally
        tally.events[Kind.TIMEWAIT_KILLED] += len(records)
        tally.heard.update(columns.different(columns.netns(records)))
        tally.transitions_of(_TIME_WAIT)[_CLOSE] += len(records)
        at_ns = records[:, columns.AT_NS].astype(np.int64)
        self._scales.add(tally.state_durations[_TIME_WAIT], at_ns - entered_ns)


def _life(record: Words, role: Role, numbers: list[int]) -> Life:
    """What is left of a life in TIME_WAIT.

    Args:
        record: any that names its ends.
        role: its role.
        numbers: its id, when it was established, entered TIME_WAIT, and began.
    """
    life_id, established_ns, timewait_ns, born_ns = numbers
    local, local_port, remote, remote_port = SIDES.unpack(_sides_of(record).tobytes())
    netns = int(columns.netns(record)[0])
    family = int(columns.families(columns.what(record))[0])
    connection = Connection(
        life_id,
        role,
        family,
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


def _sides_of(records: Words) -> Bytes:
    """Each record's sides as ends.SIDES packs them."""
    raw = np.ascontiguousarray(records).view(np.uint8)
    sides: Bytes = np.empty((len(records), SIDES.size), np.uint8)
    for (code, at), offset in zip(_SIDES, _IN_RECORD, strict=True):
        _column(sides, code, at)[:] = _column(raw, code, offset)
    return sides


def _column(rows: Bytes, code: str, at: int) -> npt.NDArray[Any]:
    """The numbers that lie at one place of each row."""
    return np.ndarray(len(rows), code, rows.data, at, rows.strides[:1])


def _are_mapped(records: Words) -> Truths:
    """Whether both addresses that each record names are IPv4 ones."""
    return columns.are_ipv4(records) & columns.are_ipv4(records, columns.LOCAL)


def _write_sides(rows: Bytes, sides: Bytes, *, is_mapped: bool) -> None:
    """Writes sides where frozen lives have theirs, behind the namespace."""
    at = HEAD.size + 4
    for code, offset in _MAPPED_SIDES if is_mapped else _SIDES:
        _column(rows, code, at)[:] = _column(sides, code, offset)
        at += int(code[-1])


def _slices(rows: Bytes) -> list[bytes]:
    """Each row as bytes."""
    rows = np.ascontiguousarray(rows)
    slices: list[bytes] = rows.view(f"V{rows.shape[1]}").ravel().tolist()
    return slices
