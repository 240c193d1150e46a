"""Numbers by numbers, of which one may have several."""

from __future__ import annotations


class Index:
    """Numbers by numbers."""

    def __init__(self) -> None:
        self._others: dict[int, int | tuple[int, ...]] = {}
        """One alone takes no tuple: most are."""

    def __len__(self) -> int:
        """How many keys have numbers."""
        return len(self._others)

    def of(self, key: int) -> tuple[int, ...]:
        """The numbers of a key."""
        found = self._others.get(key)
        if found is None:
            return ()
        return found if isinstance(found, tuple) else (found,)

    def add(self, key: int, number: int) -> None:
        """A key has one more number."""
        others = Index.of(self, key)  # not what a subclass keeps elsewhere
        self._others[key] = (*others, number) if others else number

    def remove(self, key: int, number: int) -> None:
        """It has it no more.

        Raises:
            KeyError: nor did it before.
        """
        others = Index.of(self, key)  # not what a subclass keeps elsewhere
        if number not in others:
            raise KeyError(key)
        left = tuple(one for one in others if one != number)
        if left:
            self._others[key] = left
        else:
            del self._others[key]
