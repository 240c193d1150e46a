"""What a snapshot tells: which objects there are, and by silence which are no more.

The kernel lists its sockets while they live on, and a record of a finding may come to the ring
before or after those of what the socket does at that moment:

- A request is hashed before SYN_QUEUED tells of it, and a child before CHILD_CREATED: the birth's
  record finds a life known by the snapshot alone, which makes way (Registry.make_way).
- A socket that was found may close, or pass its life on to another object, before its finding is
  written: what has left its object during the snapshot is remembered, and not found again.
- A state is stored after its record: a finding may tell of the state before the last transition.
  So states are compared when the snapshot ends, when every record is there.
"""

from __future__ import annotations

from collections import OrderedDict
from itertools import pairwise
from typing import TYPE_CHECKING, Final, NamedTuple

from tcptrace.lifecycle import life as rules
from tcptrace.lifecycle.connection import Connection, Process, Role
from tcptrace.lifecycle.life import STATES, Life, ends_in, has_ends_of
from tcptrace.lifecycle.registry import HOLD_NS, Registry
from tcptrace.tcp import State, family_name
from tcptrace.wire.events import Kind, Record

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from collections.abc import Set as AbstractSet

    from tcptrace.lifecycle.freezing import Frozen

SPARE_NS: Final = 1_000_000_000
"""What was told of later than so long before a snapshot began is never missed by it."""

# What every finding needs: an enum's attribute takes 120 ns before Python 3.12.
_TIME_WAIT: Final = State.TIME_WAIT
_NEW_SYN_RECV: Final = State.NEW_SYN_RECV
_WITHOUT_OWNER: Final = (_TIME_WAIT, _NEW_SYN_RECV)


class _Finding(NamedTuple):
    """A life was found in an object, in another state than the one known of it."""

    life: Life
    sock: int
    state: State
    at_ns: int


class Snapshots:
    """Changes lives and listeners by what snapshots find, and don't find any more.

    Attributes:
        taken: how many were brought to an end.
        healed: lives that were ended since a snapshot did not find them, or since their namespace
            was gone.
        corrected: lives that a snapshot found in another state than the one known of them.
        found: lives that no record had told of, but for those of the first snapshot.
    """

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self.handlers: dict[int, Callable[[Record], None]] = {Kind.SEEN: self._seen}
        self.taken = 0
        self.healed = 0
        self.corrected = 0
        self.found = 0
        self._number = 0
        self._began_ns = 0
        self._owners: Mapping[int, Process] = {}
        self._differing: dict[int, _Finding] = {}
        self._is_whole = True

    @property
    def number(self) -> int:
        """Of the snapshot that is being taken, or was last."""
        return self._number

    @property
    def owners(self) -> Mapping[int, Process]:
        """Who holds a socket, by its inode number, while a snapshot is taken."""
        return self._owners

    def begin(self, now_ns: int, owners: Mapping[int, Process]) -> None:
        """A snapshot begins; one that has not ended never will."""
        self._number += 1
        self._began_ns = now_ns
        self._owners = owners
        self._differing.clear()
        self._is_whole = True
        self._registry.left = OrderedDict()
        self._registry.folded.begin(self._number)

    def lose(self) -> None:
        """Records were lost: perhaps findings, so that silence means nothing in this snapshot."""
        self._is_whole = False

    def end(self, namespaces: AbstractSet[int]) -> bool:
        """Every record until its end has come: what it did not find is over.

        Args:
            namespaces: those that it covered completely.

        Returns:
            Whether no record was lost since it began.
        """
        registry = self._registry
        if registry.left is None:
            return False
        for finding in self._differing.values():
            self._compare(finding)
        covered = namespaces if self._is_whole else frozenset()
        self._heal(covered, self._began_ns, self._number)
        self.healed += registry.folded.end(covered)
        registry.left = None
        self._owners = {}
        self._differing.clear()
        self.taken += 1
        return self._is_whole

    def leave(self, namespaces: AbstractSet[int], now_ns: int) -> None:
        """Namespaces are gone, with all their sockets: there is nothing to be found any more."""
        self._heal(namespaces, now_ns, None)
        self.healed += self._registry.folded.leave(namespaces)

    def _heal(self, namespaces: AbstractSet[int], as_of_ns: int, number: int | None) -> None:
        """Ends what was told of before, and not found by the snapshot of that number."""
        registry = self._registry
        before_ns = as_of_ns - SPARE_NS
        for life in registry.unseen(number, namespaces):
            if rules.last_told_ns(life) < before_ns:
                rules.lose_end(life)
                registry.end(life)
                self.healed += 1
        registry.listeners.lose_unseen(namespaces, before_ns)

    def _seen(self, record: Record) -> None:
        state = STATES.get(record.old_state)
        if state is State.TIME_WAIT:
            state = STATES.get(record.new_state)
            if state not in (State.FIN_WAIT2, State.TIME_WAIT):
                state = None
        if state is None:
            self._registry.unexpected += 1
        elif state is State.LISTEN:
            self._listening(record)
        elif state is not State.CLOSE:
            self._found(record, state)

    # Listeners.

    def _listening(self, record: Record) -> None:
        registry, sock = self._registry, record.sock
        closed_ns = registry.listeners.closed_at_ns(sock)
        is_late = closed_ns is not None and record.at_ns - closed_ns < HOLD_NS
        if is_late and not registry.listeners.is_open(sock):
            return
        if self._is_cleared(record):
            registry.listeners.sight(record, self._owners.get(record.origin))

    def _is_cleared(self, record: Record) -> bool:
        """Ends what lived in an object where another was found, unless its last record is new."""
        registry = self._registry
        life = registry.in_object(record.sock)
        if life is not None and rules.last_told_ns(life) > record.at_ns - HOLD_NS:
            return False
        with registry.left_unnoted():
            registry.evict(record.sock)
        return True

    # Lives.

    def _found(self, record: Record, state: State) -> None:
        registry = self._registry
        frozen = registry.frozen_in(record.sock)
        if frozen is not None and self._is_as_known(frozen, record, state):
            registry.see_frozen(record.sock, self._number)
            return
        life = registry.in_object(record.sock)
        if life is not None and has_ends_of(life, record) and self._is_use_of(life, record):
            self._alive(life, record, state)
            return
        if registry.held_at(record) is not None:
            return
        gone = registry.left and registry.left.get((record.sock, ends_in(record)))
        if gone:
            gone.seen_in = self._number
        elif self._has_no_listener(record) and self._is_cleared(record):
            self._bear(record, state)

    def _is_as_known(self, frozen: Frozen, record: Record, state: State) -> bool:
        """Whether a finding tells nothing new of a frozen life."""
        shape = frozen.shape
        is_timewait = record.old_state == _TIME_WAIT
        is_request = record.old_state == _NEW_SYN_RECV
        is_owned = shape.has_process or record.old_state in _WITHOUT_OWNER
        return (
            shape.state is state
            and frozen.ends == ends_in(record)
            and shape.is_timewait == is_timewait
            and (is_timewait or shape.is_request == is_request)
            and (is_owned or record.origin not in self._owners)
            and (shape.has_cgroup or not record.cgroup)
        )

    def _is_use_of(self, life: Life, record: Record) -> bool:
        """Whether what was found is a life's own: its request, full or TIME_WAIT socket.

        A second object is its own for a moment: if no record said which one goes on, this one does.
        """
        registry = self._registry
        is_timewait = record.old_state == State.TIME_WAIT
        if record.sock == life.other:
            if record.at_ns - life.other_ns < HOLD_NS:
                return True
            with registry.left_unnoted():
                registry.keep_one(life, without=record.sock if life.is_timewait else life.sock)
            return not (life.is_timewait or is_timewait)
        if life.is_timewait or is_timewait:
            return life.is_timewait and is_timewait
        is_request = life.sock == life.request and bool(life.request)
        return is_request == (record.old_state == State.NEW_SYN_RECV)

    def _has_no_listener(self, record: Record) -> bool:
        """Whether no listener is in an object; one whose end was lost is over."""
        listeners = self._registry.listeners
        since_ns = listeners.known_since_ns(record.sock)
        if since_ns is None:
            return True
        if since_ns > record.at_ns - HOLD_NS:
            return False
        listeners.lose(record.sock)
        return True

    def _alive(self, life: Life, record: Record, state: State) -> None:
        connection = life.connection
        life.seen_in = self._number
        if record.sock != life.sock:
            return  # the full socket of its TIME_WAIT socket, or a second child
        if connection.process is None and record.old_state not in _WITHOUT_OWNER:
            connection.process = self._owners.get(record.origin)
        connection.cgroup = connection.cgroup or record.cgroup
        if state is connection.state or self._registry.left is None:
            self._differing.pop(connection.id, None)
        else:
            self._differing[connection.id] = _Finding(life, record.sock, state, record.at_ns)

    def _bear(self, record: Record, state: State) -> None:
        registry = self._registry
        if registry.is_full:
            registry.folded.find(record.netns, family_name(record.remote), state, record.sock)
            return
        life = registry.conceive(record, Role.UNKNOWN)
        connection = life.connection
        life.is_sighted = True
        life.is_timewait = record.old_state == State.TIME_WAIT
        life.seen_in = self._number
        if state is State.NEW_SYN_RECV:
            connection.role = Role.SERVER
            life.request, life.listener = record.sock, record.origin
            listener = registry.listeners.find(record.origin)
            connection.listening_process = listener.process if listener else None
        elif not life.is_timewait:
            connection.process = self._owners.get(record.origin)
        registry.begin_unseen(life, record.sock, state, record.at_ns)
        registry.move(life, record.sock, record.at_ns)
        registry.sight(life, record.at_ns)
        self.found += self.taken > 0
        if life.is_timewait and state is State.TIME_WAIT:
            rules.finish_fins(life)

    def _compare(self, finding: _Finding) -> None:
        """Settles what state a life is in: its records', if the finding may have come late."""
        life, sock, state, at_ns = finding
        connection = life.connection
        is_there = self._registry.in_object(sock) is life and life.sock == sock
        if not is_there or connection.state is state or _was_in(connection, state, at_ns):
            return
        self._registry.correct(life, state, at_ns)
        self.corrected += 1
        if life.is_timewait and state is State.TIME_WAIT:
            rules.finish_fins(life)
            self._registry.report(life)


def _was_in(connection: Connection, state: State, at_ns: int) -> bool:
    """Whether records tell of a transition after a finding, or out of `state` just before it."""
    spans = connection.spans
    entered_ns = spans[-1].at_ns if spans else None
    if entered_ns is not None and entered_ns > at_ns:
        return True
    for former, span in pairwise(spans):
        if former.state is state and span.at_ns is not None and span.at_ns > at_ns - HOLD_NS:
            return True
    return False
