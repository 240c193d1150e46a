"""Whole lives in TIME_WAIT, many at once: kept frozen with all that is known, until it runs out."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from tcptrace.lifecycle import marks
from tcptrace.lifecycle.freezing import HEAD, numbers_at
from tcptrace.lifecycle.frozen_rows import groups_of, have_ends, rows_of
from tcptrace.lifecycle.marks import Columns
from tcptrace.lifecycle.prototypes import ending_of
from tcptrace.wire import columns
from tcptrace.wire.decode import decode_batch

if TYPE_CHECKING:
    import numpy.typing as npt

    from tcptrace.lifecycle.connection import Connection
    from tcptrace.lifecycle.freezing import Shape
    from tcptrace.lifecycle.frozen_columns import FrozenColumns
    from tcptrace.lifecycle.life import Life
    from tcptrace.lifecycle.registry import Registry
    from tcptrace.wire.columns import Words

    Bytes = npt.NDArray[np.uint8]
    Numbers = npt.NDArray[np.int64]
    Expired = tuple[Connection, Columns, Numbers]
    """What lives of one shape come to, its numbers being marks; what these stand for; and which of
    the records that were looked at end them."""

_NETNS: Final = slice(HEAD.size, HEAD.size + 4)
_MOST_ENDINGS: Final = 1024


class _Ending(NamedTuple):
    """What lives of a shape come to."""

    prototype: Connection | None
    """Its numbers being marks; None if more depends on."""
    times: list[int]
    """Which of the frozen numbers are times, in their order."""


class Kept:
    """Freezes and ends such lives.

    Args:
        registry: where they are.
        frozen: what they are frozen to there.
    """

    def __init__(self, registry: Registry, frozen: FrozenColumns) -> None:
        self._freezer = registry.objects.freezer
        self._frozen = frozen
        self._endings: dict[tuple[Shape, bytes], _Ending] = {}

    def begin(self, life: Life, told: Columns, records: Words, socks: Words) -> None:
        """Lives go on in TIME_WAIT; nothing is in their objects, or known by their ends.

        Args:
            life: what each of them comes to, its numbers being marks.
            told: what these stand for.
            records: of each one that names its ends.
            socks: their objects.
        """
        rows = rows_of(self._freezer, life, records, told.known)
        self._frozen.add(socks, rows, columns.digests(records))

    def end(self, records: Words) -> list[Expired]:
        """TIME_WAIT sockets are gone by their timers.

        Args:
            records: TIMEWAIT_KILLED, of different objects.

        Returns:
            The lives that were frozen, and are over now; the others are not touched.
        """
        ended = []
        over = []
        socks = np.ascontiguousarray(records[:, columns.SOCK])
        for found in self._frozen.look(socks):
            for some in groups_of(found.rows):
                each = found.some(some)
                one = self._end_alike(records.take(each.which, axis=0), each.rows)
                if one is not None:
                    prototype, numbers, mine = one
                    which = each.which.take(mine)
                    ended.append((prototype, numbers, which))
                    over.append((socks.take(which), each.where.take(mine)))
        if over:
            self._frozen.remove(*map(np.concatenate, zip(*over, strict=True)))
        return ended

    def _end_alike(self, records: Words, rows: Bytes) -> Expired | None:
        """The same for lives of one shape and namespace, but that they are still there."""
        freezer = self._freezer
        number, gaps, _ = HEAD.unpack_from(rows[0])
        shape = freezer.shape_of(number)
        is_same = have_ends(rows, shape, records)
        if gaps != freezer.gaps or not is_same.any():
            return None
        one = int(np.argmax(is_same))
        numbers = rows[:, numbers_at(is_mapped=shape.is_mapped) :].copy().view(np.int64)
        ending = self._ending(shape, rows[one].tobytes(), records[one])
        times = np.column_stack(
            [numbers[:, ending.times], records.view(np.int64)[:, columns.AT_NS]]
        )
        is_same &= (times[:, 1:] >= times[:, :-1]).all(axis=1)
        mine = np.flatnonzero(is_same)
        if ending.prototype is None or not len(mine):
            return None
        if shape.is_known:
            over = records.take(mine, axis=0)
            socks = np.ascontiguousarray(over[:, columns.SOCK])
            self._frozen.by_sides.remove_each(columns.digests(over), socks)
        freezer.change_uses(number, -len(mine))
        numbers = numbers.take(mine, axis=0)
        meant = Columns(times.take(mine, axis=0), lambda place: numbers[:, place])
        return ending.prototype, meant, mine

    def _ending(self, shape: Shape, row: bytes, record: Words) -> _Ending:
        """What lives of a shape and namespace come to, learnt from one of them."""
        key = (shape, row[_NETNS])
        if key not in self._endings:
            if len(self._endings) >= _MOST_ENDINGS:
                self._endings.clear()
            begin = numbers_at(is_mapped=shape.is_mapped)
            numbers = np.frombuffer(row, np.uint64, offset=begin).tolist()
            times = sorted(shape.places_of_times, key=numbers.__getitem__)
            prototype = None
            if len(times) < marks.MOST_TIMES:
                told = [marks.value(place) for place in range(len(numbers))]
                for rank, place in enumerate(times):
                    told[place] = marks.time(rank)
                (killed,) = decode_batch(record.tobytes())
                packed = struct.pack(f"<{len(told)}Q", *told)
                life = self._freezer.thaw(killed.sock, row[:begin] + packed)
                prototype = ending_of(life, killed._replace(at_ns=marks.time(len(times))))
            self._endings[key] = _Ending(prototype, times)
        return self._endings[key]
