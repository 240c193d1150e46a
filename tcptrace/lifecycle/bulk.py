"""Feeds a tracker many records at once: whole lives of a known shape are counted, not rebuilt.

A life that begins and ends within one window of records, as most do, leaves nothing but counts; and
what they are, its shape tells (shapes). Such lives are counted column by column, and only the rest
of the window goes to the tracker, record by record. The counts are the same: nothing that a record
may tell is judged here, and whoever is not sure leaves a life to the tracker.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from tcptrace.lifecycle.alike import Times, count_alike
from tcptrace.lifecycle.beginning import Beginning, Newborn
from tcptrace.lifecycle.connection import Partial, Role
from tcptrace.lifecycle.continuing import Continuing, Heirs
from tcptrace.lifecycle.findings import Findings
from tcptrace.lifecycle.frozen_columns import FrozenColumns
from tcptrace.lifecycle.frozen_rows import shape_numbers
from tcptrace.lifecycle.picking import SlowLives
from tcptrace.lifecycle.resting import Entries, Resting
from tcptrace.lifecycle.scales import Scales, histogram_of, sum_of
from tcptrace.lifecycle.shapes import MOST_RECORDS, Outline, outline_of
from tcptrace.lifecycle.whole import Alike, Window
from tcptrace.tcp import State
from tcptrace.wire import columns
from tcptrace.wire.decode import decode_batch
from tcptrace.wire.events import Kind
from tcptrace.wire.layout import RECORD_SIZE

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from tcptrace.lifecycle.connection import Listener
    from tcptrace.lifecycle.counts import Place
    from tcptrace.lifecycle.life import Life
    from tcptrace.lifecycle.listeners import Listeners
    from tcptrace.lifecycle.registry import Registry
    from tcptrace.lifecycle.tally import Tally
    from tcptrace.lifecycle.tracker import Tracker
    from tcptrace.wire.columns import Words

    Numbers = npt.NDArray[np.int64]
    Truths = npt.NDArray[np.bool_]

FEWEST_RECORDS: Final = 64
"""A smaller window is not worth the columns."""
FEWEST_LIVES: Final = 4
"""Nor is a shape of fewer lives."""
MOST_ODD: Final = 16
"""Each divides a window in two."""
MOST_SHAPES: Final = 1024
"""How many outlines are remembered: there are a few dozen, unless somebody makes them up."""
_LATEST_NS: Final = 1 << 62
"""146 years after boot: later times are a recording's that nobody recorded."""
_REFUSALS: Final = (Kind.SYN_DROPPED, Kind.SYN_COOKIE_SENT, Kind.ACK_DROPPED)
_STATE_CHANGED: Final = np.uint8(Kind.STATE_CHANGED)


class _Chosen(NamedTuple):
    """Lives of one shape that are to be counted."""

    outline: Outline
    lives: Numbers
    first: Numbers
    listeners: dict[int, Listener]
    """Of server lives, by their objects."""
    life: Life | None = None
    """Of those that go on, established: one of them."""
    digests: Words | None = None
    """columns.digests() of their sides, once it is known that no frozen life has the same."""

    def some(self, which: Truths) -> _Chosen:
        """Some of them."""
        if which.all():
            return self
        digests = None if self.digests is None else self.digests[which]
        return self._replace(lives=self.lives[which], first=self.first[which], digests=digests)


class Bulk:
    """Counts whole lives, and feeds the rest to a tracker.

    Args:
        tracker: whose observer is `tally`, or tells it.
        tally: hears of everything.

    Attributes:
        slow: picks slow lives of plain course that the tracker is to rebuild.
        leaves_slow: whether it is asked: somebody wants to be told of them.
    """

    def __init__(self, tracker: Tracker, tally: Tally) -> None:
        self._tracker = tracker
        self._registry: Registry = tracker.registry
        self._tally = tally
        self.slow = SlowLives()
        self.leaves_slow = False
        self._outlines: dict[bytes, Outline | None] = {}
        self._scales = Scales()
        frozen = FrozenColumns()
        self._frozen = frozen
        self._registry.objects.keep_in(frozen)
        self._resting = Resting(self._registry, frozen)
        self._findings = Findings(self._registry, frozen, tracker.stock, tally)
        self._beginning = Beginning(self._registry, frozen)
        self._continuing = Continuing(self._registry, frozen, tally, self._scales)

    def feed(self, batch: bytes | memoryview) -> None:
        """Takes whole records in the order of the ring."""
        odd = odd_places(columns.words_of(batch))
        if self._registry.left is not None:
            batch = self._findings.take(batch)
        if self._registry.left is not None or len(odd) > MOST_ODD:
            self._tracker.feed(decode_batch(batch))
            return
        begin = 0
        for place in odd.tolist():
            end = place * RECORD_SIZE
            self._feed_plain(batch[begin:end])
            begin = end + RECORD_SIZE
            self._tracker.feed(decode_batch(batch[end:begin]))
        self._feed_plain(batch[begin:])

    def _feed_plain(self, batch: bytes | memoryview) -> None:
        if len(batch) < FEWEST_RECORDS * RECORD_SIZE:
            self._tracker.feed(decode_batch(batch))
            return
        window = Window(batch)
        if not window.is_in_time(_LATEST_NS):
            self._tracker.feed(decode_batch(batch))
            return
        taken: Truths = np.zeros(window.count, np.bool_)
        self.slow.begin(window.last_ns)
        chosen, heirs = self._find(window, taken)
        self._continuing.leave(window, heirs)
        chosen = [self._without_namesakes(window, one, taken) for one in chosen]
        self._make_way(window, taken)
        self._tracker.feed(decode_batch(window.rest(taken)))
        self._evict(*window.left_to(taken))
        for one in chosen:
            if len(one.first):
                self._count(window.words, one)
                if self.leaves_slow and not self.slow.room:
                    self._count_slow(window.words, one)
        for some in heirs:
            self._continuing.go_on(window, some)
        self._registry.make_room(window.last_ns)

    def _evict(self, socks: Words, are_born: Truths) -> None:
        """Objects were used by others since: whoever was there is over.

        Args:
            socks: the objects.
            are_born: which of them came to those others now: they were not frozen there before.
        """
        registry = self._registry
        are_others = np.zeros(len(socks), np.bool_)
        are_others[are_born] = self._frozen.are_there(socks[are_born])
        are_others |= columns.are_any_of(socks, registry.awake)
        are_others |= columns.are_any_of(socks, registry.held)
        for sock in socks[are_others].tolist():
            registry.evict(sock)

    def _find(self, window: Window, taken: Truths) -> tuple[list[_Chosen], list[Heirs]]:
        """Finds what is to be counted, marking it in `taken`, by life."""
        others = _Others.in_window(window)
        chosen: list[_Chosen] = []
        for alike in window.shapes(FEWEST_LIVES):
            outline = self._outline(window.words, alike)
            if outline is not None:
                one = self._choose(window, alike, outline, others)
                chosen += self._alike(window.words, alike, one) if outline.is_open else [one]
        for one in chosen:
            taken[one.lives] = True
        heirs = self._continuing.choose(window, others.resent, taken)
        crowded = columns.ends_print(window.left(taken))
        if heirs or any(one.outline.is_open for one in chosen):
            crowded = np.concatenate([crowded, window.shared_ends])
        chosen = [_without_clashes(window, one, crowded, taken) for one in chosen]
        return chosen, self._continuing.keep_apart(window, heirs, crowded, taken)

    def _make_way(self, window: Window, taken: Truths) -> None:
        """What a snapshot found a moment before it was told of makes way for that."""
        if not self._registry.has_sighted:
            return
        objects = window.objects
        frozen = self._sighted(objects)
        for sock in self._registry.only_sighted(set(objects.tolist()), frozen):
            life, record = window.first_about(sock)
            if taken[life]:
                self._registry.make_way(next(iter(decode_batch(record))))

    def _sighted(self, objects: Words) -> list[int]:
        """Those of the objects in which are frozen lives that a snapshot told of first."""
        found: list[int] = []
        for which, rows, _ in self._frozen.look(objects):
            numbers = shape_numbers(rows)
            shape_of = self._registry.objects.freezer.shape_of
            sighted = [one for one in set(numbers.tolist()) if shape_of(one).is_sighted]
            are_sighted = columns.are_among(numbers, np.array(sighted, np.uint64))
            found += objects[which[are_sighted]].tolist()
        return found

    def _outline(self, words: Words, alike: Alike) -> Outline | None:
        length = len(alike.what)
        if len(alike.lives) < FEWEST_LIVES or length > MOST_RECORDS:
            return None
        key = alike.key
        if key not in self._outlines:
            if len(self._outlines) >= MOST_SHAPES:
                self._outlines.clear()
            first = alike.first[0]
            self._outlines[key] = outline_of(words[first : first + length].tobytes())
        return self._outlines[key]

    def _choose(self, window: Window, alike: Alike, outline: Outline, others: _Others) -> _Chosen:
        """Of lives of a shape those that no other record has a say in."""
        first, lives, words = alike.first, alike.lives, window.words
        listeners: dict[int, Listener] = {}
        if outline.role is Role.SERVER:
            origins = words[:, columns.ORIGIN][first]
            is_known = np.zeros(len(first), np.bool_)
            for sock in columns.different(origins):
                listener = self._registry.listeners.find(sock)
                if listener is not None:
                    listeners[sock] = listener
                    is_known |= origins == np.uint64(sock)
            if len(others.refused) or len(self._registry.waiting):
                is_known &= ~self._have_knocked(words.take(first, axis=0), others.refused)
            if len(others.resent):
                is_known &= ~columns.are_among(words[:, columns.SOCK][first], others.resent)
            first, lives = first[is_known], lives[is_known]
        if outline.is_resting or outline.is_open:
            socks = words[:, columns.SOCK][first + outline.last]
            is_there = window.are_last(socks, lives)
            first, lives = first[is_there], lives[is_there]
        chosen = _Chosen(outline, lives, first, listeners)
        leaves_slow = self.leaves_slow and self.slow.room
        return self._without_slow(words, chosen) if leaves_slow else chosen

    def _without_slow(self, words: Words, chosen: _Chosen) -> _Chosen:
        """Leaves the slowest to the tracker."""
        waits_ns = _longest_waits(Times(words, chosen.first), chosen.outline)
        are_slow = None if waits_ns is None else self.slow.pick(waits_ns)
        return chosen if are_slow is None else chosen.some(~are_slow)

    def _count_slow(self, words: Words, chosen: _Chosen) -> None:
        """Counts those of which nobody will be told."""
        waits_ns = _longest_waits(Times(words, chosen.first), chosen.outline)
        if waits_ns is not None:
            self.slow.leave_out(waits_ns)

    def _alike(self, words: Words, alike: Alike, chosen: _Chosen) -> Iterator[_Chosen]:
        """Those that go on, by whose they are."""
        if len(chosen.first):
            for which, life in self._beginning.groups(words, alike, chosen.first):
                yield chosen.some(which)._replace(life=life)

    def _without_namesakes(self, window: Window, chosen: _Chosen, taken: Truths) -> _Chosen:
        """Leaves out lives that go on between ends that a frozen life has."""
        if chosen.life is None or not len(chosen.first):
            return chosen
        digests = window.digests.take(chosen.lives)
        are_free = self._frozen.are_free(digests)
        taken[chosen.lives[~are_free]] = False
        return chosen._replace(digests=digests).some(are_free)

    def _have_knocked(self, records: Words, refused: Words) -> Truths:
        """Whether the peer that each record names was refused before: its life began with that."""
        have = columns.are_among(columns.ends_print(records), refused)
        waiting = self._registry.waiting
        if len(waiting):
            known = map(waiting.has, decode_batch(records.tobytes()))
            have |= np.fromiter(known, np.bool_, len(records))
        return have

    # What they come to.

    def _count(self, words: Words, chosen: _Chosen) -> None:
        outline = chosen.outline
        times = Times(words, chosen.first)
        tally, add = self._tally, self._scales.add
        count_alike(tally, self._scales, outline, len(chosen.first), times)
        if outline.handshake is not None:
            add(tally.handshakes[outline.role], times.between(outline.handshake))
        if outline.syn_queue_wait is not None:
            add(tally.syn_queue_wait, times.between(outline.syn_queue_wait))
        if outline.accept_wait is not None:
            add(tally.accept_wait, times.between(outline.accept_wait))
        if not (outline.is_resting or outline.is_open):
            lacking = np.count_nonzero(times.of(0) <= self._registry.lossy_until_ns)
            if lacking:
                tally.partial[Partial.GAP] += int(lacking)
        if chosen.listeners:
            self._tell_listeners(words, chosen)
        self._count_places(words, chosen)

    def _tell_listeners(self, words: Words, chosen: _Chosen) -> None:
        """What each listener's queues were, and how long its connections waited in them."""
        origins = words[:, columns.ORIGIN][chosen.first]
        for sock, listener in chosen.listeners.items():
            mine = np.flatnonzero(origins == np.uint64(sock))
            if not len(mine):
                continue
            first = chosen.first.take(mine)
            told = [words.take(first + place, axis=0) for place in chosen.outline.with_queues]
            if told:
                see_queues(self._registry.listeners, listener, np.concatenate(told))
            if chosen.outline.accept_wait is not None:
                self._tell_waits(listener, Times(words, first), chosen.outline.accept_wait)

    def _tell_waits(self, listener: Listener, times: Times, pair: tuple[int, int]) -> None:
        waits = self._tally.waits_of(listener)
        if waits is not None:
            lasted = np.maximum(times.between(pair), 0)
            waits.add_all(histogram_of(lasted), sum_of(lasted), int(times.of(pair[1]).max()))

    def _count_places(self, words: Words, chosen: _Chosen) -> None:
        """What is told apart by namespace and family."""
        first, outline = chosen.first, chosen.outline
        records = words.take(first, axis=0)
        cells = columns.netns(records) * np.uint64(2)
        cells += columns.are_ipv4(records)
        for cell in columns.different(cells):
            mine = chosen.some(cells == np.uint64(cell))
            inode, family = cell // 2, "ipv4" if cell % 2 else "ipv6"
            self._tally.heard_of(inode, outline.figures, outline.is_connected, len(mine.first))
            place = self._registry.counts.place(inode, family)
            if outline.is_resting:
                self._rest(words, mine, place)
            elif outline.is_open:
                if mine.life is None or mine.digests is None:
                    raise AssertionError("what goes on is alike, and free")
                listener = next(iter(chosen.listeners.values()), None)
                newborn = Newborn(words, mine.first, outline, mine.life, mine.digests)
                self._beginning.begin(newborn, listener, place)

    def _rest(self, words: Words, chosen: _Chosen, place: Place) -> None:
        """Lives that go on in TIME_WAIT are the tracker's from now on."""
        outline, first = chosen.outline, chosen.first
        entered, established = outline.timewait, outline.established
        if entered is None or established is None:
            raise AssertionError("what rests in TIME_WAIT was established")
        times = Times(words, first)
        self._resting.begin(
            Entries(
                words.take(first + outline.length - 1, axis=0),
                words[:, columns.SOCK][first + entered],
                times.of(established),
                times.of(entered),
                times.of(0),
                outline.role,
                place,
            )
        )


class _Others(NamedTuple):
    """What a window's records tell of lives whose objects they are not about.

    Attributes:
        refused: columns.ends_print() of the peers that were refused.
        resent: the objects that SYN-ACKs were sent for again: a Fast Open child's is sent for its
            request, and names the child as where it came from.
    """

    refused: Words
    resent: Words

    @classmethod
    def in_window(cls, window: Window) -> _Others:
        """What one has."""
        kinds = columns.kinds(window.what)
        refusals = np.flatnonzero(columns.are_any(kinds, *_REFUSALS))
        resent = np.flatnonzero(columns.are_any(kinds, Kind.SYNACK_RETRANSMITTED))
        return cls(
            columns.ends_print(window.words.take(refusals, axis=0)),
            window.words[:, columns.ORIGIN][resent],
        )


def _longest_waits(times: Times, outline: Outline) -> Numbers | None:
    """How long the handshake, or the wait for accept(), of each life took; None without either."""
    waits = [times.between(pair) for pair in (outline.handshake, outline.accept_wait) if pair]
    if not waits:
        return None
    return waits[0] if len(waits) == 1 else np.maximum(*waits)


def _without_clashes(window: Window, chosen: _Chosen, crowded: Words, taken: Truths) -> _Chosen:
    """Leaves out lives that go on between ends of which other records tell as well.

    Args:
        window: theirs.
        chosen: the lives.
        crowded: columns.ends_print() of what others tell of, those that are left out here included.
        taken: by life, whether it is counted here.
    """
    outline = chosen.outline
    if not (outline.is_resting or outline.is_open) or not len(crowded):
        return chosen
    clashes = columns.are_among(window.ends.take(chosen.lives), crowded)
    taken[chosen.lives[clashes]] = False
    return chosen.some(~clashes)


def see_queues(listeners: Listeners, listener: Listener, told: Words) -> None:
    """A listener's queues, by the records of its connections that carry them."""
    limits = columns.high(told[:, columns.ACCEPT_QUEUE])
    listeners.see_all(
        listener,
        int(limits[np.argmax(told[:, columns.AT_NS])]),
        int(columns.low(told[:, columns.ACCEPT_QUEUE]).max()),
        int(columns.low(told[:, columns.SYN_QUEUE]).max()),
    )


def odd_places(words: Words) -> Numbers:
    """The places of records that other lives may depend on: of listeners and of snapshots."""
    what = columns.what(words)
    kinds = np.ascontiguousarray(columns.kinds(what))
    is_odd = columns.are_any(columns.old_states(what), State.LISTEN)
    is_odd |= columns.are_any(columns.new_states(what), State.LISTEN)
    is_odd &= kinds == _STATE_CHANGED
    is_odd |= columns.are_any(kinds, Kind.SEEN, Kind.MIGRATED)
    return np.flatnonzero(is_odd)
