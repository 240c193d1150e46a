"""Finds the lives that are told at once: those of which nothing depends on any other life.

A window's whole lives of a known shape (whole, prototypes), alone between their ends or linked to
the other one of them (pairs), are taken out; so are those whose TIME_WAIT runs out and of which
nothing else is told (kept). All other records go to the tracker, in the order of the ring: between
them the ids are passed that the lives taken out have, and whatever they find in their objects ends.
"""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from tcptrace.lifecycle.bulk import (
    FEWEST_LIVES,
    FEWEST_RECORDS,
    MOST_ODD,
    MOST_SHAPES,
    odd_places,
    see_queues,
)
from tcptrace.lifecycle.frozen_columns import FrozenColumns
from tcptrace.lifecycle.kept import Kept
from tcptrace.lifecycle.pairs import NOT_SIMPLE, Candidates
from tcptrace.lifecycle.prototypes import prototype_of
from tcptrace.lifecycle.whole import Window
from tcptrace.tcp import State
from tcptrace.wire import columns
from tcptrace.wire.decode import BLANK, decode_batch, encode
from tcptrace.wire.events import Kind
from tcptrace.wire.layout import RECORD_SIZE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy.typing as npt

    from tcptrace.lifecycle.connection import Connection
    from tcptrace.lifecycle.marks import Columns
    from tcptrace.lifecycle.prototypes import Prototype
    from tcptrace.lifecycle.registry import Registry
    from tcptrace.lifecycle.tracker import Tracker
    from tcptrace.lifecycle.whole import Alike
    from tcptrace.wire.columns import Words
    from tcptrace.wire.events import Record

    Numbers = npt.NDArray[np.int64]
    Truths = npt.NDArray[np.bool_]

_MOST_TOLD: Final = 4096
"""So many connections that the tracker may know are remembered beside those that it does know."""
_Step = tuple[int, int, "Record | None"]
"""A place in the ring's order, and what is there: a record, after so many lives that were taken; or
an object that one of those comes into."""


class Closed(NamedTuple):
    """Lives of one shape whose full sockets are gone.

    Attributes:
        connection: what each of them comes to, its numbers being marks.
        numbers: what these stand for.
        pairs: how many connections are whole with these, both ends being here.
    """

    connection: Connection
    numbers: Columns
    pairs: int


class Over(NamedTuple):
    """Lives of one shape that are over.

    Attributes:
        connection: what each of them comes to, its numbers being marks.
        numbers: what these stand for.
        records: one of each that names its ends.
        places: where in the ring's order each was over.
    """

    connection: Connection
    numbers: Columns
    records: Words
    places: Numbers


class Told(NamedTuple):
    """What a window came to, but for what the tracker told of by itself."""

    closed: list[Closed]
    over: list[Over]


class _Whole(NamedTuple):
    """Whole lives of one shape: where they are in a window, and the life at their other end."""

    prototype: Prototype
    lives: Numbers
    first: Numbers
    peers: Numbers

    def those(self, chosen: Numbers) -> _Whole:
        """Some of them."""
        prototype, *each = self
        return _Whole(prototype, *(one.take(chosen) for one in each))


class Plain:
    """Takes such lives out of the stream of a tracker without an observer.

    Args:
        tracker: gets the rest.
        at: called with the place in the ring's order before the tracker is told of it; with -1
            where it is told of many.
    """

    def __init__(self, tracker: Tracker, at: Callable[[int], None]) -> None:
        self._tracker = tracker
        self._registry: Registry = tracker.registry
        self._at = at
        self._frozen = FrozenColumns()
        self._registry.objects.keep_in(self._frozen)
        self._kept = Kept(self._registry, self._frozen)
        self._prototypes: dict[tuple[bytes, object], Prototype | None] = {}
        self._told: set[int] = set()
        """columns.pair_print() of every connection that the tracker knows, and of others."""

    def feed(self, batch: bytes) -> Iterator[Told]:
        """Takes whole records in the order of the ring; yields what each part of them came to."""
        words = columns.words_of(batch)
        odd = sorted({*odd_places(words).tolist(), *self._first_at_listeners(words)})
        if len(odd) > MOST_ODD:
            self._feed_all(batch)
            return
        begin = 0
        for place in odd:
            end = place * RECORD_SIZE
            yield self._feed_plain(batch[begin:end])
            begin = end + RECORD_SIZE
            self._feed_all(batch[end:begin])
        yield self._feed_plain(batch[begin:])

    def _is_lossy(self, batch: bytes) -> bool:
        """Whether a life that begins here may lack a record."""
        began_ns = columns.words_of(batch)[:, columns.AT_NS].min()
        return self._registry.lossy_until_ns >= int(began_ns)

    def _first_at_listeners(self, words: Words) -> list[int]:
        """The places of records that tell of a listener first: others may depend on it."""
        queued = np.flatnonzero(
            columns.are_any(columns.kinds(columns.what(words)), Kind.SYN_QUEUED)
        )
        origins = words[:, columns.ORIGIN][queued]
        find = self._registry.listeners.find
        unknown = [one for one in columns.different(origins) if find(one) is None]
        return [int(queued[np.argmax(origins == np.uint64(one))]) for one in unknown]

    def _feed_all(self, batch: bytes) -> None:
        self._remember(columns.words_of(batch))
        self._at(-1)
        self._tracker.feed(decode_batch(batch))

    def _feed_plain(self, batch: bytes) -> Told:
        is_small = len(batch) < FEWEST_RECORDS * RECORD_SIZE
        room = self._registry.most - self._registry.open_count
        if is_small or room < len(batch) // RECORD_SIZE or self._is_lossy(batch):
            self._feed_all(batch)
            return Told([], [])
        window = Window(batch, are_same=True)
        whole = self._choose(window)
        taken = np.zeros(window.count, np.bool_)
        for one in whole:
            taken[one.lives] = True
        over = self._expire(window, taken)
        self._remember(window.left(taken))
        ids = self._feed_rest(window, taken, whole)
        told = Told([], over)
        for one in whole:
            has_peer = one.peers < window.count
            for some in (has_peer, ~has_peer):
                self._tell(window, one.those(np.flatnonzero(some)), ids, told)
        self._registry.make_room(window.last_ns)
        return told

    def _remember(self, records: Words) -> None:
        """The tracker is told of connections; none becomes known to it by its end."""
        is_end = columns.are_any(columns.kinds(columns.what(records)), Kind.TIMEWAIT_KILLED)
        told = columns.pair_print(records[~is_end]).tolist()
        self._told.update(told)
        if len(self._told) > 2 * self._registry.open_count + _MOST_TOLD:
            every = (BLANK._replace(**ends) for ends in self._registry.every_ends())
            known = columns.words_of(b"".join(map(encode, every)))
            self._told = {*columns.pair_print(known).tolist(), *told}

    # Which lives.

    def _choose(self, window: Window) -> list[_Whole]:
        chosen = []
        for alike in window.shapes(FEWEST_LIVES):
            prototype = self._prototype(window.words, alike)
            if prototype is not None:
                fits = self._fit(window, alike, prototype)
                alike = alike._replace(lives=alike.lives[fits], first=alike.first[fits])  # noqa: PLW2901
                chosen.append((prototype, alike))
        if not chosen:
            return []
        candidates = Candidates(window, chosen)
        are_candidates = np.zeros(window.count, np.bool_)
        are_candidates[candidates.lives] = True
        others = columns.pair_print(window.left(are_candidates))
        peers = candidates.peers()
        is_good = (peers > NOT_SIMPLE) & ~columns.are_among(candidates.prints, others)
        prints = candidates.prints.tolist()
        if not self._told.isdisjoint(prints):
            is_good &= [one not in self._told for one in prints]
        peers = np.append(candidates.lives, [window.count])[peers]
        end = 0
        whole = []
        for prototype, alike in chosen:
            begin, end = end, end + len(alike.lives)
            good = is_good[begin:end]
            lives, first = alike.lives[good], alike.first[good]
            whole.append(_Whole(prototype, lives, first, peers[begin:end][good]))
        return whole

    def _prototype(self, words: Words, alike: Alike) -> Prototype | None:
        if len(alike.lives) < FEWEST_LIVES:
            return None
        begin = alike.first[0]
        origin = int(words[begin, columns.ORIGIN])
        listener = self._registry.listeners.find(origin)
        if origin and listener is None:
            return None
        listening = listener.process if listener is not None else None
        key = (alike.key, listening)
        if key not in self._prototypes:
            if len(self._prototypes) >= MOST_SHAPES:
                self._prototypes.clear()
            batch = words[begin : begin + len(alike.what)].tobytes()
            generations = alike.generations.tolist()
            self._prototypes[key] = prototype_of(batch, generations, listening)
        return self._prototypes[key]

    def _fit(self, window: Window, alike: Alike, prototype: Prototype) -> Truths:
        """Which lives of a shape differ from its prototype in nothing but what is marked."""
        words, first = window.words, alike.first
        fits = prototype.fit(words, first)
        if prototype.rests is not None:
            fits &= window.are_last(prototype.last_objects(words, first), alike.lives)
        return fits

    def _expire(self, window: Window, taken: Truths) -> list[Over]:
        """Ends the lives of which nothing is told but that their TIME_WAIT has run out."""
        lives, first = window.singles(Kind.TIMEWAIT_KILLED, State.TIME_WAIT)
        if not len(lives):
            return []
        records = window.words.take(first, axis=0)
        prints = columns.pair_print(records)
        are_known = taken.copy()
        are_known[lives] = True
        others = columns.pair_print(window.left(are_known))
        ordered = np.sort(prints)
        twins = ordered[1:][ordered[1:] == ordered[:-1]]
        alone = np.flatnonzero(~columns.are_among(prints, np.append(others, twins)))
        found = []
        for ending, numbers, which in self._kept.end(records.take(alone, axis=0)):
            mine = alone.take(which)
            taken[lives.take(mine)] = True
            places = window.places.take(first.take(mine))
            found.append(Over(ending, numbers, records.take(mine, axis=0), places))
        return found

    # The rest.

    def _feed_rest(self, window: Window, taken: Truths, whole: list[_Whole]) -> Numbers:
        """Gives the tracker all other records; returns the ids of the lives that were taken.

        By life; 0 for all others, and for one more: nobody.
        """
        is_left = ~taken[window.number]
        places = np.sort(window.places[is_left])
        births = np.concatenate([places[:0], *(window.places[one.first] for one in whole)])
        # Stable though no two are the same: numpy's other way by AVX2 goes wrong under QEMU 7.2.
        order = np.argsort(births, kind="stable")
        passed = np.searchsorted(births[order], places)
        records = decode_batch(window.rest(taken))
        steps: list[_Step] = list(zip(places.tolist(), passed.tolist(), records, strict=True))
        steps += self._evictions(window, is_left, whole)
        steps.sort(key=itemgetter(0))
        ids: list[int] = []
        for place, number, record in steps:
            self._at(place)
            if record is None:
                self._registry.evict(number)
                continue
            self._pass_ids(ids, number)
            self._tracker.feed((record,))
        self._pass_ids(ids, len(births))
        id_of = np.zeros(window.count + 1, np.int64)
        id_of[np.concatenate([order[:0], *(one.lives for one in whole)])[order]] = ids
        return id_of

    def _pass_ids(self, ids: list[int], number: int) -> None:
        """So many lives were taken until here; these have the ids that they would have had."""
        new = number - len(ids)
        if new:
            first = self._registry.take_ids(new)
            ids += range(first, first + new)

    def _evictions(self, window: Window, is_left: Truths, whole: list[_Whole]) -> list[_Step]:
        """Where a life that was taken comes into an object that another one may be in: which.

        That is so if the last that was told of it was not about a life that was taken.
        """
        records = [one.first + begin for one in whole for begin in one.prototype.begins]
        if not records:
            return []
        begun = np.concatenate(records)
        left = np.flatnonzero(is_left)
        objects = window.words[:, columns.SOCK]
        socks = np.concatenate(
            [objects[begun], objects[left], window.words[:, columns.ORIGIN][left]]
        )
        places = window.places[np.concatenate([begun, left, left])]
        order = np.lexsort((places, socks))
        is_begun = order < len(begun)
        ordered = socks.take(order)
        is_new = np.append([True], ordered[1:] != ordered[:-1])
        each = ordered[is_new]
        are_there = columns.are_any_of(each, self._registry.awake)
        are_there |= columns.are_any_of(each, self._registry.held)
        are_there |= self._frozen.are_there(each)
        is_free = np.append([False], is_begun[:-1])
        is_free[is_new] = ~are_there
        found = order[is_begun & ~is_free]
        used = zip(places[found].tolist(), socks[found].tolist(), strict=True)
        return [(place, sock, None) for place, sock in used]

    # What they come to.

    def _tell(self, window: Window, whole: _Whole, ids: Numbers, told: Told) -> None:
        """What lives come to, all of them linked to another one here, or none."""
        prototype, lives, first, peers = whole
        if not len(lives):
            return
        words, is_linked = window.words, bool(peers[0] < window.count)
        numbers = prototype.columns_of(words, first, ids.take(lives), ids.take(peers))
        pairs = len(lives) if is_linked and prototype.is_server else 0
        told.closed.append(Closed(prototype.closed, numbers, pairs))
        if prototype.is_server:
            self._see(words, first, prototype)
        last = words.take(first + prototype.length - 1, axis=0)
        ended = prototype.ended_each_way[is_linked]
        if ended is not None:
            places = window.places.take(first + prototype.over)
            told.over.append(Over(ended, numbers, last, places))
        else:
            life = prototype.resting(is_linked=is_linked)
            self._kept.begin(life, numbers, last, prototype.last_objects(words, first))
            self._remember(last)

    def _see(self, words: Words, first: Numbers, prototype: Prototype) -> None:
        """Tells their listener of its queues."""
        listener = self._registry.listeners.find(int(words[first[0], columns.ORIGIN]))
        if listener is None:
            raise AssertionError("a listener goes only by a record of its own")
        told = [words.take(first + place, axis=0) for place in prototype.with_queues]
        see_queues(self._registry.listeners, listener, np.concatenate(told))
        listener.cgroup = listener.cgroup or prototype.closed.cgroup
