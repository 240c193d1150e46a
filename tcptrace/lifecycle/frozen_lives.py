"""Frozen lives by the address of their object, one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tcptrace.lifecycle.index import Index

if TYPE_CHECKING:
    from collections.abc import Iterable


class FrozenLives(dict[int, bytes]):
    """What the lives in objects were frozen to.

    Attributes:
        by_sides: their objects, by a digest of their two sides.
    """

    def __init__(self) -> None:
        super().__init__()
        self.by_sides = Index()

    def each(self) -> Iterable[tuple[int, bytes]]:
        """Every object with what it has, in any order."""
        return self.items()

    def oldest_first(self) -> Iterable[int]:
        """Every object, the one first whose life was frozen first."""
        return self
