"""The same as an index, in one of numpy's arrays: the numbers of many keys are found at once.

A look into a dict of a million waits for memory four times, and for each key anew. Here the keys
that may lie at one place are a line of the CPU's cache, and those of many are fetched together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from tcptrace.lifecycle.index import Index

if TYPE_CHECKING:
    import numpy.typing as npt

    Words = npt.NDArray[np.uint64]
    Numbers = npt.NDArray[np.int64]
    Truths = npt.NDArray[np.bool_]

_LINE: Final = 64
"""How many bytes a line of the cache has."""
_WIDTH_BITS: Final = 3
_WIDTH: Final = 1 << _WIDTH_BITS
"""How many words that is."""
_FIRST_BITS: Final = 12
"""So many lines of keys are there at first: their number's logarithm. Memory is taken page by page,
as they are used; of many keys that come at once few want the same line."""
_AT_ONCE: Final = 2048
"""So many lines of keys are copied at once: what is between is not memory yet, but cache."""
_MULTIPLIER: Final = 0x9E3779B97F4A7C15
_FOLD: Final = 32
_WORD: Final = (1 << 64) - 1
_BYTE_NUMBERS: Final = np.uint64(0x0001020304050607)
"""Times a word whose byte number n is 1 and the others 0, this has n in its highest byte."""
_LAST_BYTE: Final = np.uint64(56)
_ZERO: Final = np.uint64(0)
_ONE: Final = np.uint64(1)


class Table(Index):
    """Numbers by numbers; none of them is 0, and no two keys have the same.

    What finds its line full is kept as an index keeps it: keys that were chosen so that they share
    a line are found one by one, in a dict.

    Args:
        most_in_line: it grows when it has more keys than that in a line, on average. Of 3.5, three
            in a hundred find their line full.
    """

    def __init__(self, most_in_line: float = 3.5) -> None:
        super().__init__()
        self._most_in_line = most_in_line
        self._count = 0
        self._shift = 64 - _FIRST_BITS
        self._take_lines(_new_lines(2 << _FIRST_BITS))

    def _take_lines(self, lines: Words) -> None:
        self._lines = lines
        """A line of keys, a line of their numbers, and so on; 0 where there is none."""
        self._words: Words = lines.reshape(-1)
        self._each_word = memoryview(self._words.data)
        """One by one these are four times as fast."""
        self._elsewhere: dict[int, int] = {}
        """How many keys of a line found no place in it."""
        self._have_others: Truths = np.zeros(len(lines) // 2, np.bool_)
        """Which lines these are: of a million this is a byte each, and hardly ever waited for."""

    def __len__(self) -> int:
        """How many numbers there are."""
        return self._count

    # One by one.

    def of(self, key: int) -> tuple[int, ...]:
        """The numbers of a key."""
        if not key:
            return ()
        begin = self._begin_of(key)
        keys = self._each_word[begin : begin + _WIDTH].tolist()
        found = super().of(key) if self._others else ()
        for _ in range(keys.count(key)):
            place = keys.index(key)
            keys[place] = 0
            found = (*found, self._each_word[begin + place + _WIDTH])
        return found

    def add(self, key: int, number: int) -> None:
        """A key has one more number."""
        self._make_room(1)
        self._put(key, number)

    def _put(self, key: int, number: int) -> None:
        begin = self._begin_of(key)
        keys = self._each_word[begin : begin + _WIDTH].tolist()
        if 0 in keys:
            place = begin + keys.index(0)
            self._each_word[place], self._each_word[place + _WIDTH] = key, number
        else:
            line = begin // (2 * _WIDTH)
            self._elsewhere[line] = self._elsewhere.get(line, 0) + 1
            self._have_others[line] = True
            super().add(key, number)

    def remove(self, key: int, number: int) -> None:
        """It has it no more.

        Raises:
            KeyError: nor did it before.
        """
        begin = self._begin_of(key)
        numbers = self._each_word[begin + _WIDTH : begin + 2 * _WIDTH].tolist()
        if number in numbers:
            place = begin + numbers.index(number)
            self._each_word[place] = self._each_word[place + _WIDTH] = 0
        else:
            self._remove_elsewhere(key, number)
        self._count -= 1

    def _remove_elsewhere(self, key: int, number: int) -> None:
        super().remove(key, number)
        line = self._begin_of(key) // (2 * _WIDTH)
        self._elsewhere[line] -= 1
        if not self._elsewhere[line]:
            del self._elsewhere[line]
            self._have_others[line] = False

    def _begin_of(self, key: int) -> int:
        """Where among all words its line begins."""
        mixed = key * _MULTIPLIER & _WORD
        mixed = (mixed ^ mixed >> _FOLD) * _MULTIPLIER & _WORD
        return (mixed >> self._shift) * 2 * _WIDTH

    # Many at once.

    def one_of_each(self, keys: Words) -> Words:
        """A number of each key; 0: it has none."""
        lines = self._lines_of(keys)
        which, places = self._find(lines, keys)
        found = np.zeros(len(keys), np.uint64)
        found[which] = self._words.take(places + _WIDTH)
        if self._others:
            maybe = self._have_others.take(lines >> 1)
            maybe &= found == _ZERO
            for place in np.flatnonzero(maybe).tolist():
                found[place] = next(iter(super().of(int(keys[place]))), 0)
        return found

    def add_each(self, keys: Words, numbers: Words) -> None:
        """Each key has one more number."""
        self._make_room(len(keys))
        while len(keys):
            lines = self._lines_of(keys)
            are_free = _each_line(self._lines.take(lines, axis=0) == _ZERO)
            places = _firsts(are_free)
            places += lines << _WIDTH_BITS
            is_full = are_free == _ZERO
            if is_full.any():
                for place in np.flatnonzero(is_full).tolist():
                    self._put(int(keys[place]), int(numbers[place]))
                keys, numbers, places = keys[~is_full], numbers[~is_full], places[~is_full]
            # Of several that find the same place one has it; the others look again.
            self._words[places + _WIDTH] = numbers
            has_place = self._words.take(places + _WIDTH) == numbers
            if has_place.all():
                self._words[places] = keys
                break
            self._words[places[has_place]] = keys[has_place]
            keys, numbers = keys[~has_place], numbers[~has_place]

    def remove_each(self, keys: Words, numbers: Words) -> None:
        """They have them no more.

        Raises:
            KeyError: nor had one of them before.
        """
        which, places = self._find(self._lines_of(keys) + 1, numbers)
        for place in _others(which, keys):
            self._remove_elsewhere(int(keys[place]), int(numbers[place]))
        self._words[places] = _ZERO
        self._words[places - _WIDTH] = _ZERO
        self._count -= len(keys)

    def change_each(self, keys: Words, numbers: Words, others: Words) -> None:
        """They have others instead.

        Raises:
            KeyError: one of them had not what it would have no more.
        """
        which, places = self._find(self._lines_of(keys) + 1, numbers)
        for place in _others(which, keys):
            super().remove(int(keys[place]), int(numbers[place]))
            super().add(int(keys[place]), int(others[place]))
        self._words[places] = others.take(which)

    def _find(self, lines: Numbers, words: Words) -> tuple[Numbers, Numbers]:
        """Which words are in their lines, and where among all words: the first place of each."""
        are_there = _each_line(self._lines.take(lines, axis=0) == words[:, None])
        which = np.flatnonzero(are_there)
        places = lines.take(which)
        places <<= _WIDTH_BITS
        places += _firsts(are_there.take(which))
        return which, places

    def _lines_of(self, keys: Words) -> Numbers:
        """The line of each key."""
        lines = _mixed(keys)
        lines >>= np.uint64(self._shift)
        lines <<= _ONE
        return lines.view(np.int64)

    # Growth.

    def _make_room(self, more: int) -> None:
        self._count += more
        while 2 * self._count > self._most_in_line * len(self._lines):
            self._grow()

    def _grow(self) -> None:
        """Each line becomes two neighbours: none of its keys looks for a place."""
        self._shift -= 1
        lines = self._lines.reshape(-1, 2, _WIDTH)
        grown = _new_lines(2 * len(self._lines)).reshape(-1, 2, 2, _WIDTH)
        for begin in range(0, len(lines), _AT_ONCE):
            some, new = lines[begin : begin + _AT_ONCE], grown[begin : begin + _AT_ONCE]
            is_second = _mixed(some[:, :1])
            is_second >>= np.uint64(self._shift)
            is_second &= _ONE
            np.multiply(some, is_second, out=new[:, 1])
            np.subtract(some, new[:, 1], out=new[:, 0])
        self._take_lines(grown.reshape(-1, _WIDTH))
        others, self._others = self._others, {}
        for key, found in others.items():
            for number in found if isinstance(found, tuple) else (found,):
                self._put(key, number)


def _each_line(truths: Truths) -> Words:
    """A number for each line, of whose words it is told what is true: a byte for each word."""
    return truths.view(np.uint64)[:, 0]


def _firsts(of_line: Words) -> Numbers:
    """The first word of each line of which it is true; one of them where it is of none."""
    firsts = of_line & (~of_line + _ONE)
    firsts *= _BYTE_NUMBERS
    firsts >>= _LAST_BYTE
    return firsts.view(np.int64)


def _mixed(keys: Words) -> Words:
    """Their hashes, of which the upper bits count; 0 stays 0.

    Addresses of objects lie at regular distances, which a multiplication alone would keep.
    """
    mixed = keys * np.uint64(_MULTIPLIER)
    mixed ^= mixed >> np.uint64(_FOLD)
    mixed *= np.uint64(_MULTIPLIER)
    return mixed


def _others(which: Numbers, keys: Words) -> list[int]:
    """The places of all other keys."""
    if len(which) == len(keys):
        return []
    are_left = np.ones(len(keys), np.bool_)
    are_left[which] = False
    others: list[int] = np.flatnonzero(are_left).tolist()
    return others


def _new_lines(number: int) -> Words:
    """So many lines, each a line of the cache: numpy's arrays may begin anywhere in one."""
    words = np.zeros((number + 2) * _WIDTH, np.uint64)
    begin = -words.__array_interface__["data"][0] % (2 * _LINE) // 8
    return words[begin : begin + number * _WIDTH].reshape(-1, _WIDTH)
