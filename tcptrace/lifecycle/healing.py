"""When lost records made the state counts doubtful, and when a snapshot made them right again.

That is so namespace by namespace: a snapshot makes up for a loss where it walked over all sockets.
It can't walk over a namespace that was made after tracing had begun, and a walk can fail. One that
begins right after a loss heals nothing: it can't miss what was told of just before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable
    from collections.abc import Set as AbstractSet

HEAL_AFTER_NS: Final = 3_000_000_000
"""So long after the last loss a snapshot is due: what was under way then is over. No earlier one
heals, since a snapshot does not judge what was told of in the second before it."""
_MOST_DOUBLINGS: Final = 4


class Healing:
    """Follows losses and snapshots.

    Attributes:
        unhealed: the namespaces that no snapshot has covered since a loss, as of the last whole
            snapshot after it.
        heals: how many snapshots made up for a loss, in one namespace at least.
        last_loss_ns: when a loss was noticed last; None before the first.
        last_heal_ns: when the last of those snapshots ended; None before the first.
    """

    def __init__(self) -> None:
        self.unhealed: set[int] = set()
        self.heals = 0
        self.last_loss_ns: int | None = None
        self.last_heal_ns: int | None = None
        self._is_fresh = False
        self._has_begun_quietly = False
        self._has_lost_since = False
        self._vain = 0

    @property
    def is_suspect(self) -> bool:
        """Whether records were lost that were not made up for, anywhere."""
        return self._is_fresh or bool(self.unhealed)

    def suspects(self, known: Iterable[int]) -> set[int]:
        """Those of the known namespaces whose state counts are doubtful."""
        return set(known) if self._is_fresh else self.unhealed.intersection(known)

    def lose(self, now_ns: int) -> None:
        """Records were lost, or never made: nobody knows in which namespace."""
        self._is_fresh = self._has_lost_since = True
        self.last_loss_ns = now_ns

    def is_due(self, now_ns: int) -> bool:
        """Whether a snapshot should be taken out of turn.

        One that loses its own findings, since the ring is too small for them, is tried again later
        and later.
        """
        if not self._is_fresh or self.last_loss_ns is None:
            return False
        return now_ns - self.last_loss_ns >= HEAL_AFTER_NS << min(self._vain, _MOST_DOUBLINGS)

    def is_quiet(self, now_ns: int) -> bool:
        """Whether the last loss is long enough ago for a snapshot to make up for it."""
        return self.last_loss_ns is None or now_ns - self.last_loss_ns >= HEAL_AFTER_NS

    def begin(self, now_ns: int) -> None:
        """A snapshot begins."""
        self._has_begun_quietly = self.is_quiet(now_ns)
        self._has_lost_since = False

    def end(
        self, now_ns: int, covered: AbstractSet[int], known: Iterable[int], *, is_whole: bool
    ) -> None:
        """The snapshot has ended.

        Args:
            now_ns: now.
            covered: the namespaces that it walked over completely.
            known: all of which anything is told.
            is_whole: whether no record was lost since it began, so that all findings are there.
        """
        if not is_whole:
            self._vain = self._vain + 1 if self._has_begun_quietly else 0
            return
        self._vain = 0
        if self._has_lost_since or not self._has_begun_quietly:
            return
        told = set(known)
        doubtful = self.suspects(told)
        was_suspect, self._is_fresh = self.is_suspect, False
        self.unhealed = doubtful - covered
        if doubtful & covered or (was_suspect and not self.unhealed):
            self.heals += 1
            self.last_heal_ns = now_ns

    def forget(self, netns: int) -> None:
        """A namespace is gone, and nothing is counted in it any more."""
        self.unhealed.discard(netns)
