"""Finds names by numbers where the kernel only lists them: by a walk over all there are.

For numbers that are never used again, and names that stay: those of cgroups. A number is
looked for when it is first seen, since what it names may be gone a moment later. The collector does
it between two reads of the ring, so a walk is done in slices, and walks have a share of its time
only; what a walk came across is remembered.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from tcptrace.lifecycle.names import Known

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_SLICE_S: Final = 0.02
"""How long the ring waits for a slice of a walk."""
_SHARE: Final = 0.2
"""Of the time that goes by, what may go to walks in the long run."""
_MOST_CREDIT_S: Final = 0.4
"""What may go to them at once, after a quiet while."""
_FIRST_S: Final = 1.0
"""How long the first walk may take, before anything is traced."""
_MOST_WALKED: Final = 20_000
"""What a walk came across and nobody has asked for yet."""
_MOST_PENDING: Final = 1_000


class Lookup:
    """Names by numbers.

    Args:
        walk: begins a walk over all there are now; None for what has no number or name.
        known: where names go that were asked for and found.
        found: hears of each of those.
    """

    def __init__(
        self,
        walk: Callable[[], Iterator[tuple[int, str] | None]],
        known: Known[int, str],
        found: Callable[[str], object] = str,
    ) -> None:
        self._tell = found
        self._begin = walk
        self._known = known
        self._walked: dict[int, str] = {}
        self._pending: set[int] = set()
        self._missed: Known[int, None] = Known()
        self._walk: Iterator[tuple[int, str] | None] | None = None
        self._fresh: dict[int, str] = {}
        self._asked: set[int] = set()
        self._credit_s = _MOST_CREDIT_S
        self._at_s = time.monotonic()

    def walk_once(self) -> None:
        """Walks over what is there at the start, as far as a second goes."""
        self._advance(_FIRST_S)
        self._credit_s, self._at_s = _MOST_CREDIT_S, time.monotonic()

    def want(self, numbers: Iterable[int]) -> None:
        """These were seen: their names are wanted, now or soon."""
        for number in set(numbers).difference(self._known, self._missed, self._pending, (0,)):
            name = self._walked.get(number)
            if name is not None:
                self._learn(number, name)
            elif len(self._pending) < _MOST_PENDING:
                self._pending.add(number)

    def look(self) -> None:
        """Goes on looking for what is wanted, if it is time to."""
        if self.is_due():
            self._advance(_SLICE_S)

    def is_due(self) -> bool:
        """Whether there is something to look for, and time for it."""
        return bool(self._pending) and self._credit_at(time.monotonic()) > 0

    def _credit_at(self, now_s: float) -> float:
        """How long walks may take by now."""
        return min(_MOST_CREDIT_S, self._credit_s + (now_s - self._at_s) * _SHARE)

    def _advance(self, slice_s: float) -> None:
        if self._walk is None:
            self._walk, self._fresh, self._asked = self._begin(), {}, set(self._pending)
        began_s = now_s = time.monotonic()
        for found in self._walk:
            if found is not None:
                self._come_across(*found)
            now_s = time.monotonic()
            if now_s - began_s > slice_s:
                break
        else:
            self._end()
        self._credit_s = self._credit_at(began_s) - (time.monotonic() - began_s)
        self._at_s = began_s

    def _come_across(self, number: int, name: str) -> None:
        if number in self._pending:
            self._pending.remove(number)
            self._learn(number, name)
        if len(self._fresh) < _MOST_WALKED:
            self._fresh[number] = name

    def _learn(self, number: int, name: str) -> None:
        self._known.learn(number, name)
        self._tell(name)

    def _end(self) -> None:
        """What was asked for before this walk began, and not found, is gone: ids don't return."""
        self._walk = None
        self._walked, self._fresh = self._fresh, {}
        for number in self._asked & self._pending:
            self._missed.learn(number, None)
        self._pending -= self._asked
