"""Finds, among many records, the lives that begin and end there: whole lives, column by column.

Every record of a life is about one of its objects, and each use of an object begins with a record
of its birth, which names the object that it came from. So the records of an object, in their order,
fall apart into uses; and a life is a use that came from nowhere, with those that came from it. What
a use without a birth tells of, the tracker knows already, and must go on to tell.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from tcptrace.tcp import State
from tcptrace.wire import columns
from tcptrace.wire.events import Flag, Kind

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from tcptrace.wire.columns import Words

    Numbers = npt.NDArray[np.int64]
    Truths = npt.NDArray[np.bool_]

_GENERATIONS: Final = 3
"""Request, child, TIME_WAIT socket."""
_IMMEDIATE: Final = np.uint64(Flag.COOKIE | Flag.FASTOPEN)
"""A child without a request socket in the SYN queue: it came from its listener."""
_LOCAL_PORT: Final = np.uint64(0xFFFF)


class Alike(NamedTuple):
    """Lives of one shape: as many records each, which tell the same of the same objects.

    Attributes:
        what: by record, as columns.what() tells it.
        generations: by record, which of the life's objects it is about: 0, 1 or 2.
        lives: the numbers of the lives.
        first: where the records of each life begin in the window's order by life.
    """

    what: Words
    generations: Numbers
    lives: Numbers
    first: Numbers


class Window:
    """A window's records, put in order by life, and within each in the order of the ring.

    Args:
        batch: whole records end to end.

    Attributes:
        words: the records by life.
        what: what each of them tells, as columns.what() has it.
    """

    def __init__(self, batch: bytes) -> None:
        words = columns.words_of(batch)
        uses = _Uses(words)
        life_of_use, generation_of_use, is_whole_use = uses.lives()
        count = len(words)
        use: Numbers = np.empty(count, np.int64)
        use[uses.order] = uses.number
        self._places: Numbers = np.argsort(life_of_use[use], kind="stable")
        self._batch = words
        self.words: Words = words[self._places]
        self.what = columns.what(self.words)
        use = use[self._places]
        self._generation: Numbers = generation_of_use[use]
        ordered = life_of_use[use]
        is_first = _are_new(ordered)
        self._first: Numbers = np.flatnonzero(is_first)
        self._length: Numbers = np.diff(self._first, append=count)
        self._number: Numbers = np.cumsum(is_first) - 1
        bad: Truths = ~(is_whole_use[use] & self._have_ends())
        self._is_whole: Truths = np.bincount(self._number, bad, self.count) == 0
        self._last_uses = uses.last_of_each_object()
        self._last_lives: Numbers = np.searchsorted(
            ordered[self._first], life_of_use[self._last_uses[1]]
        )

    def left_to(self, taken: Truths) -> list[int]:
        """The objects whose last use here is that of one of these lives.

        Args:
            taken: by life, whether it is one of them.
        """
        socks: list[int] = self._last_uses[0][taken[self._last_lives]].tolist()
        return socks

    def are_last(self, socks: Words, lives: Numbers) -> Truths:
        """Whether the last use here of each object is that of its life."""
        places = np.searchsorted(self._last_uses[0], socks)
        is_last: Truths = self._last_lives[places] == lives
        return is_last

    def singles(self, kind: int, new_state: int) -> tuple[Numbers, Numbers]:
        """What is told of by one record only, of a kind and state: lives, and where it is."""
        lives = np.flatnonzero(self._length == 1)
        what = self.what[self._first[lives]]
        lives = lives[(columns.kinds(what) == kind) & (columns.new_states(what) == new_state)]
        return lives, self._first[lives]

    def left(self, taken: Truths) -> Words:
        """The records of all lives but these, by life."""
        return self.words[~taken[self._number]]

    def _have_ends(self) -> Truths:
        """Whether each record names the ends that its life's last record names.

        The first one of a connect() may not know its port, nor its address, yet.
        """
        last = (self._first + self._length - 1)[self._number]
        words, ports, netns = self.words, columns.ports(self.words), columns.netns(self.words)
        same: Truths = (ports == ports[last]) & (netns == netns[last])
        for word in (columns.LOCAL, columns.LOCAL + 1, columns.REMOTE, columns.REMOTE + 1):
            same &= words[:, word] == words[last, word]
        begun = self._first[columns.new_states(self.what[self._first]) == State.SYN_SENT]
        begun = begun[ports[begun] & _LOCAL_PORT == 0]
        its_last = last[begun]
        same[begun] = (ports[begun] == ports[its_last] & ~_LOCAL_PORT) & (
            netns[begun] == netns[its_last]
        )
        for word in (columns.REMOTE, columns.REMOTE + 1):
            same[begun] &= words[begun, word] == words[its_last, word]
        return same

    def shapes(self) -> Iterator[Alike]:
        """The lives all of whose objects are born here, by what is told of them."""
        lives = np.flatnonzero(self._is_whole)
        if not len(lives):
            return
        prints = self._prints()[lives]
        order = np.argsort(prints, kind="stable")
        lives, prints = lives[order], prints[order]
        begins = np.flatnonzero(_are_new(prints))
        for begin, end in zip(begins, [*begins[1:], len(lives)], strict=True):
            yield self._alike(lives[begin:end])

    def _prints(self) -> Words:
        """A number for each life that lives of the same shape share, and hardly any others."""
        position = np.arange(len(self._number)) - self._first[self._number]
        mixed: Words = self.what + self._generation.astype(np.uint64) * np.uint64(1 << 48)
        mixed = (mixed + position.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        mixed ^= mixed >> np.uint64(29)
        mixed *= position.astype(np.uint64) * np.uint64(0xBF58476D1CE4E5B9) + np.uint64(1)
        mixed ^= mixed >> np.uint64(32)
        return np.add.reduceat(mixed, self._first)

    def _alike(self, lives: Numbers) -> Alike:
        """Those of the lives that have the first one's shape: another print's are left out."""
        begin, length = self._first[lives[0]], self._length[lives[0]]
        lives = lives[self._length[lives] == length]
        what = self.what[begin : begin + length]
        generations = self._generation[begin : begin + length]
        first = self._first[lives]
        records = first[:, None] + np.arange(length)
        same = (self.what[records] == what).all(axis=1)
        same &= (self._generation[records] == generations).all(axis=1)
        return Alike(what, generations, lives[same], first[same])

    def rest(self, taken: Truths) -> bytes:
        """The records of all other lives, in the order of the ring.

        Args:
            taken: by life, whether it is to be left out.
        """
        left = np.zeros(len(self._places), np.bool_)
        left[self._places] = ~taken[self._number]
        return self._batch[left].tobytes()

    @property
    def last_ns(self) -> int:
        """The time of the last record."""
        return int(self._batch[-1, columns.AT_NS])

    @property
    def count(self) -> int:
        """How many lives have records here."""
        return len(self._first)


class _Uses:
    """The uses of objects in a batch, ordered by object, then by time.

    Attributes:
        order: the places of the records, by object and use.
        number: of the use that each of them, in that order, belongs to.
    """

    def __init__(self, words: Words) -> None:
        socks = words[:, columns.SOCK]
        self.order: Numbers = np.argsort(socks, kind="stable")
        ordered = socks[self.order]
        what = columns.what(words)[self.order]
        kinds = columns.kinds(what)
        is_connect = (kinds == Kind.STATE_CHANGED) & (columns.new_states(what) == State.SYN_SENT)
        self._has_origin: Truths = kinds == Kind.TIMEWAIT_ENTERED
        is_child = kinds == Kind.CHILD_CREATED
        self._has_origin |= is_child & (columns.flags(what) & _IMMEDIATE == 0)
        is_birth: Truths = is_connect | self._has_origin | is_child
        is_birth |= kinds == Kind.SYN_QUEUED
        is_birth &= ordered != 0
        is_other = _are_new(ordered)
        is_first: Truths = is_birth | is_other
        self.number: Numbers = np.cumsum(is_first) - 1
        self._first: Numbers = np.flatnonzero(is_first)
        self._is_born: Truths = is_birth[self._first]
        self._objects: Words = ordered[is_other]
        self._object: Numbers = (np.cumsum(is_other) - 1)[self._first]
        self._words = words

    def lives(self) -> tuple[Numbers, Numbers, Truths]:
        """By use: its life (the number of the use that it began in), generation, whether whole."""
        count = len(self._first)
        root: Numbers = np.arange(count)
        generation = np.zeros(count, np.int64)
        is_whole = self._is_born.copy()
        come = np.flatnonzero(self._has_origin[self._first])
        parent = self._parents(come)
        is_whole[come[parent < 0]] = False
        come, parent = come[parent >= 0], parent[parent >= 0]
        root[come] = parent
        generation[come] = 1
        for _ in range(_GENERATIONS - 2):
            generation[come] += generation[root[come]]
            root[come] = root[root[come]]
        slot = root * _GENERATIONS + np.minimum(generation, _GENERATIONS - 1)
        is_twin = np.bincount(slot)[slot] > 1
        is_whole &= ~is_twin & (root[root] == root)
        return root, generation, is_whole

    def last_of_each_object(self) -> tuple[Words, Numbers]:
        """The objects, and the number of the last use of each."""
        first: Numbers = np.flatnonzero(_are_new(self._object))
        return self._objects, np.append(first[1:], len(self._object)) - 1

    def _parents(self, uses: Numbers) -> Numbers:
        """The use of its origin that each came from: the last that began before it; -1: none."""
        places = self.order[self._first[uses]]
        origins = self._words[places, columns.ORIGIN]
        objects = np.searchsorted(self._objects, origins)
        objects[objects == len(self._objects)] = 0
        is_here = self._objects[objects] == origins
        size = len(self._words)
        begins = self._object * size + self.order[self._first]
        found: Numbers = np.searchsorted(begins, objects * size + places) - 1
        is_here &= (found >= 0) & (self._object[found] == objects)
        found[~is_here] = -1
        return found


def _are_new(ordered: npt.NDArray[Any]) -> Truths:
    """Whether each is another than the one before it."""
    are_new = np.empty(len(ordered), np.bool_)
    are_new[:1] = True
    np.not_equal(ordered[1:], ordered[:-1], out=are_new[1:])
    return are_new
