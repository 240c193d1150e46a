"""Open listeners that are not kept one by one, since there are too many: which they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from tcptrace.tcp import State, family_name

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from tcptrace.lifecycle.folding import Folded
    from tcptrace.wire.events import Record

MOST_UNKEPT: Final = 65_536
"""How many are remembered; while there are so many, any object may be one of the others."""
_LISTEN: Final = State.LISTEN


class _Unkept(NamedTuple):
    netns: int
    since_ns: int


class Unkept:
    """Remembers them, and has them counted.

    Args:
        folded: counts them; if given.
    """

    def __init__(self, folded: Folded | None) -> None:
        self._folded = folded
        self._open: dict[int, _Unkept] = {}
        self._seen: set[int] = set()

    def is_any(self, sock: int) -> bool:
        """Whether one of them is in this object, as far as is known."""
        return sock in self._open or len(self._open) >= MOST_UNKEPT

    def add(self, record: Record) -> None:
        """One more listens."""
        self._remember(record)
        if self._folded is not None:
            self._folded.add(record.netns, family_name(record.local), _LISTEN)

    def take(self, record: Record) -> bool:
        """One listens no more, or is kept from now on; False if it is none of them."""
        was_known = self._open.pop(record.sock, None) is not None
        if self._folded is None:
            return was_known
        family = family_name(record.local)
        return self._folded.take(record.netns, family, _LISTEN, record.sock) or was_known

    def replace(self, record: Record) -> None:
        """A new listener is in an object: what was there listens no more."""
        if record.sock in self._open:
            self.take(record)

    # Snapshots.

    def find(self, record: Record) -> None:
        """A snapshot found one."""
        self._remember(record)
        self._seen.add(record.sock)
        if self._folded is not None:
            family = family_name(record.local)
            self._folded.find(record.netns, family, _LISTEN, record.sock)

    def lose_unseen(self, namespaces: AbstractSet[int], before_ns: int) -> None:
        """Ends a snapshot: those that it did not find are gone; their number corrects itself.

        Args:
            namespaces: those that the snapshot covered.
            before_ns: what was first told of since then may have come too late for the snapshot.
        """
        for sock, (netns, since_ns) in list(self._open.items()):
            if since_ns < before_ns and netns in namespaces and sock not in self._seen:
                del self._open[sock]
        self._seen.clear()

    def _remember(self, record: Record) -> None:
        if record.sock in self._open or len(self._open) < MOST_UNKEPT:
            self._open.setdefault(record.sock, _Unkept(record.netns, record.at_ns))
