"""Finds, among many records, the lives that begin and end there: whole lives, column by column.

Every record of a life is about one of its objects, and each use of an object begins with a record
of its birth, which names the object that it came from. So the records of an object, in their order,
fall apart into uses; and a life is a use that came from nowhere, with those that came from it. What
a use without a birth tells of, the tracker knows already, and must go on to tell.
"""

from __future__ import annotations

from functools import cached_property
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
_GENERATION_BITS: Final = 2
_GENERATION: Final = (1 << _GENERATION_BITS) - 1
# As wide as what they are compared with: numpy would widen that.
_IMMEDIATE: Final = np.uint8(Flag.COOKIE | Flag.FASTOPEN)
"""A child without a request socket in the SYN queue: it came from its listener."""
_STATE_CHANGED: Final = np.uint8(Kind.STATE_CHANGED)
_SYN_QUEUED: Final = np.uint8(Kind.SYN_QUEUED)
_CHILD_CREATED: Final = np.uint8(Kind.CHILD_CREATED)
_TIMEWAIT_ENTERED: Final = np.uint8(Kind.TIMEWAIT_ENTERED)
_SYN_SENT: Final = np.uint8(State.SYN_SENT)
_ZERO: Final = np.uint8(0)
_NONE: Final = np.empty(0, np.int64)
_ODD: Final = 0x9E3779B97F4A7C15


class Alike(NamedTuple):
    """Lives of one shape: as many records each, which tell the same of the same objects.

    Attributes:
        what: by record, as columns.what() tells it.
        generations: by record, which of the life's objects it is about: 0, 1 or 2.
        identity: what else all of them have in common, if they must.
        lives: the numbers of the lives.
        first: where the records of each life begin in the window's order by life.
    """

    what: Words
    generations: Numbers
    identity: bytes
    lives: Numbers
    first: Numbers

    @property
    def key(self) -> bytes:
        """The same for all lives of this shape, and for no others."""
        return self.what.tobytes() + self.generations.tobytes() + self.identity


class Window:
    """A window's records, put in order by life, and within each in the order of the ring.

    Args:
        batch: whole records end to end.
        are_same: whether lives of one shape must also be of the same processes, listener, cgroup,
            namespace, and kind of addresses.

    Attributes:
        words: the records by life.
        what: what each of them tells, as columns.what() has it.
        places: where each of them lies in the ring's order.
        number: of the life that it belongs to.
    """

    def __init__(self, batch: bytes | memoryview, *, are_same: bool = False) -> None:
        words = columns.words_of(batch)
        what = columns.what(words)
        uses = _Uses(words, what)
        life_of_use, generation_of_use, is_whole_use = uses.lives()
        codes: Numbers = np.empty(len(words), np.int64)
        code_of_use = life_of_use << _GENERATION_BITS | generation_of_use
        codes[uses.order] = code_of_use.take(uses.number)
        self.places: Numbers = _order_of(codes >> _GENERATION_BITS)
        self._batch = words
        self.words: Words = words.take(self.places, axis=0)
        self.what = what.take(self.places)
        codes = codes.take(self.places)
        self._generation: Numbers = codes & _GENERATION
        ordered = codes >> _GENERATION_BITS
        is_first = _are_new(ordered)
        self._first: Numbers = np.flatnonzero(is_first)
        self._length: Numbers = np.diff(self._first, append=len(words))
        self.number: Numbers = np.cumsum(is_first) - 1
        roots = ordered.take(self._first)
        is_alike: Truths = np.ones(self.count, np.bool_)
        is_alike[self.number.take(self._strays())] = False
        broken = life_of_use.take(np.flatnonzero(~is_whole_use))
        is_alike[np.searchsorted(roots, broken)] = False
        is_born = uses.is_born.take(roots)
        self._is_whole = is_alike & is_born
        self._is_continued = is_alike & ~is_born
        self._identities = self._find_identities() if are_same else []
        self._last_uses = uses.last_of_each_object()
        self._last_lives: Numbers = np.searchsorted(roots, life_of_use.take(self._last_uses[1]))
        self._is_last_born: Truths = uses.is_born.take(self._last_uses[1])

    def is_in_time(self, latest_ns: int) -> bool:
        """Whether no record is later than that: the time from one to another is a number then."""
        return bool(self._batch[:, columns.AT_NS].max() <= np.uint64(latest_ns))

    @property
    def objects(self) -> Words:
        """Those that the records are about."""
        return self._last_uses[0]

    def first_about(self, sock: int) -> tuple[int, bytes]:
        """The first record about an object: the number of its life, and the record."""
        (about,) = np.nonzero(self.words[:, columns.SOCK] == np.uint64(sock))
        first = about[self.places.take(about).argmin()]
        return int(self.number[first]), self.words[first].tobytes()

    def left_to(self, taken: Truths) -> tuple[Words, Truths]:
        """The objects whose last use here is that of one of these lives.

        Args:
            taken: by life, whether it is one of them.

        Returns:
            They, in ascending order, and whether that use of each began here.
        """
        are = taken[self._last_lives]
        return self._last_uses[0][are], self._is_last_born[are]

    def are_last(self, socks: Words, lives: Numbers) -> Truths:
        """Whether the last use here of each object is that of its life."""
        places = np.searchsorted(self._last_uses[0], socks)
        is_last: Truths = self._last_lives[places] == lives
        return is_last

    @cached_property
    def digests(self) -> Words:
        """By life, columns.digests() of its last record."""
        return columns.digests(self._last)

    @cached_property
    def ends(self) -> Words:
        """By life, columns.ends_print() of its last record."""
        return columns.mix(self.digests, columns.netns(self._last))

    @cached_property
    def _last(self) -> Words:
        """By life, its last record."""
        return self.words.take(self._first + self._length - 1, axis=0)

    @property
    def shared_ends(self) -> Words:
        """Those of several lives."""
        ordered = np.sort(self.ends)
        shared: Words = ordered[1:][ordered[1:] == ordered[:-1]]
        return shared

    def singles(self, kind: int, new_state: int) -> tuple[Numbers, Numbers]:
        """What is told of by one record only, of a kind and state: lives, and where it is."""
        lives = np.flatnonzero(self._length == 1)
        what = self.what.take(self._first.take(lives))
        is_one = columns.are_any(columns.kinds(what), kind)
        is_one &= columns.are_any(columns.new_states(what), new_state)
        lives = lives[is_one]
        return lives, self._first.take(lives)

    def left(self, taken: Truths) -> Words:
        """The records of all lives but these, by life."""
        return self.words.take(self._left(taken), axis=0)

    def _strays(self) -> Numbers:
        """The places of records that name other ends than the one before, of the same life.

        The first one of a connect() may not know its port, nor its address, yet.
        """
        strays: Numbers = np.flatnonzero(columns.ends_change(self.words)) + 1
        strays = strays[self.number.take(strays) == self.number.take(strays - 1)]
        before = strays - 1
        is_connect = columns.new_states(self.what.take(before)) == _SYN_SENT
        is_connect &= self._first.take(self.number.take(before)) == before
        maybe = np.flatnonzero(is_connect)
        if len(maybe):
            begun = self.words.take(before.take(maybe), axis=0)
            next_ones = self.words.take(strays.take(maybe), axis=0)
            is_same = columns.have_same_remote(begun, next_ones)
            is_connect[maybe] = is_same & ~columns.have_local_port(begun)
        left: Numbers = strays[~is_connect]
        return left

    def shapes(self, fewest: int) -> Iterator[Alike]:
        """The lives all of whose objects are born here, by what is told of them.

        Args:
            fewest: what fewer of them than that share is left out.
        """
        return self._by_print(np.flatnonzero(self._is_whole), fewest)

    def continued(self, fewest: int) -> Iterator[Alike]:
        """The same of those that were born before, in an object of which this is the first use."""
        return self._by_print(np.flatnonzero(self._is_continued), fewest)

    def _by_print(self, lives: Numbers, fewest: int) -> Iterator[Alike]:
        if not len(lives):
            return
        prints = self._prints.take(lives)
        order = np.argsort(prints, kind="stable")
        lives, prints = lives.take(order), prints.take(order)
        begins = np.flatnonzero(_are_new(prints))
        for begin, end in zip(begins, [*begins[1:], len(lives)], strict=True):
            if end - begin >= fewest:
                yield self._alike(lives[begin:end])

    @cached_property
    def _prints(self) -> Words:
        """A number for each life that lives of the same shape share, and hardly any others."""
        position = np.arange(len(self.number)) - self._first.repeat(self._length)
        unsigned = position.view(np.uint64)
        mixed: Words = self.what + (self._generation.view(np.uint64) << np.uint64(48))
        for number, identities in enumerate(self._identities):
            mixed += identities * np.uint64(_ODD >> number | 1)
        mixed += unsigned
        mixed += np.uint64(1)
        mixed *= np.uint64(_ODD)
        mixed ^= mixed >> np.uint64(29)
        mixed *= unsigned * np.uint64(0xBF58476D1CE4E5B9) + np.uint64(1)
        mixed ^= mixed >> np.uint64(32)
        return np.add.reduceat(mixed, self._first)

    def _alike(self, lives: Numbers) -> Alike:
        """Those of the lives that have the first one's shape: another print's are left out."""
        begin, length = self._first[lives[0]], self._length[lives[0]]
        lives = lives[self._length.take(lives) == length]
        what = self.what[begin : begin + length]
        generations = self._generation[begin : begin + length]
        first = self._first.take(lives)
        records = first[:, None] + np.arange(length)
        differ = self.what.take(records) != what
        differ |= self._generation.take(records) != generations
        identity = b""
        for identities in self._identities:
            one = identities[begin : begin + length]
            differ |= identities.take(records) != one
            identity += one.tobytes()
        if differ.any():
            same = ~differ.any(axis=1)
            lives, first = lives[same], first[same]
        return Alike(what, generations, identity, lives, first)

    def _find_identities(self) -> list[Words]:
        """By record, what makes lives the same; its listener at a life's first one."""
        origins = np.zeros(len(self.words), np.uint64)
        origins[self._first] = self.words[:, columns.ORIGIN][self._first]
        return [*columns.identities(self.words), origins]

    def rest(self, taken: Truths) -> bytes:
        """The records of all other lives, in the order of the ring.

        Args:
            taken: by life, whether it is to be left out.
        """
        left = self.places.take(self._left(taken))
        left.sort()
        return self._batch.take(left, axis=0).tobytes()

    def _left(self, taken: Truths) -> Numbers:
        """Where the records of all lives but these are."""
        if taken.all():
            return _NONE
        return np.flatnonzero(~taken.take(self.number))

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
        is_born: by use, whether it begins with a birth.
    """

    def __init__(self, words: Words, what: Words) -> None:
        socks = np.ascontiguousarray(words[:, columns.SOCK])
        self.order: Numbers = np.argsort(socks, kind="stable")
        ordered = socks.take(self.order)
        kinds = np.ascontiguousarray(columns.kinds(what))
        is_connect = kinds == _STATE_CHANGED
        is_connect &= columns.new_states(what) == _SYN_SENT
        is_child = kinds == _CHILD_CREATED
        self._has_origin: Truths = kinds == _TIMEWAIT_ENTERED
        self._has_origin |= is_child & (columns.flags(what) & _IMMEDIATE == _ZERO)
        is_birth = is_connect | self._has_origin | is_child | (kinds == _SYN_QUEUED)
        is_birth &= socks != np.uint64(0)
        is_birth = is_birth.take(self.order)
        is_other = _are_new(ordered)
        is_first: Truths = is_birth | is_other
        self.number: Numbers = np.cumsum(is_first) - 1
        begins = np.flatnonzero(is_first)
        self._first: Numbers = self.order.take(begins)
        """By use, the place of its first record."""
        self.is_born: Truths = is_birth.take(begins)
        self._objects: Words = ordered[is_other]
        self._object: Numbers = np.cumsum(is_other.take(begins)) - 1
        self._words = words

    def lives(self) -> tuple[Numbers, Numbers, Truths]:
        """By use: its life (the number of the use that it began in), generation, whether whole.

        That of a life that was born before, in the first use of its object here, is whole as well.
        """
        count = len(self._first)
        root: Numbers = np.arange(count)
        generation = np.zeros(count, np.int64)
        is_whole = np.ones(count, np.bool_)
        come = np.flatnonzero(self._has_origin.take(self._first))
        parent = self._parents(come)
        is_whole[come[parent < 0]] = False
        come, parent = come[parent >= 0], parent[parent >= 0]
        root[come] = parent
        generation[come] = 1
        for _ in range(_GENERATIONS - 2):
            generation[come] += generation.take(root.take(come))
            root[come] = root.take(root.take(come))
        slot = root * _GENERATIONS + np.minimum(generation, _GENERATIONS - 1)
        is_twin = np.bincount(slot).take(slot) > 1
        is_whole &= ~is_twin & (root.take(root) == root)
        return root, generation, is_whole

    def last_of_each_object(self) -> tuple[Words, Numbers]:
        """The objects, and the number of the last use of each."""
        first: Numbers = np.flatnonzero(_are_new(self._object))
        return self._objects, np.append(first[1:], len(self._object)) - 1

    def _parents(self, uses: Numbers) -> Numbers:
        """The use of its origin that each came from: the last that began before it; -1: none."""
        places = self._first.take(uses)
        origins = self._words[:, columns.ORIGIN][places]
        objects = np.searchsorted(self._objects, origins)
        objects[objects == len(self._objects)] = 0
        is_here = self._objects.take(objects) == origins
        size = len(self._words)
        begins = self._object * size + self._first
        found: Numbers = np.searchsorted(begins, objects * size + places) - 1
        is_here &= (found >= 0) & (self._object.take(found) == objects)
        found[~is_here] = -1
        return found


def _order_of(numbers: Numbers) -> Numbers:
    """As np.argsort() has it; few numbers take a third of the time if they are short."""
    if len(numbers) < 1 << 16:
        numbers = numbers.astype(np.uint16)
    return np.argsort(numbers, kind="stable")


def _are_new(ordered: npt.NDArray[Any]) -> Truths:
    """Whether each is another than the one before it."""
    are_new = np.empty(len(ordered), np.bool_)
    are_new[:1] = True
    np.not_equal(ordered[1:], ordered[:-1], out=are_new[1:])
    return are_new
