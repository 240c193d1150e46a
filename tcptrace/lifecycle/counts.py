"""How many sockets are in each state now, kept with every transition; asked without a walk.

A life counts once while it is in a kernel object, whichever of its objects that is, in the state
that it is in: what the kernel's hash tables have of it. A life that is in CLOSE, held, over or in
no object yet counts nowhere. One that is folded, because there are too many, counts on.

What is told apart by network namespace is so for MOST_NAMESPACES of them. Those that come when so
many are known share one place for each family, with OTHER_NETNS for their inode number.
"""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING, Final

from tcptrace.lifecycle.connection import Role
from tcptrace.tcp import State

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from tcptrace.lifecycle.life import Life

# What every transition needs: an enum's attribute takes 120 ns before Python 3.12.
_CLOSE: Final = State.CLOSE
_CLOSE_WAIT: Final = State.CLOSE_WAIT
_TIME_WAIT: Final = State.TIME_WAIT

_UNKNOWN: Final = Role.UNKNOWN
_NOWHERE: Final[dict[str, Place]] = {}

AGED: Final = (_CLOSE_WAIT, _TIME_WAIT)
"""The states whose sockets' ages are kept."""

MOST_NAMESPACES: Final = 1000
"""How many network namespaces are told apart."""
OTHER_NETNS: Final = 0
"""The rest of them: no namespace has this inode number."""


class Place:
    """The sockets of one namespace and family.

    Attributes:
        by_state: how many are in a state, at its number.
        close_waits: when those in CLOSE_WAIT entered it, by life.
        time_waits: the same for TIME_WAIT.
        folded: how many of those in a state are not kept one by one: no age is known of them.
        roles: how many of those in TIME_WAIT have a life of this role; folded ones are unknown.
    """

    __slots__ = ("by_state", "close_waits", "folded", "roles", "time_waits")

    def __init__(self) -> None:
        self.by_state = [0] * (max(State) + 1)
        self.folded = [0] * (max(State) + 1)
        self.close_waits: dict[int, int] = {}
        self.time_waits: dict[int, int] = {}
        self.roles = dict.fromkeys(Role, 0)

    def add(self, state: State, role: Role, lives: list[int], entered_ns: list[int]) -> None:
        """Lives of one role are in a state, which each of them entered then."""
        self.by_state[state] += len(lives)
        if state is _TIME_WAIT:
            self.time_waits.update(zip(lives, entered_ns, strict=True))
            self.roles[role] += len(lives)
        elif state is _CLOSE_WAIT:
            self.close_waits.update(zip(lives, entered_ns, strict=True))

    def take_away(self, state: State, role: Role, lives: list[int]) -> None:
        """They are in it no more."""
        self.by_state[state] -= len(lives)
        if state is _TIME_WAIT:
            deque(map(self.time_waits.__delitem__, lives), maxlen=0)
            self.roles[role] -= len(lives)
        elif state is _CLOSE_WAIT:
            deque(map(self.close_waits.__delitem__, lives), maxlen=0)


class StateCounts:
    """Counts sockets by namespace, family and state; listeners as LISTEN."""

    def __init__(self) -> None:
        self._places: dict[int, dict[str, Place]] = {}

    def count(self, life: Life, state: State | None, at_ns: int) -> None:
        """A life is in this state now.

        Args:
            life: counted until now in the state that it was in last, if in any.
            state: None if it is in no object.
            at_ns: when it entered the state, or was found in it.
        """
        if state is _CLOSE:
            state = None
        former = life.counted
        if former is state:
            return
        connection = life.connection
        place = life.place
        if place is None or former is None:
            # The place of a life that is counted nowhere may have been forgotten meanwhile.
            life.place = place = self.place(connection.netns, connection.family_name)
        if former is not None:
            place.by_state[former] -= 1
            if former is _TIME_WAIT:
                del place.time_waits[connection.id]
                place.roles[connection.role] -= 1
            elif former is _CLOSE_WAIT:
                del place.close_waits[connection.id]
        if state is not None:
            place.by_state[state] += 1
            if state is _TIME_WAIT:
                place.time_waits[connection.id] = at_ns
                place.roles[connection.role] += 1
            elif state is _CLOSE_WAIT:
                place.close_waits[connection.id] = at_ns
        life.counted = state

    def fold(self, life: Life, state: State) -> Place:
        """A life is kept no more, and counts on where it is returned."""
        self.count(life, state, 0)
        place, connection = life.place, life.connection
        if place is None:
            raise AssertionError("a life that is counted has its place")
        place.folded[state] += 1
        if state is _TIME_WAIT:
            del place.time_waits[connection.id]
            place.roles[connection.role] -= 1
            place.roles[_UNKNOWN] += 1
        elif state is _CLOSE_WAIT:
            del place.close_waits[connection.id]
        life.counted = None
        return place

    def unfold(self, life: Life, place: Place, state: State, at_ns: int) -> None:
        """The reverse: one of those that are folded there is this life."""
        place.folded[state] -= 1
        connection = life.connection
        if state is _TIME_WAIT:
            place.time_waits[connection.id] = at_ns
            place.roles[_UNKNOWN] -= 1
            place.roles[connection.role] += 1
        elif state is _CLOSE_WAIT:
            place.close_waits[connection.id] = at_ns
        life.counted, life.place = state, place

    def folded_at(self, netns: int, family: str, state: State) -> Place | None:
        """Where a socket may be folded; None if none is there in that state."""
        for told_as in (netns, OTHER_NETNS):
            place = self._places.get(told_as, _NOWHERE).get(family)
            if place is not None and place.folded[state]:
                return place
        return None

    def add_folded(self, netns: int, family: str, state: State) -> Place:
        """Counts a socket without a life."""
        place = self.place(netns, family)
        self.settle_folded(place, state, place.folded[state] + 1)
        return place

    def settle_folded(self, place: Place, state: State, number: int) -> None:
        """So many are folded in this state."""
        change = number - place.folded[state]
        place.folded[state] += change
        place.by_state[state] += change
        if state is _TIME_WAIT:
            place.roles[_UNKNOWN] += change

    def places(self) -> list[tuple[int, Place]]:
        """Every place, with its namespace."""
        return [(netns, one) for netns, places in self._places.items() for one in places.values()]

    @property
    def folded(self) -> Counter[State]:
        """How many sockets are folded now, by state."""
        folded: Counter[State] = Counter()
        for _, place in self.places():
            folded.update({state: place.folded[state] for state in State if place.folded[state]})
        return folded

    def take_role(self, life: Life, role: Role) -> None:
        """A life's role becomes known."""
        if life.counted is _TIME_WAIT and life.place is not None:
            life.place.roles[life.connection.role] -= 1
            life.place.roles[role] += 1
        life.connection.role = role

    def place(self, netns: int, family: str) -> Place:
        """Where a namespace's sockets of a family are counted that are counted from now on.

        It is kept as long as anything is counted in it; what was counted in a place goes from it,
        since later ones of the same namespace may be counted elsewhere.
        """
        places = self._places.get(netns)
        if places is None:
            if len(self._places) >= MOST_NAMESPACES:
                netns = OTHER_NETNS
            places = self._places.setdefault(netns, {})
        place = places.get(family)
        if place is None:
            place = places[family] = Place()
        return place

    @property
    def sockets(self) -> Mapping[tuple[int, str], Sequence[int]]:
        """By namespace and family's name, the count of each state at its number."""
        return {
            (netns, family): place.by_state
            for netns, places in self._places.items()
            for family, place in places.items()
        }

    @property
    def namespaces(self) -> list[int]:
        """Every network namespace that is told apart, and OTHER_NETNS if there are others."""
        return sorted(self._places)

    @property
    def occupied(self) -> set[int]:
        """Those where anything is counted now."""
        return {netns for netns, places in self._places.items() if _any_in(places.values())}

    def by_state(self, netns: int) -> list[int] | None:
        """How many sockets of a namespace are in each state, at its number.

        None if it is not told apart.
        """
        if netns not in self._places and OTHER_NETNS in self._places:
            return None
        cells = [place.by_state for place in self._of(netns)]
        return [sum(numbers) for numbers in zip(*cells, strict=True)] or [0] * (max(State) + 1)

    def entered_ns(self, netns: int, state: State) -> list[int]:
        """When the sockets that are in a state of AGED now entered it, the oldest first.

        Of sockets that were there before the trace it is the time at which a snapshot found them.
        """
        times: list[int] = []
        for place in self._of(netns):
            entered = place.time_waits if state is _TIME_WAIT else place.close_waits
            times.extend(entered.values())
        times.sort()
        return times

    def time_waits(self, netns: int) -> dict[Role, int]:
        """How many sockets are in TIME_WAIT, by the role of their life."""
        places = self._of(netns)
        return {role: sum(place.roles[role] for place in places) for role in Role}

    def forget(self, netns: int) -> None:
        """Drops a namespace that is gone, unless something is still counted in it."""
        if not _any_in(self._of(netns)):
            self._places.pop(netns, None)

    def _of(self, netns: int) -> list[Place]:
        return list(self._places.get(netns, {}).values())


def _any_in(places: Iterable[Place]) -> bool:
    return any(any(place.by_state) for place in places)
