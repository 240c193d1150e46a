"""Rows of bytes, each an object's, side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from typing import Any

    import numpy.typing as npt

    Bytes = npt.NDArray[np.uint8]
    Numbers = npt.NDArray[np.int64]
    Words = npt.NDArray[np.uint64]

_SPARE_SHARE: Final = 4
"""The share of rows for which there is room beyond need."""
_LEAST_SPARE: Final = 64


class Rows:
    """Rows of one width, in places from 0 on.

    One that is removed leaves a gap, which is filled by one of the next that are added: the CPU has
    its memory at hand.

    Args:
        width: how many bytes each has.

    Attributes:
        width: the same.
    """

    def __init__(self, width: int) -> None:
        self.width: Final = width
        self._end = 0
        """The place behind the last one that ever had a row since there were no gaps."""
        self._rows: Bytes = np.empty((0, width), np.uint8)
        self._owners: Words = np.empty((0, 2), np.uint64)
        """Of each row its object, and which one it was that was added."""
        self._gaps: Numbers = np.empty(0, np.int64)
        """Their places, and behind them room for more."""
        self._gap_count = 0

    def __len__(self) -> int:
        """How many there are."""
        return self._end - self._gap_count

    # One by one.

    def one(self, place: int) -> bytes:
        """The row there."""
        row: bytes = self._rows[place].tobytes()
        return row

    def add_one(self, sock: int, row: bytes, number: int) -> int:
        """One more object has a row; returns where."""
        (place,) = self._take_places(1).tolist()
        self._owners[place] = sock, number
        self._rows[place] = np.frombuffer(row, np.uint8)
        return int(place)

    def change_one(self, place: int, row: bytes) -> None:
        """The row there is another one now."""
        self._rows[place] = np.frombuffer(row, np.uint8)

    # Many at once.

    def at(self, places: Numbers) -> Bytes:
        """The rows there."""
        return self._rows.take(places, axis=0)

    def change(self, places: Numbers, rows: Bytes) -> None:
        """They are others now."""
        self._write(places, rows)

    def places(self) -> Numbers:
        """Where there is one."""
        are = np.ones(self._end, np.bool_)
        are[self._gaps[: self._gap_count]] = False
        places: Numbers = np.flatnonzero(are)
        return places

    def owners(self, places: Numbers) -> tuple[Words, Words]:
        """Of the rows there the objects, and their numbers."""
        socks, numbers = self._owners.take(places, axis=0).T.copy()
        return socks, numbers

    def add(self, socks: Words, rows: Bytes, first: int) -> Numbers:
        """More objects have a row; returns where. They are numbered from `first` on."""
        places = self._take_places(len(socks))
        owners = np.empty((len(socks), 2), np.uint64)
        owners[:, 0] = socks
        owners[:, 1] = np.arange(first, first + len(socks))
        _whole(self._owners)[places] = _whole(owners)
        self._write(places, rows)
        return places

    def _write(self, places: Numbers, rows: Bytes) -> None:
        if rows.shape[1] != self.width:
            raise ValueError(rows.shape)
        _whole(self._rows)[places] = _whole(np.ascontiguousarray(rows))

    def remove(self, places: Numbers) -> None:
        """Rows are there no more."""
        count = self._gap_count + len(places)
        if count > len(self._gaps):
            self._gaps.resize(_with_spare(count), refcheck=False)
        self._gaps[self._gap_count : count] = places
        self._gap_count = count

    @property
    def is_sparse(self) -> bool:
        """Whether there are more gaps than rows."""
        return self._gap_count > len(self) + _LEAST_SPARE

    def close_up(self) -> tuple[Words, Numbers, Numbers]:
        """The last rows fill the gaps; memory that nobody needs is given back.

        Returns:
            Of those that were moved the objects, where they were, and where they are.
        """
        count = len(self)
        places, gaps = self.places(), self._gaps[: self._gap_count]
        before, now = places[places >= count], gaps[gaps < count]
        owners = self._owners.take(before, axis=0)
        _whole(self._owners)[now] = _whole(owners)
        _whole(self._rows)[now] = _whole(self._rows.take(before, axis=0))
        self._end, self._gap_count = count, 0
        self._gaps = np.empty(0, np.int64)
        self._resize(count)
        return owners[:, 0].copy(), before, now

    def _take_places(self, count: int) -> Numbers:
        """So many places without a row: the gaps that were made last, then new ones."""
        filled = min(count, self._gap_count)
        self._gap_count -= filled
        gaps = self._gaps[self._gap_count : self._gap_count + filled]
        begin, self._end = self._end, self._end + count - filled
        if self._end > len(self._rows):
            self._resize(self._end)
        return np.concatenate([gaps, np.arange(begin, self._end)])

    def _resize(self, count: int) -> None:
        room = _with_spare(count)
        # In place, since nobody else has a view of them: the kernel moves pages, not bytes.
        self._rows.resize((room, self.width), refcheck=False)
        self._owners.resize((room, 2), refcheck=False)


def _with_spare(count: int) -> int:
    return count + max(_LEAST_SPARE, count // _SPARE_SHARE)


def _whole(rows: npt.NDArray[Any]) -> npt.NDArray[np.void]:
    """Each row as one: numpy takes three times as long to put them elsewhere word by word."""
    return rows.view(f"V{rows.strides[0]}")[:, 0]
