"""Which life is in which kernel object, and how lives begin, move and end.

Objects' addresses are used again within milliseconds. So each record of a birth begins a new life,
whatever its object was before; and a record whose ends are not those of the life in its object
tells that a birth was missed.

Two things come only after a life seems over, so it is held for HOLD_NS: the RST that close() sends
after CLOSE, and the new connection that ended a TIME_WAIT socket early. What comes later than
that is judged by its time, so that the lives are the same however the records are batched.
"""

from __future__ import annotations

from collections import OrderedDict
from contextlib import contextmanager
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from tcptrace.lifecycle import life as rules
from tcptrace.lifecycle.connection import Connection, Outcome, Partial, Process, Role
from tcptrace.lifecycle.counts import StateCounts
from tcptrace.lifecycle.ends import Ends, is_known
from tcptrace.lifecycle.folding import (
    MOST_BUSY,
    MOST_CONNECTIONS,
    Folded,
    oldest,
    oldest_idle,
    too_many,
)
from tcptrace.lifecycle.life import Life, ends_in, has_ends_of, local_of, remote_of
from tcptrace.lifecycle.listeners import Listeners
from tcptrace.lifecycle.objects import Objects
from tcptrace.lifecycle.transitions import BORN_FROM
from tcptrace.lifecycle.waiting import Waiting, is_silent
from tcptrace.tcp import State

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator
    from collections.abc import Set as AbstractSet

    from tcptrace.lifecycle.freezing import Frozen
    from tcptrace.lifecycle.observer import Observer
    from tcptrace.wire.events import Record

HOLD_NS: Final = 50_000_000
"""How long a life that seems over is held: its RST or its successor comes within microseconds, but
perhaps on a CPU that a hypervisor has taken away for a while."""

MOST_HELD: Final = 65_536
"""How many lives are held: the last ones."""

MOST_LEFT: Final = 65_536
"""How many objects that were left while a snapshot is taken are remembered: the last ones."""

ObjectUse = tuple[int, tuple[Any, ...]]
"""An object, and the ends that it had."""

# What every record needs: an enum's attribute takes 120 ns before Python 3.12.
_CLOSE: Final = State.CLOSE
_ESTABLISHED: Final = State.ESTABLISHED
_TIME_WAIT: Final = State.TIME_WAIT
_END_LOST: Final = Partial.END_LOST


class Registry:
    """Every life that is not over, by its objects and by its ends.

    Args:
        on_closed: called once a life's full socket is gone: with TIME_WAIT entered, or at its end.
        on_ended: called once its last object is gone; after on_closed, but for a life that was told
            of and then folded, of which a part is left.
        observer: hears of what happens; without one sockets are not counted either.
        most: how many lives are kept in objects; the oldest idle ones beyond it are folded.

    Attributes:
        objects: which life is in which object.
    """

    def __init__(
        self,
        on_closed: Callable[[Connection], None],
        on_ended: Callable[[Connection], None],
        observer: Observer | None = None,
        most: int = MOST_CONNECTIONS,
    ) -> None:
        self._on_closed = on_closed
        self._on_ended = on_ended
        self.observer = observer
        self.counts = StateCounts()
        self.folded = Folded(self.counts)
        self.most = most
        self._next_fold_ns = 0
        self._held: OrderedDict[int, tuple[int, Life]] = OrderedDict()
        self._ends = Ends(self.in_object)
        self.objects = Objects(self._ends)
        self._lives = self.objects.lives
        self._born = 0
        self._with_two_objects = 0
        self.waiting = Waiting()
        self.listeners = Listeners(None if observer is None else self.folded)
        self.has_sighted = False
        """Whether a snapshot has found lives that no record told of before."""
        self.left: OrderedDict[ObjectUse, Life] | None = None
        """While a snapshot is taken: who has left which object lately."""
        self.lossy_until_ns = -1
        """When a loss was noticed last: whoever was born before may lack a record."""
        self.stack: tuple[int, ...] = ()
        """The kernel stack behind the record that is being handled."""
        self.unexpected = 0

    def mark_gaps(self, until_ns: int) -> None:
        """Marks every life that may lack a record: all that are not over, or begin until then."""
        self.lossy_until_ns = until_ns
        self.objects.mark_gaps()
        for life in (*(life for _, life in self._held.values()), *self.waiting.all):
            rules.lack(life.connection, Partial.GAP)

    @property
    def open_count(self) -> int:
        """How many lives are not over, held and waiting ones included."""
        return self._kept + len(self._held) + len(self.waiting)

    @property
    def _kept(self) -> int:
        return len(self.objects) - self._with_two_objects

    @property
    def has_second_objects(self) -> bool:
        """Whether a life has two objects at this moment."""
        return self._with_two_objects > 0

    # Who is where.

    def at(self, record: Record) -> Life | None:
        """The life that a record is about; another one in its object is over."""
        sock = record.sock
        life = self._lives.get(sock) or self.objects.find(sock)
        if life is None:
            return None
        if life.ends == ends_in(record) or has_ends_of(life, record):
            if life.sock == sock:
                return life
            if not life.is_timewait:
                # Of the two children of its request this is the one that goes on.
                life.sock, life.other = sock, life.sock
                return life
        self.evict(sock)
        return None

    def held_at(self, record: Record) -> Life | None:
        """The life that a record is about, if it seems over."""
        held = self._held.get(record.sock)
        if held is None or not has_ends_of(held[1], record):
            return None
        since_ns, life = held
        if record.at_ns - since_ns < HOLD_NS:
            return life
        self.let_go(life)
        return None

    def knocking(self, record: Record) -> Life | None:
        """The life of a peer that knocked before, unless it was silent for too long since."""
        life = self.waiting.find(record)
        if life is None or not is_silent(life, record.at_ns):
            return life
        self.waiting.remove(record)
        self.end_unborn(life)
        return None

    @property
    def awake(self) -> Collection[int]:
        """The objects in which lives are that are not frozen."""
        return self._lives.keys()

    @property
    def held(self) -> Collection[int]:
        """The objects in which lives were that are held."""
        return self._held.keys()

    def only_sighted(self, socks: AbstractSet[int], frozen: Iterable[int]) -> list[int]:
        """The objects in which are lives that a snapshot alone has told of.

        Args:
            socks: those among which lives are looked for that are not frozen.
            frozen: those of frozen lives of which a snapshot told first.
        """
        maybe = (*(socks & self._lives.keys()), *frozen)
        found = ((sock, self.objects.find(sock)) for sock in maybe)
        return [sock for sock, life in found if life is not None and rules.is_only_sighted(life)]

    def in_object(self, sock: int) -> Life | None:
        """The life in an object, unchecked."""
        return self.objects.find(sock)

    def frozen_in(self, sock: int) -> Frozen | None:
        """What can be told of the life in an object, if it is frozen."""
        return self.objects.look(sock)

    def see_frozen(self, sock: int, snapshot: int) -> None:
        """A snapshot found the frozen life in an object as it is known."""
        self.objects.see(sock, snapshot)

    def every_ends(self) -> Iterator[dict[str, Any]]:
        """Between which ends there are lives that are not over, as records name them."""
        names = ("netns", "local", "local_port", "remote", "remote_port")
        held = (life.ends for _, life in self._held.values())
        waiting = (life.ends for life in self.waiting.all)
        for ends in chain(self.objects.every_ends(), held, waiting):
            yield dict(zip(names, ends, strict=True))

    def with_ends_of(self, record: Record) -> Life | None:
        """The life between a record's ends, in whatever object."""
        return self._ends.find(record.netns, local_of(record), remote_of(record))

    def find(self, record: Record, state: State) -> Life:
        """The life that a record is about; a partial one if it began before the trace."""
        life = self.at(record)
        if life is None:
            life = self.bear(record, Role.UNKNOWN)
            self.begin_unseen(life, record.sock, state, record.at_ns)
            self.move(life, record.sock, record.at_ns)
        return life

    def begin_unseen(self, life: Life, sock: int, state: State, at_ns: int) -> None:
        """A life was in a state before its first record: perhaps it is one that was folded."""
        if self.folded.resume(life, sock, state, at_ns):
            rules.begin_unseen(life.connection, state, Partial.FOLDED)
            life.is_reported = state is _TIME_WAIT
        else:
            rules.begin_unseen(life.connection, state)

    # Births and moves.

    def make_way(self, record: Record) -> None:
        """A birth: if a snapshot alone told of its object, it only saw the same a moment early."""
        life = self.objects.find(record.sock)
        if life is None or not rules.is_only_sighted(life) or life.ends != ends_in(record):
            return
        self._leave_objects(life)
        self._ends.unlink(life)

    def sight(self, life: Life, at_ns: int) -> None:
        """Makes a life that a snapshot found known by its ends, unless another is."""
        self.has_sighted = True
        if is_known(life.connection):
            self._ends.add_if_free(life, at_ns)

    def bear(self, record: Record, role: Role) -> Life:
        """Begins a life, in no object yet, and makes it known by its ends."""
        life = self.conceive(record, role)
        self.meet(life, record.at_ns)
        return life

    def conceive(self, record: Record, role: Role) -> Life:
        """Begins a life whose ends are not settled yet: connect() may still choose its port."""
        self._born += 1
        connection = Connection(
            self._born,
            role,
            record.family,
            record.netns,
            local_of(record),
            remote_of(record),
            record.cgroup,
        )
        if record.at_ns <= self.lossy_until_ns:
            rules.lack(connection, Partial.GAP)
        return Life(connection, ends=ends_in(record), born_ns=record.at_ns)

    def meet(self, life: Life, at_ns: int) -> None:
        """Makes a life known by its ends, once they are whole."""
        if is_known(life.connection):
            self.succeed(life, at_ns)
            self._ends.add(life, at_ns)

    def succeed(self, life: Life, at_ns: int) -> None:
        """Its ends may be those of a TIME_WAIT socket just ended: then for this life's sake."""
        connection = life.connection
        former = self._ends.find(connection.netns, connection.local, connection.remote)
        if former is None or former is life or not former.is_released:
            return
        since_ns, held = self._held.get(former.sock, (at_ns, None))
        if held is not former:
            rules.lose_end(former)
        if former.connection.outcome is Outcome.CLOSED and at_ns - since_ns < HOLD_NS:
            former.connection.timewait_end = "reused"
        self.let_go(former)

    def rest(self, life: Life, sock: int, at_ns: int) -> None:
        """A life that was told of whole, and is in TIME_WAIT now, goes on in an object."""
        self.meet(life, at_ns)
        self.move(life, sock, at_ns)

    def adopt(self, life: Life) -> None:
        """A life that another registry has had is in its object here now, alone."""
        state, life.counted, life.place, life.keys = life.counted, None, None, ()
        self._ends.add(life, 0)
        self.objects.put(life.sock, life)
        self.counts.count(life, state, 0)

    @property
    def born(self) -> int:
        """How many lives have begun."""
        return self._born

    def take_ids(self, number: int) -> int:
        """So many lives are born; returns the first one's id."""
        first = self._born + 1
        self._born += number
        return first

    def name(self, life: Life, record: Record, *, is_over: bool = False) -> None:
        """Takes a connection's ends from a record, now that its port is chosen.

        One that is over by then does not become known by them: they may be a TIME_WAIT socket's.
        """
        connection = life.connection
        connection.local, connection.remote = local_of(record), remote_of(record)
        life.ends = ends_in(record)
        if not is_over:
            self.meet(life, record.at_ns)

    def move(self, life: Life, sock: int, at_ns: int) -> None:
        """A life goes on in an object, and leaves the one that it was in."""
        if self._lives.get(life.sock) is life:
            self._leave(life, life.sock)
        if life.other:
            self.forget_other(life)
        self.evict(sock)
        life.sock = sock
        self.objects.put(sock, life)
        if self.folded.found is not None:
            self.folded.reborn(sock)
        if self.observer is not None and life.connection.spans:
            self.counts.count(life, life.connection.spans[-1].state, at_ns)

    def keep_also(self, life: Life, sock: int, at_ns: int) -> None:
        """A second object is the life's own for a while."""
        if not sock or self._lives.get(sock) is life:
            return
        self.evict(sock)
        self.forget_other(life)
        life.other, life.other_ns = sock, at_ns
        self.objects.put(sock, life)
        if self.folded.found is not None:
            self.folded.reborn(sock)
        self._with_two_objects += 1

    def keep_one(self, life: Life, *, without: int) -> None:
        """Of a life's two objects one was given up."""
        if life.sock == without:
            life.sock, life.other = life.other, life.sock
        self.forget_other(life)

    def forget_other(self, life: Life) -> None:
        """The second object is its own no more."""
        if life.other:
            self._leave(life, life.other)
            self._with_two_objects -= 1
        life.other = 0

    def enter(self, life: Life, state: State, at_ns: int) -> None:
        """Moves a life to its next state; one that the tables don't have is counted."""
        connection = life.connection
        if not rules.enter(connection, state, at_ns, self.stack):
            self.unexpected += 1
        observer = self.observer
        if observer is None:
            return
        spans = connection.spans
        if len(spans) > 1:
            last = spans[-2]
            observer.changed(last.state, last.duration_ns, state)
        else:
            observer.changed(BORN_FROM.get(state, _CLOSE), None, state)
        self.counts.count(life, state, at_ns)
        if state is _ESTABLISHED and not life.was_established:
            life.was_established = True
            observer.established(connection)

    def correct(self, life: Life, state: State, at_ns: int) -> None:
        """A snapshot found a life in another state than the one that it was known to be in."""
        rules.leave(life.connection, state)
        if self.observer is not None:
            self.counts.count(life, state, at_ns)

    def take_role(self, life: Life, role: Role) -> None:
        """A life's role becomes known."""
        self.counts.take_role(life, role)

    # The limit.

    @property
    def is_full(self) -> bool:
        """Whether as many lives are kept as may be."""
        return self._kept >= self.most

    def make_room(self, now_ns: int) -> None:
        """Folds the oldest idle lives if there are too many.

        Not while a snapshot is taken, unless they are far too many: it settles the states of lives
        at its end.

        Args:
            now_ns: the time of the last record.
        """
        number = too_many(self._kept, self.most)
        is_urgent = number > MOST_BUSY
        can_wait = now_ns < self._next_fold_ns or self.left is not None
        if not number or (can_wait and not is_urgent):
            return
        chosen = oldest_idle(self.objects.oldest_first(), number, now_ns)
        if not chosen:
            self._next_fold_ns = now_ns + HOLD_NS
        if is_urgent and len(chosen) < number:
            chosen = oldest(self.objects.oldest_first(), number)
        with self.left_unnoted():
            for sock in [life.sock for life in chosen]:
                life = self.objects.find(sock)
                if life is None:
                    continue
                self.folded.fold(life)
                self._leave_objects(life)
                self._ends.remove(life)

    # Ends.

    def evict(self, sock: int) -> None:
        """The object begins another life: what lived there is over, seen or not."""
        held = self._held.get(sock)
        if held is not None:
            self.let_go(held[1])
        life = self.objects.find(sock)
        if life is None:
            return
        if life.sock == sock:
            rules.lose_end(life)
            self.end(life)
        else:
            self.forget_other(life)

    def hold(self, life: Life, at_ns: int) -> None:
        """A life seems over, but something may still come."""
        self._leave_objects(life)
        self._held[life.sock] = (at_ns, life)
        if len(self._held) > MOST_HELD:
            self.let_go(next(iter(self._held.values()))[1])

    def let_go(self, life: Life) -> None:
        """A held life is over."""
        self._held.pop(life.sock, None)
        self.end(life)

    def report(self, life: Life) -> None:
        """Tells once that a life's full socket is gone."""
        if not life.is_reported:
            life.is_reported = True
            self._on_closed(life.connection)

    def end(self, life: Life) -> None:
        """A life is over."""
        connection = life.connection
        self._leave_objects(life)
        self._ends.remove(life)
        is_listener_closed = not self.listeners.is_open(life.listener)
        rules.settle_unaccepted(connection, is_listener_closed=is_listener_closed)
        if _END_LOST not in connection.partial:
            spans = connection.spans
            connection.ended_at_ns = spans[-1].at_ns if spans else life.last_syn_ns
        self.report(life)
        if self.observer is not None:
            self.observer.over(connection)
        self._on_ended(connection)

    def end_unborn(self, life: Life) -> None:
        """The end of a SYN that never made a request socket. A cookie alone is no life."""
        if life.connection.syn_drops or life.connection.ack_drops:
            rules.give_up(life)
            self.end(life)

    def advance(self, now_ns: int) -> None:
        """Lets go what was held long enough."""
        while self._held:
            since_ns, life = next(iter(self._held.values()))
            if now_ns - since_ns < HOLD_NS:
                break
            self.let_go(life)
        for life in self.waiting.given_up(now_ns):
            self.end_unborn(life)
        if self.left is None:  # a snapshot compares lives at its end
            self.objects.rest(now_ns)

    def finish(self, now_ns: int) -> None:
        """Reports what is still going on as it stands."""
        self.advance(now_ns)
        for _, life in list(self._held.values()):
            self.let_go(life)
        for life in self.waiting.take_all():
            self.end_unborn(life)
        for life in self.objects.each():
            self._leave_objects(life)
            self.report(life)
            self._ends.remove(life)
            self._on_ended(life.connection)

    def unseen(self, snapshot: int | None, namespaces: AbstractSet[int]) -> Iterator[Life]:
        """Those in objects that a snapshot did not find; whoever takes one may end it."""
        return self.objects.unseen(snapshot, namespaces)

    def _leave_objects(self, life: Life) -> None:
        """A life is in no object any more."""
        if self._lives.get(life.sock) is life:
            self._leave(life, life.sock)
        if life.other:
            self.forget_other(life)
        if life.counted is not None:
            self.counts.count(life, None, 0)

    @contextmanager
    def left_unnoted(self) -> Iterator[None]:
        """What is left here, no record told of: it may well be found again."""
        left, self.left = self.left, None
        try:
            yield
        finally:
            self.left = left

    def _leave(self, life: Life, sock: int) -> None:
        self.objects.remove(sock)
        if self.left is not None:
            self.left[sock, life.ends] = life
            if len(self.left) > MOST_LEFT:
                self.left.popitem(last=False)


def process_of(record: Record) -> Process:
    """The process that a record names."""
    return Process(record.pid, record.comm.rstrip(b"\0"))
