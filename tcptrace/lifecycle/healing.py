"""When lost records made the state counts doubtful, and when a snapshot made them right again."""

from __future__ import annotations

from typing import Final

HEAL_AFTER_NS: Final = 3_000_000_000
"""So long after the last loss a snapshot is due: what was under way then is over."""
_MOST_DOUBLINGS: Final = 4


class Healing:
    """Follows losses and snapshots.

    Attributes:
        is_suspect: whether records were lost that no snapshot has made up for.
        heals: how many snapshots made up for a loss.
        last_loss_ns: when a loss was noticed last; None before the first.
        last_heal_ns: when the last of those snapshots ended; None before the first.
    """

    def __init__(self) -> None:
        self.is_suspect = False
        self.heals = 0
        self.last_loss_ns: int | None = None
        self.last_heal_ns: int | None = None
        self._has_begun_quietly = False
        self._vain = 0

    def lose(self, now_ns: int) -> None:
        """Records were lost."""
        self.is_suspect = True
        self.last_loss_ns = now_ns

    def is_due(self, now_ns: int) -> bool:
        """Whether a snapshot should be taken out of turn.

        One that loses its own findings, since the ring is too small for them, is tried again later
        and later.
        """
        if not self.is_suspect or self.last_loss_ns is None:
            return False
        return now_ns - self.last_loss_ns >= HEAL_AFTER_NS << min(self._vain, _MOST_DOUBLINGS)

    def begin(self, now_ns: int) -> None:
        """A snapshot begins."""
        since_ns = now_ns - (self.last_loss_ns or 0)
        self._has_begun_quietly = since_ns >= HEAL_AFTER_NS

    def end(self, now_ns: int, *, is_whole: bool) -> None:
        """The snapshot has ended.

        Args:
            now_ns: now.
            is_whole: whether nothing was lost since it began.
        """
        if not is_whole:
            self._vain = self._vain + 1 if self._has_begun_quietly else 0
            return
        self._vain = 0
        if self.is_suspect:
            self.is_suspect = False
            self.heals += 1
            self.last_heal_ns = now_ns
