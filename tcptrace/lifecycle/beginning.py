"""Lives that begin within a window and go on, many at once: they are frozen as they come.

Those that the same process opened, or accepted, from the same listener are alike but for their
ends, times and objects: the first of them is had from the tracker (shapes), and all are frozen as
it would be.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from tcptrace.lifecycle.frozen_rows import are_mapped, lack, rows_of, timed
from tcptrace.lifecycle.shapes import beginning_of
from tcptrace.tcp import State
from tcptrace.wire import columns

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from tcptrace.lifecycle.connection import Listener
    from tcptrace.lifecycle.counts import Place
    from tcptrace.lifecycle.frozen_columns import FrozenColumns
    from tcptrace.lifecycle.life import Life
    from tcptrace.lifecycle.registry import Registry
    from tcptrace.lifecycle.shapes import Outline
    from tcptrace.lifecycle.whole import Alike
    from tcptrace.wire.columns import Words

    Numbers = npt.NDArray[np.int64]
    Truths = npt.NDArray[np.bool_]

FEWEST_LIVES: Final = 4
"""Fewer that are alike are the tracker's."""
_MOST_KNOWN: Final = 1024
"""How many lives to copy are remembered."""


class Newborn(NamedTuple):
    """Lives of one outline that are alike.

    Attributes:
        words: the window's, by life.
        first: where the records of each begin.
        outline: what they come to.
        life: one of them, whose numbers are those of time_of().
        digests: columns.digests() of their sides, which no frozen life has.
    """

    words: Words
    first: Numbers
    outline: Outline
    life: Life
    digests: Words


class Beginning:
    """Has lives begin.

    Args:
        registry: where they are from then on.
        frozen: what they are frozen to there.
    """

    def __init__(self, registry: Registry, frozen: FrozenColumns) -> None:
        self._registry = registry
        self._frozen = frozen
        self._known: dict[tuple[bytes, tuple[int, ...]], Life] = {}

    def groups(self, words: Words, alike: Alike, first: Numbers) -> Iterator[tuple[Truths, Life]]:
        """Those of the lives that are alike, with one of them as beginning_of() has it."""
        told = _identity(words, first, len(alike.what))
        if len(first) < FEWEST_LIVES:
            return
        if all((column == column[0]).all() for column in told):
            yield np.ones(len(first), np.bool_), self._one_of(words, alike, told, first, 0)
            return
        prints = told[0]
        for column in told[1:]:
            prints = columns.mix(prints, column)
        for one in columns.different(prints):
            which = prints == np.uint64(one)
            place = int(which.argmax())
            for column in told:
                which &= column == column[place]
            if np.count_nonzero(which) >= FEWEST_LIVES:
                yield which, self._one_of(words, alike, told, first, place)

    def _one_of(
        self, words: Words, alike: Alike, told: list[Words], first: Numbers, place: int
    ) -> Life:
        key = (alike.key, tuple([int(column[place]) for column in told]))
        if key not in self._known:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            records = words[first[place] : first[place] + len(alike.what)]
            self._known[key] = beginning_of(records.tobytes())
        return self._known[key]

    def begin(self, newborn: Newborn, listener: Listener | None, place: Place) -> None:
        """They are the tracker's from now on; whatever was in their objects is over.

        Args:
            newborn: the lives.
            listener: theirs, of servers.
            place: where they are counted.
        """
        life, freezer = newborn.life, self._registry.objects.freezer
        life.place = place
        life.connection.listening_process = listener.process if listener else None
        count, length = len(newborn.first), newborn.outline.length
        born = self._registry.take_ids(count)
        ids = np.arange(born, born + count)
        signed = newborn.words.view(np.int64)

        def numbers(number: int) -> Numbers:
            column = columns.AT_NS if number < length else columns.SOCK
            found: Numbers = signed[:, column][newborn.first + number % length]
            return ids if number == 2 * length else found

        records = newborn.words.take(newborn.first + newborn.outline.last, axis=0)
        rows = rows_of(freezer, life, records, timed(numbers))
        lack(rows, freezer, numbers(0) <= self._registry.lossy_until_ns)
        self._frozen.add(np.ascontiguousarray(records[:, columns.SOCK]), rows, newborn.digests)
        place.add(State.ESTABLISHED, newborn.outline.role, ids.tolist(), [])


def _identity(words: Words, first: Numbers, length: int) -> list[Words]:
    """What alike lives agree in: whose they are, and from which listener. Column by column."""
    told: list[Words] = []
    for number in range(length):
        records = words.take(first + number, axis=0)
        told += columns.identity(records)
        if not number:
            told.append(records[:, columns.ORIGIN])
    told.append(are_mapped(records).astype(np.uint64))
    return told
