"""Frozen lives by the address of their object, in numpy's columns: many at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from tcptrace.lifecycle.frozen_rows import slices
from tcptrace.lifecycle.rows import Rows
from tcptrace.lifecycle.table import Table
from tcptrace.wire import columns

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    Bytes = npt.NDArray[np.uint8]
    Numbers = npt.NDArray[np.int64]
    Words = npt.NDArray[np.uint64]
    Truths = npt.NDArray[np.bool_]

_PLACE_BITS: Final = 32
_PLACE: Final = (1 << _PLACE_BITS) - 1
_SLICE: Final = 4096
"""So many lives at a time are copied for one who looks at all."""


class Found(NamedTuple):
    """Some frozen lives of one width.

    Attributes:
        which: where their objects are among those that were looked at.
        rows: what each was frozen to.
        where: where each of these is, until one is removed.
    """

    which: Numbers
    rows: Bytes
    where: Words

    def some(self, places: Numbers) -> Found:
        """Those in these places."""
        return Found(
            self.which.take(places), self.rows.take(places, axis=0), self.where.take(places)
        )


class FrozenColumns:
    """What frozen_lives.FrozenLives is, for many at once. No object's address is 0.

    Attributes:
        by_sides: their objects, by a digest of their two sides.
    """

    def __init__(self) -> None:
        # Two that are as full would grow in the same window.
        self.by_sides = Table(most_in_line=2)
        self._where = Table()
        """By object: the width of what its life was frozen to, and the place among those rows."""
        self._rows: dict[int, Rows] = {}
        """By their width."""
        self._added = 0

    def __len__(self) -> int:
        """How many there are."""
        return len(self._where)

    # One by one.

    def get(self, sock: int) -> bytes | None:
        """What the life in an object was frozen to; None without one."""
        for where in self._where.of(sock):
            return self._rows[where >> _PLACE_BITS].one(where & _PLACE)
        return None

    def __getitem__(self, sock: int) -> bytes:
        """The same of one that is there."""
        frozen = self.get(sock)
        if frozen is None:
            raise KeyError(sock)
        return frozen

    def __setitem__(self, sock: int, frozen: bytes) -> None:
        """The life in an object is frozen."""
        width = len(frozen)
        for where in self._where.of(sock):
            if where >> _PLACE_BITS == width:
                self._rows[width].change_one(where & _PLACE, frozen)
                return
            del self[sock]
        place = self._rows_of(width).add_one(sock, frozen, self._added)
        self._added += 1
        self._where.add(sock, width << _PLACE_BITS | place)

    def __delitem__(self, sock: int) -> None:
        """There is none any more."""
        where = next(iter(self._where.of(sock)), None)
        if where is None:
            raise KeyError(sock)
        self._where.remove(sock, where)
        self._remove_from(self._rows[where >> _PLACE_BITS], np.array([where & _PLACE]))

    def each(self) -> Iterator[tuple[int, bytes]]:
        """Every object with what it has, in any order."""
        for rows in self._rows.values():
            places = rows.places()
            for begin in range(0, len(places), _SLICE):
                some = places[begin : begin + _SLICE]
                socks, _ = rows.owners(some)
                yield from zip(socks.tolist(), slices(rows.at(some)), strict=True)

    def oldest_first(self) -> list[int]:
        """Every object, the one first whose life was frozen first."""
        owners = [rows.owners(rows.places()) for rows in self._rows.values()]
        if not owners:
            return []
        socks, numbers = map(np.concatenate, zip(*owners, strict=True))
        oldest: list[int] = socks[np.argsort(numbers, kind="stable")].tolist()
        return oldest

    # Many at once.

    def look(self, socks: Words) -> Iterator[Found]:
        """What the lives in some of these objects were frozen to, those of one width together."""
        where = self._where.one_of_each(socks)
        for which, rows, places in self._find(where):
            yield Found(which, rows.at(places), where.take(which))

    def are_there(self, socks: Words) -> Truths:
        """Whether each object has one."""
        are_there: Truths = self._where.one_of_each(socks) != np.uint64(0)
        return are_there

    def are_free(self, digests: Words) -> Truths:
        """Whether each digest is none of theirs, and no other one's here."""
        are_free: Truths = self.by_sides.one_of_each(digests) == np.uint64(0)
        ordered = np.sort(digests)
        twins = ordered[1:][ordered[1:] == ordered[:-1]]
        if len(twins):
            are_free &= ~columns.are_among(digests, twins)
        return are_free

    def add(self, socks: Words, rows: Bytes, digests: Words) -> None:
        """Lives come frozen.

        Args:
            socks: their objects, in which no others are.
            rows: what each was frozen to.
            digests: columns.digests() of their sides.
        """
        self._put(socks, rows)
        self.by_sides.add_each(digests, socks)

    def remove(self, socks: Words, where: Words) -> None:
        """Lives are there no more; those who find them by their sides forget them too.

        Args:
            socks: their objects.
            where: what each was frozen to is, as look() found.
        """
        self._where.remove_each(socks, where)
        for _, rows, places in self._find(where):
            self._remove_from(rows, places)

    def change(self, socks: Words, rows: Bytes) -> None:
        """Lives are frozen to something else that is as wide."""
        for which, among, places in self._find(self._where.one_of_each(socks)):
            among.change(places, rows.take(which, axis=0))

    def _find(self, where: Words) -> Iterator[tuple[Numbers, Rows, Numbers]]:
        widths = where >> np.uint64(_PLACE_BITS)
        for width in columns.different(widths):
            if width:
                which = np.flatnonzero(widths == np.uint64(width))
                places = where.take(which) & np.uint64(_PLACE)
                yield which, self._rows[width], places.view(np.int64)

    def _put(self, socks: Words, rows: Bytes) -> None:
        width = rows.shape[1]
        places = self._rows_of(width).add(socks, rows, self._added)
        self._added += len(socks)
        self._where.add_each(socks, _where(width, places))

    def _remove_from(self, rows: Rows, places: Numbers) -> None:
        rows.remove(places)
        if not rows:
            del self._rows[rows.width]
        elif rows.is_sparse:
            moved, before, now = rows.close_up()
            where = (_where(rows.width, places) for places in (before, now))
            self._where.change_each(moved, *where)

    def _rows_of(self, width: int) -> Rows:
        if width not in self._rows:
            self._rows[width] = Rows(width)
        return self._rows[width]


def _where(width: int, places: Numbers) -> Words:
    return (places + (width << _PLACE_BITS)).view(np.uint64)
