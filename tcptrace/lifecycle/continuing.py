"""Frozen lives that go on within a window, many at once: none of them is thawed.

Most of what happens to lives that have rested is the same for many: they close, or their TIME_WAIT
runs out. What that comes to is learnt from the tracker, as it is of whole lives (shapes): the first
of the lives that were frozen to one shape, and of which the same is told now, goes on in a tracker
of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from tcptrace.lifecycle.alike import Times, count_alike
from tcptrace.lifecycle.counts import AGED
from tcptrace.lifecycle.freezing import HEAD, SEEN_AT, numbers_at
from tcptrace.lifecycle.frozen_rows import (
    column,
    groups_of,
    have_ends,
    rows_of,
    timed,
)
from tcptrace.lifecycle.shapes import Continuation, continuation_of, number_of, time_of
from tcptrace.wire import columns

if TYPE_CHECKING:
    import numpy.typing as npt

    from tcptrace.lifecycle.freezing import Shape
    from tcptrace.lifecycle.frozen_columns import Found, FrozenColumns
    from tcptrace.lifecycle.life import Life
    from tcptrace.lifecycle.registry import Registry
    from tcptrace.lifecycle.scales import Scales
    from tcptrace.lifecycle.tally import Tally
    from tcptrace.lifecycle.whole import Alike, Window
    from tcptrace.tcp import State
    from tcptrace.wire.columns import Words

    Bytes = npt.NDArray[np.uint8]
    Numbers = npt.NDArray[np.int64]
    Truths = npt.NDArray[np.bool_]

FEWEST_LIVES: Final = 4
"""Fewer of a shape are thawed."""
_MOST_KNOWN: Final = 1024
"""How many continuations are remembered."""
_MOST_PLAIN: Final = 1 << 32
"""A larger number is a time, or comes from one."""
_NETNS: Final = slice(HEAD.size, HEAD.size + 4)


class Heirs(NamedTuple):
    """Lives of one shape and namespace, of all of which the same is told.

    Attributes:
        comes_to: what that is.
        shape: what they were frozen to.
        number: its own.
        rows: each as it was frozen.
        where: each of these is.
        lives: their numbers in the window.
        first: where the records of each begin there.
    """

    comes_to: Continuation
    shape: Shape
    number: int
    rows: Bytes
    where: Words
    lives: Numbers
    first: Numbers

    def some(self, which: Truths) -> Heirs:
        """Some of them."""
        if which.all():
            return self
        return self._replace(
            rows=self.rows[which],
            where=self.where[which],
            lives=self.lives[which],
            first=self.first[which],
        )

    @property
    def numbers(self) -> Numbers:
        """What was frozen of each, a row for each."""
        begin = numbers_at(is_mapped=self.shape.is_mapped)
        return np.ascontiguousarray(self.rows[:, begin:]).view(np.int64)

    def times(self, window: Window) -> Times:
        """When they were told of, frozen times first."""
        return Times(window.words, self.first, self.numbers)

    @property
    def ids(self) -> Numbers:
        """Their ids."""
        place = self.shape.place_of_id
        if place is None:
            raise AssertionError("every life has an id")
        begin = numbers_at(is_mapped=self.shape.is_mapped)
        ids: Numbers = column(self.rows, "<i8", begin + 8 * place)
        return ids


class Continuing:
    """Has frozen lives go on.

    Args:
        registry: where they are.
        frozen: what they are frozen to there.
        tally: hears of them.
        scales: of its histograms.
    """

    def __init__(
        self, registry: Registry, frozen: FrozenColumns, tally: Tally, scales: Scales
    ) -> None:
        self._freezer = registry.objects.freezer
        self._frozen = frozen
        self._tally = tally
        self._scales = scales
        self._known: dict[tuple[Shape, bytes], Continuation | None] = {}

    # Which they are.

    def choose(self, window: Window, resent: Words, taken: Truths) -> list[Heirs]:
        """Finds lives that depend on nothing but their own records; marks them in `taken`.

        Args:
            window: the records.
            resent: objects that SYN-ACKs name which were sent again.
            taken: by life.
        """
        chosen = []
        for alike in window.continued(FEWEST_LIVES):
            for found in self._frozen.look(window.words[:, columns.SOCK][alike.first]):
                for some in groups_of(found.rows):
                    heirs = self._heirs(window, alike, found.some(some))
                    if heirs is not None and len(resent):
                        about = window.words[:, columns.SOCK][heirs.first]
                        heirs = heirs.some(~columns.are_among(about, resent))
                    if heirs is not None and len(heirs.lives):
                        taken[heirs.lives] = True
                        chosen.append(heirs)
        return chosen

    def _heirs(self, window: Window, alike: Alike, found: Found) -> Heirs | None:
        rows = found.rows
        number, gaps, _ = HEAD.unpack_from(rows[0])
        if len(rows) < FEWEST_LIVES or gaps != self._freezer.gaps:
            return None
        shape = self._freezer.shape_of(number)
        lives, first = alike.lives.take(found.which), alike.first.take(found.which)
        is_same = have_ends(rows, shape, window.words.take(first, axis=0))
        if not is_same.any():
            return None
        place = int(is_same.argmax())
        records = window.words[first[place] : first[place] + len(alike.what)].tobytes()
        comes_to = self._comes_to(shape, rows[place].tobytes(), alike.key, records)
        if comes_to is None:
            return None
        if comes_to.life is not None:
            socks = window.words[:, columns.SOCK][first + comes_to.last]
            is_same &= window.are_last(socks, lives)
        return Heirs(comes_to, shape, number, rows, found.where, lives, first).some(is_same)

    def _comes_to(self, shape: Shape, row: bytes, told: bytes, batch: bytes) -> Continuation | None:
        key = (shape, told)
        if key not in self._known:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            self._known[key] = self._learn(shape, row, batch)
        return self._known[key]

    def _learn(self, shape: Shape, row: bytes, batch: bytes) -> Continuation | None:
        if shape.is_request or not shape.is_known:
            return None
        freezer = self._freezer
        count = (len(row) - numbers_at(is_mapped=shape.is_mapped)) // 8
        sock = int.from_bytes(batch[8 * columns.SOCK : 8 * columns.SOCK + 8], "little")
        life = freezer.thaw_with(sock, row, [time_of(number) for number in range(count)])
        comes_to = continuation_of(life, count, batch)
        if comes_to is None or comes_to.life is None:
            return comes_to
        life.place = shape.place
        if life.counted in AGED and not _has_entered(life, shape.counted):
            return None  # since when it is in that state, numbers don't tell
        frozen = freezer.freeze(life)
        if frozen is None:
            return None
        freezer.release(frozen)
        numbers = frozen[numbers_at(is_mapped=shape.is_mapped) :]
        marks = memoryview(numbers).cast("Q")
        is_clear = all(number_of(mark) is not None or mark < _MOST_PLAIN for mark in marks)
        return comes_to if is_clear else None

    def keep_apart(
        self, window: Window, chosen: list[Heirs], crowded: Words, taken: Truths
    ) -> list[Heirs]:
        """Leaves out lives between whose ends there is another one in the window.

        Args:
            window: theirs.
            chosen: the lives.
            crowded: columns.ends_print() of others.
            taken: by life, whether it is counted here.
        """
        kept = []
        for heirs in chosen:
            clashes = columns.are_among(window.ends.take(heirs.lives), crowded)
            taken[heirs.lives[clashes]] = False
            kept.append(heirs.some(~clashes))
        return [heirs for heirs in kept if len(heirs.lives)]

    # What it comes to.

    def leave(self, window: Window, heirs: list[Heirs]) -> None:
        """Counts it all, and takes them from where they were: others may be there meanwhile."""
        if not heirs:
            return
        lives, first, where = (
            np.concatenate(of)
            for of in zip(*((some.lives, some.first, some.where) for some in heirs), strict=True)
        )
        socks = window.words[:, columns.SOCK][first]
        self._frozen.remove(socks, where)
        self._frozen.by_sides.remove_each(window.digests.take(lives), socks)
        for some in heirs:
            self._count(window, some)

    def _count(self, window: Window, heirs: Heirs) -> None:
        shape, comes_to, count = heirs.shape, heirs.comes_to, len(heirs.lives)
        self._freezer.change_uses(heirs.number, -count)
        if shape.counted is not None:
            shape.place.take_away(shape.counted, shape.role, heirs.ids.tolist())
        tally = self._tally
        count_alike(tally, self._scales, comes_to, count, heirs.times(window))
        for reason in comes_to.partial:
            tally.partial[reason] += count
        netns = int.from_bytes(heirs.rows[0, _NETNS].tobytes(), "little")
        tally.heard_of(netns, comes_to.figures, is_connected=False, lives=count)

    def go_on(self, window: Window, heirs: Heirs) -> None:
        """Freezes those that are not over as what they have become."""
        life, shape = heirs.comes_to.life, heirs.shape
        if life is None:
            return
        life.place = shape.place
        records = window.words.take(heirs.first + heirs.comes_to.last, axis=0)
        times = heirs.times(window)
        rows = rows_of(self._freezer, life, records, timed(times.of))
        column(rows, "<u4", SEEN_AT)[:] = column(heirs.rows, "<u4", SEEN_AT)
        column(rows, "<u4", HEAD.size)[:] = column(heirs.rows, "<u4", HEAD.size)
        socks = np.ascontiguousarray(records[:, columns.SOCK])
        self._frozen.add(socks, rows, window.digests.take(heirs.lives))
        if life.counted is not None:
            entered = number_of(life.connection.spans[-1].at_ns or 0)
            entered_ns = [] if entered is None else times.of(entered).tolist()
            shape.place.add(life.counted, life.connection.role, heirs.ids.tolist(), entered_ns)


def _has_entered(life: Life, before: State | None) -> bool:
    """Whether a record tells when a life entered its state."""
    return (
        life.counted is not before and number_of(life.connection.spans[-1].at_ns or 0) is not None
    )
