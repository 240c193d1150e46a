"""Follows the names of network namespaces while a trace goes on.

An inode number is used again as soon as its namespace is gone; a name may come long after its
namespace, and go before it. So names are read again when /run/netns has changed, and now and then
besides: a mount can be replaced without a trace in the directory.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from tcptrace.kernel import netns

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tcptrace.lifecycle.names import Known

_LOOK_S: Final = 0.5
"""Between two looks at whether anything has changed, while nothing is asked for."""
_AGAIN_S: Final = 60.0
"""After so long names are read again, changed or not."""
_SETTLING_S: Final = 2.0
"""After a change names are read again for so long: its file comes before its mount."""
_PAUSE_S: Final = 0.05
_SHARE: Final = 0.05
"""Of the time that goes by, what may go to reading names: at least a pause lies in between."""


class NamespaceNames:
    """Keeps the names of the namespaces that are asked for.

    Args:
        known: where they are kept. A name that is gone stays there for what happened while it was,
            until something begins in a namespace of that number.
    """

    def __init__(self, known: Known[int, str]) -> None:
        self._known = known
        self._named: dict[int, str] = {}
        self._renewed: set[int] = set()
        """In which something has begun since names have changed; to be judged by the next read."""
        self._is_stale = False
        self._changed_ns = 0
        self._read_s = self._looked_s = self._changed_s = float("-inf")
        self._not_before_s = float("-inf")
        self._look(time.monotonic())

    def want(self, numbers: Iterable[int]) -> None:
        """These were seen just now: each is called what /run/netns calls it."""
        self._look(time.monotonic())
        for number in numbers:
            name = self._named.get(number)
            if name is not None and self._known.get(number) != name:
                self._known.learn(number, name)

    def renew(self, numbers: Iterable[int]) -> None:
        """Something has begun in these, just wanted: a name that is gone is theirs no more."""
        for number in numbers:
            if number not in self._named:
                self._known.forget(number)
            elif self._is_stale:
                self._renewed.add(number)  # what it was called may be another's name

    def is_named(self, number: int) -> bool:
        """Whether it has a name, as of the last look."""
        return number in self._named

    def follow(self) -> None:
        """Looks whether names have changed, if it is time to."""
        now_s = time.monotonic()
        if now_s - self._looked_s >= _LOOK_S:
            self._look(now_s)

    def _look(self, now_s: float) -> None:
        changed_ns = netns.changed_ns()
        self._is_stale = now_s < self._not_before_s and changed_ns != self._changed_ns
        if now_s < self._not_before_s:
            return
        self._looked_s = now_s
        if changed_ns != self._changed_ns:
            self._changed_ns, self._changed_s = changed_ns, now_s
        is_settling = now_s - self._changed_s < _SETTLING_S
        if is_settling or now_s - self._read_s >= _AGAIN_S:
            self._read(now_s)

    def _read(self, now_s: float) -> None:
        self._named = {number: name for number, (name, _) in netns.named().items()}
        self._read_s = now_s
        took_s = time.monotonic() - now_s
        self._not_before_s = now_s + max(_PAUSE_S, took_s / _SHARE)
        for number in self._renewed - self._named.keys():
            self._known.forget(number)
        self._renewed.clear()
        for number, name in self._named.items():
            if self._known.get(number, name) != name:
                self._known.learn(number, name)
