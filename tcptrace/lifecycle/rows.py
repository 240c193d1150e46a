"""Rows of bytes, each an object's, side by side and without gaps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Bytes = npt.NDArray[np.uint8]
    Numbers = npt.NDArray[np.int64]
    Words = npt.NDArray[np.uint64]

_SPARE_SHARE: Final = 4
"""The share of rows for which there is room beyond need."""
_LEAST_SPARE: Final = 64


class Rows:
    """Rows of one width, in places from 0 on.

    Args:
        width: how many bytes each has.

    Attributes:
        width: the same.
    """

    def __init__(self, width: int) -> None:
        self.width: Final = width
        self._count = 0
        self._rows: Bytes = np.empty((0, width), np.uint8)
        self._owners: Words = np.empty((0, 2), np.uint64)
        """Of each row its object, and which one it was that was added."""

    def __len__(self) -> int:
        """How many there are."""
        return self._count

    # One by one.

    def one(self, place: int) -> bytes:
        """The row there."""
        row: bytes = self._rows[place].tobytes()
        return row

    def add_one(self, sock: int, row: bytes, number: int) -> int:
        """One more object has a row; returns where."""
        place = self._count
        if place == len(self._rows):
            self._resize(place + 1)
        self._owners[place] = sock, number
        self._rows[place] = np.frombuffer(row, np.uint8)
        self._count += 1
        return place

    def remove_one(self, place: int) -> int:
        """A row is there no more: the last one takes its place.

        Returns:
            That one's object; 0 if it was the last itself.
        """
        self._count = last = self._count - 1
        moved = 0
        if place != last:
            self._owners[place] = self._owners[last]
            self._rows[place] = self._rows[last]
            moved = int(self._owners[place, 0])
        self._give_back()
        return moved

    def change_one(self, place: int, row: bytes) -> None:
        """The row there is another one now."""
        self._rows[place] = np.frombuffer(row, np.uint8)

    # Many at once.

    def at(self, places: Numbers) -> Bytes:
        """The rows there."""
        return self._rows.take(places, axis=0)

    def change(self, places: Numbers, rows: Bytes) -> None:
        """They are others now."""
        self._rows[places] = rows

    def owners(self, begin: int, end: int) -> tuple[Words, Words]:
        """From one place to another, the rows' objects, and their numbers."""
        socks, numbers = self._owners[begin : min(end, self._count)].T.copy()
        return socks, numbers

    def add(self, socks: Words, rows: Bytes, first: int) -> Numbers:
        """More objects have a row; returns where. They are numbered from `first` on."""
        begin, end = self._count, self._count + len(socks)
        if end > len(self._rows):
            self._resize(end)
        self._owners[begin:end, 0] = socks
        self._owners[begin:end, 1] = np.arange(first, first + len(socks))
        self._rows[begin:end] = rows
        self._count = end
        return np.arange(begin, end)

    def remove(self, places: Numbers) -> tuple[Words, Numbers, Numbers]:
        """Rows are there no more: the last ones take their places.

        Returns:
            Of those that were moved the objects, where they were, and where they are.
        """
        end = self._count - len(places)
        is_moved = np.ones(len(places), np.bool_)
        is_moved[places[places >= end] - end] = False
        before: Numbers = end + np.flatnonzero(is_moved)
        now = places[places < end]
        owners = self._owners.take(before, axis=0)
        self._owners[now] = owners
        self._rows[now] = self._rows.take(before, axis=0)
        self._count = end
        self._give_back()
        return owners[:, 0].copy(), before, now

    def _give_back(self) -> None:
        if len(self._rows) > 2 * (self._count + _LEAST_SPARE):
            self._resize(self._count)

    def _resize(self, count: int) -> None:
        room = count + max(_LEAST_SPARE, count // _SPARE_SHARE)
        # In place, since nobody else has a view of them: the kernel moves pages, not bytes.
        self._rows.resize((room, self.width), refcheck=False)
        self._owners.resize((room, 2), refcheck=False)
