"""Which life is in which kernel object; those that rest there are kept frozen.

A life that nothing was told of for a while is frozen, and thawed when it is asked for, by its
object or by its ends. Nobody can tell: what is kept is the same (freezing). Those in the
MOST_WARM objects that got a life last are left as they are: nothing is frozen where there are few.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final

from tcptrace.lifecycle import life as rules
from tcptrace.lifecycle.connection import Partial
from tcptrace.lifecycle.freezing import Freezer, seen, seen_in, shape_number
from tcptrace.lifecycle.frozen_lives import FrozenLives
from tcptrace.lifecycle.life import Life, last_told_ns
from tcptrace.lifecycle.slow import SLOW_NS, slowness_ns
from tcptrace.tcp import State
from tcptrace.wire.digest import digest_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from collections.abc import Set as AbstractSet

    from tcptrace.lifecycle.connection import Role
    from tcptrace.lifecycle.ends import Ends
    from tcptrace.lifecycle.freezing import Frozen, Shape
    from tcptrace.lifecycle.frozen_columns import FrozenColumns

MOST_WARM: Final = 4096
"""In how many objects lives are left as they are: up to 9 MB."""
REST_NS: Final = 1_000_000_000
"""Nothing was told for so long of a life that rests."""
_STEPS: Final = 256
"""How many lives are looked at each time, besides those that were told of since: 3 ms."""
MOST_SLOW: Final = 512
"""How many slow lives are not frozen though they rest: 1 MB."""


class Objects:
    """Lives by the address of their object.

    Args:
        ends: where a life is found by its ends.

    Attributes:
        lives: those that are not frozen, in the order in which they came there.
        frozen: what the others were frozen to.
        freezer: what freezes them.
        keeps_slow: whether slow lives stay as they are, so that their end can be told whole.
    """

    def __init__(self, ends: Ends) -> None:
        self.lives: dict[int, Life] = {}
        self.frozen: FrozenLives | FrozenColumns = FrozenLives()
        self.ends = ends
        ends.frozen = self.frozen.by_sides
        self.freezer = Freezer()
        self._warm: deque[int] = deque()
        """Objects whose lives are not frozen, or were not: the longest so first."""
        self._warmed = 0
        self.keeps_slow = False
        self._slow: set[int] = set()

    def __len__(self) -> int:
        """How many objects have a life."""
        return len(self.lives) + len(self.frozen)

    def keep_in(self, frozen: FrozenColumns) -> None:
        """Keeps there what is frozen from now on; nothing is yet."""
        self.frozen = frozen
        self.ends.frozen, self.ends.digest_of = frozen.by_sides, digest_of

    def find(self, sock: int) -> Life | None:
        """The life in an object."""
        life = self.lives.get(sock)
        if life is None and self.frozen:
            frozen = self.frozen.get(sock)
            return None if frozen is None else self._thaw(sock, frozen)
        return life

    def put(self, sock: int, life: Life) -> None:
        """A life is in an object now."""
        self.lives[sock] = life
        self._warm.append(sock)
        self._warmed += 1

    def remove(self, sock: int) -> None:
        """An object has its life, which is not frozen, no more."""
        del self.lives[sock]

    def peek(self, wanted: Callable[[Shape], bool] | None = None) -> Iterator[Life]:
        """Every life once; those that are frozen stay so, and what is told of them is a copy.

        Args:
            wanted: tells by its shape whether a frozen life is; None: every one is.
        """
        freezer = self.freezer
        are_wanted: dict[int, bool] = {}
        for sock, frozen in self.frozen.each():
            if wanted is not None:
                number = shape_number(frozen)
                if number not in are_wanted:
                    are_wanted[number] = wanted(freezer.shape_of(number))
                if not are_wanted[number]:
                    continue
            yield freezer.thaw(sock, frozen)
        yield from self._warm_ones()

    def oldest_first(self) -> Iterator[Life]:
        """The same of all, those first that have rested longest."""
        for sock in self.frozen.oldest_first():
            yield self.freezer.thaw(sock, self.frozen[sock])
        yield from self._warm_ones()

    def _warm_ones(self) -> Iterator[Life]:
        """Those that are not frozen."""
        return (life for sock, life in self.lives.items() if life.sock == sock)

    def time_waits(self) -> Iterator[tuple[Role, tuple[Any, ...]]]:
        """The role and the ends (as life.ends_in() has them) of every life in TIME_WAIT."""
        for _, frozen in self.frozen.each():
            shape, ends = self.freezer.look(frozen)
            if shape.state is State.TIME_WAIT:
                yield shape.role, ends
        for life in self.lives.values():
            if life.connection.state is State.TIME_WAIT:
                yield life.connection.role, life.ends

    def every_ends(self) -> Iterator[tuple[Any, ...]]:
        """The ends (as life.ends_in() has them) of the life in each object."""
        for _, frozen in self.frozen.each():
            yield self.freezer.look(frozen).ends
        for life in self.lives.values():
            yield life.ends

    def each(self) -> Iterator[Life]:
        """Every life once; whoever takes one may end it."""
        for sock in [*self.frozen.oldest_first(), *self.lives]:
            life = self.find(sock)
            if life is not None and life.sock == sock:
                yield life

    def unseen(self, snapshot: int | None, namespaces: AbstractSet[int]) -> Iterator[Life]:
        """Those in some namespaces that a snapshot did not find; whoever takes one may end it."""
        unseen = [sock for sock, frozen in self.frozen.each() if seen_in(frozen) != snapshot]
        unseen += [sock for sock, life in self.lives.items() if life.seen_in != snapshot]
        for sock in unseen:
            life = self.find(sock)
            if life is not None and life.sock == sock and life.connection.netns in namespaces:
                yield life

    def look(self, sock: int) -> Frozen | None:
        """What can be told of the frozen life in an object; None if there is none."""
        frozen = self.frozen.get(sock)
        return None if frozen is None else self.freezer.look(frozen)

    def see(self, sock: int, snapshot: int) -> None:
        """A snapshot found the frozen life in an object as it is known."""
        self.frozen[sock] = seen(self.frozen[sock], snapshot)

    def mark_gaps(self) -> None:
        """Marks every life as one that may lack a record."""
        self.freezer.gaps += 1
        for life in self.lives.values():
            rules.lack(life.connection, Partial.GAP)

    def rest(self, now_ns: int) -> None:
        """Freezes the lives that rest, if there are many; a bounded number at a time.

        Args:
            now_ns: the time.
        """
        steps = min(len(self._warm) - MOST_WARM, _STEPS + 2 * self._warmed)
        self._warmed = 0
        for _ in range(steps):
            sock = self._warm.popleft()
            life = self.lives.get(sock)
            if life is None:
                continue  # it has gone, or was told of twice
            if last_told_ns(life) > now_ns - REST_NS or not self._freeze(sock, life):
                self._warm.append(sock)

    def _freeze(self, sock: int, life: Life) -> bool:
        if not sock or life.sock != sock or not self.ends.lead_to(life) or self._stays(sock, life):
            return False
        frozen = self.freezer.freeze(life)
        if frozen is None:
            return False
        self.ends.freeze(life)
        del self.lives[sock]
        self.frozen[sock] = frozen
        return True

    def _stays(self, sock: int, life: Life) -> bool:
        """Whether a life that rests is not frozen: it is slow, and one of few."""
        if not self.keeps_slow or slowness_ns(life.connection) < SLOW_NS:
            return False
        if sock not in self._slow and len(self._slow) >= MOST_SLOW:
            self._slow = {one for one in self._slow if self._is_slow(one)}
            if len(self._slow) >= MOST_SLOW:
                return False
        self._slow.add(sock)
        return True

    def _is_slow(self, sock: int) -> bool:
        life = self.lives.get(sock)
        return life is not None and slowness_ns(life.connection) >= SLOW_NS

    def _thaw(self, sock: int, frozen: bytes) -> Life:
        """Makes the life in an object what it was before it was frozen."""
        life = self.freezer.thaw(sock, frozen)
        self.freezer.release(frozen)
        del self.frozen[sock]
        self.put(sock, life)
        self.ends.thaw(life)
        return life
