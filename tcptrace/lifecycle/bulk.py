"""Feeds a tracker many records at once: whole lives of a known shape are counted, not rebuilt.

A life that begins and ends within one window of records, as most do, leaves nothing but counts; and
what they are, its shape tells (shapes). Such lives are counted column by column, and only the rest
of the window goes to the tracker, record by record. The counts are the same: nothing that a record
may tell is judged here, and whoever is not sure leaves a life to the tracker.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from tcptrace.lifecycle.connection import Role
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
    import numpy.typing as npt

    from tcptrace.lifecycle.connection import Listener
    from tcptrace.lifecycle.counts import Place
    from tcptrace.lifecycle.registry import Registry
    from tcptrace.lifecycle.tally import Tally
    from tcptrace.lifecycle.tracker import Tracker
    from tcptrace.wire.columns import Words

    Numbers = npt.NDArray[np.int64]
    Truths = npt.NDArray[np.bool_]

FEWEST_RECORDS: Final = 64
"""A smaller window is not worth the columns."""
_FEWEST_LIVES: Final = 4
"""Nor is a shape of fewer lives."""
_MOST_ODD: Final = 16
"""Each divides a window in two."""
_MOST_SHAPES: Final = 1024
"""How many outlines are remembered: there are a few dozen, unless somebody makes them up."""
_REFUSALS: Final = np.array([Kind.SYN_DROPPED, Kind.SYN_COOKIE_SENT, Kind.ACK_DROPPED], np.uint64)
_WITH_QUEUES: Final = np.array([Kind.SYN_QUEUED, Kind.CHILD_CREATED], np.uint64)


class _Chosen(NamedTuple):
    """Lives of one shape that are to be counted."""

    outline: Outline
    lives: Numbers
    first: Numbers
    listeners: dict[int, Listener]
    """Of server lives, by their objects."""


class Bulk:
    """Counts whole lives, and feeds the rest to a tracker.

    Args:
        tracker: whose observer is `tally`.
        tally: hears of everything.
    """

    def __init__(self, tracker: Tracker, tally: Tally) -> None:
        self._tracker = tracker
        self._registry: Registry = tracker.registry
        self._tally = tally
        self._outlines: dict[bytes, Outline | None] = {}
        self._scales = Scales()
        self._resting = Resting(self._registry, tally, self._scales)

    def feed(self, batch: bytes) -> None:
        """Takes whole records in the order of the ring."""
        odd = _odd(columns.words_of(batch))
        if self._registry.left is not None or len(odd) > _MOST_ODD:
            self._tracker.feed(decode_batch(batch))
            return
        begin = 0
        for place in odd.tolist():
            end = place * RECORD_SIZE
            self._feed_plain(batch[begin:end])
            begin = end + RECORD_SIZE
            self._tracker.feed(decode_batch(batch[end:begin]))
        self._feed_plain(batch[begin:])

    def _feed_plain(self, batch: bytes) -> None:
        if len(batch) < FEWEST_RECORDS * RECORD_SIZE:
            self._tracker.feed(decode_batch(batch))
            return
        window = Window(batch)
        taken = np.zeros(window.count, np.bool_)
        refused = columns.ends_print(window.words[np.isin(columns.kinds(window.what), _REFUSALS)])
        chosen: list[_Chosen] = []
        for alike in window.shapes():
            outline = self._outline(window.words, alike)
            if outline is not None:
                chosen.append(self._choose(window, alike, outline, refused, taken))
        self._expire(window, taken)
        chosen = [_without_clashes(window, one, taken) for one in chosen]
        self._tracker.feed(decode_batch(window.rest(taken)))
        for sock in self._registry.occupied(set(window.left_to(taken))):
            self._registry.evict(sock)  # it was used by others since
        for one in chosen:
            if len(one.first):
                self._count(window.words, one)
        self._registry.make_room(window.last_ns)

    def _expire(self, window: Window, taken: Truths) -> None:
        """TIME_WAIT sockets of which nothing is told but that their timer ran out."""
        lives, first = window.singles(Kind.TIMEWAIT_KILLED, State.TIME_WAIT)
        if len(lives):
            taken[lives[self._resting.expire(window.words[first])]] = True

    def _outline(self, words: Words, alike: Alike) -> Outline | None:
        length = len(alike.what)
        if len(alike.lives) < _FEWEST_LIVES or length > MOST_RECORDS:
            return None
        key = alike.what.tobytes() + alike.generations.tobytes()
        if key not in self._outlines:
            if len(self._outlines) >= _MOST_SHAPES:
                self._outlines.clear()
            first = alike.first[0]
            self._outlines[key] = outline_of(words[first : first + length].tobytes())
        return self._outlines[key]

    def _choose(
        self, window: Window, alike: Alike, outline: Outline, refused: Words, taken: Truths
    ) -> _Chosen:
        """Of lives of a shape those that no other one's past has a say in.

        They are marked in `taken`, by life. `refused` has columns.ends_print() of the peers that
        were refused within the window.
        """
        first, lives, words = alike.first, alike.lives, window.words
        listeners: dict[int, Listener] = {}
        if outline.role is Role.SERVER:
            origins = words[first, columns.ORIGIN]
            is_known = np.zeros(len(first), np.bool_)
            for sock in np.unique(origins).tolist():
                listener = self._registry.listeners.find(sock)
                if listener is not None:
                    listeners[sock] = listener
                    is_known |= origins == sock
            is_known &= ~self._have_knocked(words[first], refused)
            first, lives = first[is_known], lives[is_known]
        if outline.timewait is not None and outline.is_resting:
            is_there = window.are_last(words[first + outline.timewait, columns.SOCK], lives)
            first, lives = first[is_there], lives[is_there]
        taken[lives] = True
        return _Chosen(outline, lives, first, listeners)

    def _have_knocked(self, records: Words, refused: Words) -> Truths:
        """Whether the peer that each record names was refused before: its life began with that."""
        have = np.isin(columns.ends_print(records), refused)
        waiting = self._registry.waiting
        if len(waiting):
            known = map(waiting.has, decode_batch(records.tobytes()))
            have |= np.fromiter(known, np.bool_, len(records))
        return have

    # What they come to.

    def _count(self, words: Words, chosen: _Chosen) -> None:
        outline, first = chosen.outline, chosen.first
        length = outline.length
        times = words[first[:, None] + np.arange(length), columns.AT_NS].astype(np.int64)
        tally = self._tally
        for kind, number in outline.kinds.items():
            tally.events[kind] += number * len(first)
        for old, pair, new in outline.changes:
            tally.transitions_of(old)[new] += len(first)
            if pair is not None:
                self._scales.add(tally.state_durations[old], _lasting(times, pair))
        if outline.handshake is not None:
            handshakes = tally.handshakes[outline.role]
            self._scales.add(handshakes, _lasting(times, outline.handshake))
        if outline.syn_queue_wait is not None:
            self._scales.add(tally.syn_queue_wait, _lasting(times, outline.syn_queue_wait))
        if outline.accept_wait is not None:
            self._scales.add(tally.accept_wait, _lasting(times, outline.accept_wait))
        if chosen.listeners:
            self._tell_listeners(words, chosen, times)
        self._count_places(words, chosen, times)

    def _tell_listeners(self, words: Words, chosen: _Chosen, times: Numbers) -> None:
        """What each listener's queues were, and how long its connections waited in them."""
        origins = words[chosen.first, columns.ORIGIN]
        length = times.shape[1]
        for sock, listener in chosen.listeners.items():
            mine = np.flatnonzero(origins == sock)
            if not len(mine):
                continue
            records = (chosen.first[mine][:, None] + np.arange(length)).ravel()
            self._see(listener, words[records])
            if chosen.outline.accept_wait is not None:
                self._tell_waits(listener, times[mine], chosen.outline.accept_wait)

    def _tell_waits(self, listener: Listener, times: Numbers, pair: tuple[int, int]) -> None:
        waits = self._tally.waits_of(listener)
        if waits is not None:
            lasted = np.maximum(_lasting(times, pair), 0)
            waits.add_all(histogram_of(lasted), sum_of(lasted), int(times[:, pair[1]].max()))

    def _see(self, listener: Listener, words: Words) -> None:
        """The listener's queues, by the records of its connections that carry them."""
        kinds = columns.kinds(columns.what(words))
        told = words[np.isin(kinds, _WITH_QUEUES)]
        limits = columns.high(told[:, columns.ACCEPT_QUEUE])
        self._registry.listeners.see_all(
            listener,
            int(limits[np.argmax(told[:, columns.AT_NS])]),
            int(columns.low(told[:, columns.ACCEPT_QUEUE]).max()),
            int(columns.low(told[:, columns.SYN_QUEUE]).max()),
        )

    def _count_places(self, words: Words, chosen: _Chosen, times: Numbers) -> None:
        """What is told apart by namespace and family."""
        first, outline = chosen.first, chosen.outline
        netns = columns.netns(words)[first]
        cells = netns * np.uint64(2) + columns.are_ipv4(words[first])
        for cell in np.unique(cells).tolist():
            mine = np.flatnonzero(cells == cell)
            inode, family = cell // 2, "ipv4" if cell % 2 else "ipv6"
            self._tally.heard_of(inode, outline.figures, outline.is_connected, len(mine))
            place = self._registry.counts.place(inode, family)
            if outline.is_resting:
                self._rest(words, chosen._replace(first=first[mine]), times[mine], place)

    def _rest(self, words: Words, chosen: _Chosen, times: Numbers, place: Place) -> None:
        """Lives that go on in TIME_WAIT are the tracker's from now on."""
        outline, first = chosen.outline, chosen.first
        entered, established = outline.timewait, outline.established
        if entered is None or established is None:
            raise AssertionError("what rests in TIME_WAIT was established")
        records = words[first + times.shape[1] - 1]
        self._resting.begin(
            Entries(
                records,
                words[first + entered, columns.SOCK].tolist(),
                times[:, established],
                times[:, entered],
                times[:, 0],
                outline.role,
                place,
            )
        )


def _lasting(times: Numbers, pair: tuple[int, int]) -> Numbers:
    """How long it was between two of each life's records."""
    begin, end = pair
    return times[:, end] - times[:, begin]


def _without_clashes(window: Window, chosen: _Chosen, taken: Truths) -> _Chosen:
    """Leaves out lives that rest between ends of which other records tell as well."""
    if not chosen.outline.is_resting:
        return chosen
    last = chosen.first + chosen.outline.length - 1
    prints = columns.ends_print(window.words[last])
    clashes = np.isin(prints, columns.ends_print(window.left(taken)))
    taken[chosen.lives[clashes]] = False
    return chosen._replace(lives=chosen.lives[~clashes], first=chosen.first[~clashes])


def _odd(words: Words) -> Numbers:
    """The places of records that other lives may depend on: of listeners and of snapshots."""
    what = columns.what(words)
    kinds = columns.kinds(what)
    is_listeners = columns.old_states(what) == State.LISTEN
    is_listeners |= columns.new_states(what) == State.LISTEN
    return np.flatnonzero(
        (kinds == Kind.SEEN)
        | (kinds == Kind.MIGRATED)
        | ((kinds == Kind.STATE_CHANGED) & is_listeners)
    )
