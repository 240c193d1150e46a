"""Lives that begin within a window and go on, many at once: they are frozen as they come.

Those that the same process opened, or accepted, from the same listener are alike but for their
ends, times and objects: the first of them is had from the tracker (shapes), and all are frozen as
it would be.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from tcptrace.lifecycle.frozen_columns import digests_of
from tcptrace.lifecycle.frozen_rows import are_mapped, lack, rows_of, sides_of, timed
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
    """

    words: Words
    first: Numbers
    outline: Outline
    life: Life


class Beginning:
    """Has lives begin.

    Args:
        registry: where they are from then on.
        frozen: what they are frozen to there.
    """

    def __init__(self, registry: Registry, frozen: FrozenColumns) -> None:
        self._registry = registry
        self._frozen = frozen
        self._known: dict[tuple[bytes, bytes], Life] = {}

    def groups(self, words: Words, alike: Alike, first: Numbers) -> Iterator[tuple[Truths, Life]]:
        """Those of the lives that are alike, with one of them as beginning_of() has it."""
        length = len(alike.what)
        told = _identity(words, first, length)
        prints = told[:, 0]
        for place in range(1, told.shape[1]):
            prints = columns.mix(prints, told[:, place])
        for one in columns.different(prints):
            which = prints == np.uint64(one)
            place = int(which.argmax())
            which &= (told == told[place]).all(axis=1)
            if np.count_nonzero(which) < FEWEST_LIVES:
                continue
            key = (alike.key, told[place].tobytes())
            if key not in self._known:
                if len(self._known) >= _MOST_KNOWN:
                    self._known.clear()
                records = words[first[place] : first[place] + length]
                self._known[key] = beginning_of(records.tobytes())
            yield which, self._known[key]

    def are_free(self, records: Words) -> Truths:
        """Whether no frozen life is between the ends that each record names."""
        return self._frozen.are_free(digests_of(sides_of(records)))

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
        sides = sides_of(records)
        rows = rows_of(freezer, life, sides, timed(numbers))
        lack(rows, freezer, numbers(0) <= self._registry.lossy_until_ns)
        self._frozen.add(np.ascontiguousarray(records[:, columns.SOCK]), rows, digests_of(sides))
        place.add(State.ESTABLISHED, newborn.outline.role, ids.tolist(), [])


def _identity(words: Words, first: Numbers, length: int) -> Words:
    """What alike lives agree in: whose they are, and from which listener. A row for each."""
    told: list[Words] = []
    for number in range(length):
        records = words.take(first + number, axis=0)
        told += columns.identity(records)
        if not number:
            told.append(records[:, columns.ORIGIN])
    told.append(are_mapped(records).astype(np.uint64))
    return np.stack(told, axis=1)
