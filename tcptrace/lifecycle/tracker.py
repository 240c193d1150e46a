"""Joins records into lives: events in, lives out. No clock, no I/O.

A life is found by the kernel object that a record is about; it moves from object to object
(request socket → child, socket → TIME_WAIT socket) by the records that name both. Objects'
addresses are used again within milliseconds, so each record of a birth begins a new life, whatever
its object was before.

Two things come only after a life seems over, so it is held for HOLD_NS: the RST that close() sends
after CLOSE, and the new connection that ended a TIME_WAIT socket early.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tcptrace.lifecycle import life as rules
from tcptrace.lifecycle.connection import (
    Connection,
    How,
    Listener,
    Outcome,
    Partial,
    Process,
    Role,
    Side,
)
from tcptrace.lifecycle.ends import Ends, is_known
from tcptrace.lifecycle.life import Life, local_of, remote_of
from tcptrace.lifecycle.listeners import Listeners
from tcptrace.lifecycle.waiting import Waiting
from tcptrace.tcp import Endpoint, State
from tcptrace.wire.events import Flag, Kind, Record, Stage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tcptrace.wire.decode import Stacked

HOLD_NS: Final = 50_000_000
"""How long a life that seems over is held: its RST or its successor comes within microseconds, but
perhaps on a CPU that a hypervisor has taken away for a while."""

_STATES: Final = {int(state): state for state in State}

# After these, CLOSE is the end: no RST can follow.
_FINAL_BEFORE_CLOSE: Final = frozenset({State.LAST_ACK, State.SYN_SENT, State.CLOSING})


class Tracker:
    """Rebuilds lives from records.

    Args:
        on_closed: called once a life's full socket is gone: with TIME_WAIT entered, or at its end.
        on_ended: called once its last object is gone, always after on_closed.
    """

    def __init__(
        self,
        on_closed: Callable[[Connection], None],
        on_ended: Callable[[Connection], None],
    ) -> None:
        self._on_closed = on_closed
        self._on_ended = on_ended
        self._lives: dict[int, Life] = {}
        self._ends = Ends()
        self._waiting = Waiting()
        self._held: dict[int, tuple[int, Life]] = {}
        self._listeners = Listeners()
        self._born = 0
        self._stack: tuple[int, ...] = ()
        self.unexpected = 0
        """Records that tell of a transition which the tables don't have, or of nothing known."""
        self._handlers: dict[int, Callable[[Record], None]] = {
            Kind.STATE_CHANGED: self._state_changed,
            Kind.CONNECT_SENT: self._connect_sent,
            Kind.SYN_QUEUED: self._syn_queued,
            Kind.SYN_COOKIE_SENT: self._syn_cookie_sent,
            Kind.SYN_DROPPED: self._syn_dropped,
            Kind.CHILD_CREATED: self._child_created,
            Kind.CHILD_DROPPED: self._child_dropped,
            Kind.ACK_DROPPED: self._ack_dropped,
            Kind.REQUEST_DROPPED: self._request_dropped,
            Kind.ACCEPTED: self._accepted,
            Kind.SYN_RETRANSMITTED: self._syn_retransmitted,
            Kind.SYNACK_RETRANSMITTED: self._synack_retransmitted,
            Kind.RESET_SENT: self._reset_sent,
            Kind.RESET_RECEIVED: self._reset_received,
            Kind.TIMEWAIT_ENTERED: self._timewait_entered,
            Kind.TIMEWAIT_STATE_CHANGED: self._timewait_state_changed,
            Kind.TIMEWAIT_RELEASED: self._timewait_released,
            Kind.TIMEWAIT_KILLED: self._timewait_killed,
        }

    @property
    def listeners(self) -> list[Listener]:
        """Every listener that the records told of."""
        return self._listeners.all

    @property
    def open_count(self) -> int:
        """How many lives are not over."""
        return len({id(life) for life in self._lives.values()}) + len(self._held)

    def feed(self, records: Iterable[Record]) -> None:
        """Takes records in the order of the ring."""
        handlers = self._handlers
        for record in records:
            handler = handlers.get(record.kind)
            if handler is None:
                self.unexpected += 1
            else:
                handler(record)

    def feed_stacked(self, pairs: Iterable[Stacked]) -> None:
        """The same, with the kernel stack behind each record."""
        for record, stack in pairs:
            self._stack = stack
            self.feed((record,))
        self._stack = ()

    def advance(self, now_ns: int) -> None:
        """Lets go what was held long enough."""
        while self._held:
            since_ns, life = next(iter(self._held.values()))
            if now_ns - since_ns < HOLD_NS:
                break
            self._let_go(life)
        for life in self._waiting.given_up(now_ns):
            self._end_unborn(life)

    def finish(self, now_ns: int) -> None:
        """Ends the trace: what is still going on is reported as it stands."""
        self.advance(now_ns)
        for _, life in list(self._held.values()):
            self._let_go(life)
        for life in self._waiting.take_all():
            self._end_unborn(life)
        for life in {id(life): life for life in self._lives.values()}.values():
            self._report(life)
            self._ends.remove(life)
            self._on_ended(life.connection)
        self._lives.clear()

    # Births and ends.

    def _bear(self, record: Record, sock: int, role: Role, local: Endpoint | None = None) -> Life:
        """Begins a life in an object, after ending whatever lived there before."""
        self._evict(sock)
        self._born += 1
        connection = Connection(
            self._born,
            role,
            record.family,
            record.netns,
            local or local_of(record),
            remote_of(record),
        )
        life = Life(connection, sock)
        if sock:
            self._lives[sock] = life
        if is_known(connection):
            self._meet(life)
        return life

    def _meet(self, life: Life) -> None:
        """Makes a life known by its ends, which may be those of a TIME_WAIT socket just ended."""
        connection = life.connection
        former = self._ends.find(connection.netns, connection.local, connection.remote)
        if former is not None and former is not life and former.is_released:
            former.connection.timewait_end = "reused"
            self._let_go(former)
        self._ends.add(life)

    def _evict(self, sock: int) -> None:
        """The object begins another life: what lived there is over, seen or not."""
        held = self._held.get(sock)
        if held is not None:
            self._let_go(held[1])
        life = self._lives.pop(sock, None)
        if life is None or life.replaced == sock:
            return
        if life.connection.state is not State.TIME_WAIT:
            life.connection.partial.add(Partial.END_LOST)
            life.connection.outcome = Outcome.UNKNOWN
        self._end(life)

    def _hold(self, life: Life, at_ns: int) -> None:
        self._lives.pop(life.sock, None)
        former = self._held.get(life.sock)
        if former is not None:
            self._let_go(former[1])
        self._held[life.sock] = (at_ns, life)

    def _let_go(self, life: Life) -> None:
        self._held.pop(life.sock, None)
        self._end(life)

    def _report(self, life: Life) -> None:
        if not life.is_reported:
            life.is_reported = True
            self._on_closed(life.connection)

    def _end(self, life: Life) -> None:
        if self._lives.get(life.sock) is life:
            del self._lives[life.sock]
        if life.replaced and self._lives.get(life.replaced) is life:
            del self._lives[life.replaced]
        self._ends.remove(life)
        connection = life.connection
        rules.settle_unaccepted(
            connection, is_listener_closed=not self._listeners.is_open(life.listener)
        )
        last = connection.spans[-1].at_ns if connection.spans else life.last_syn_ns
        connection.ended_at_ns = last
        self._report(life)
        self._on_ended(connection)

    def _end_unborn(self, life: Life) -> None:
        """A SYN that never made a request socket: dropped each time. A cookie alone is no life."""
        if life.connection.syn_drops:
            rules.give_up_syn(life)
            self._end(life)
        else:
            self._ends.remove(life)

    def _find(self, record: Record, state: State | None = None) -> Life:
        """The life in the record's object; a partial one if it began before the trace."""
        life = self._lives.get(record.sock)
        if life is None:
            life = self._bear(record, record.sock, Role.UNKNOWN)
            if state is None:
                life.connection.partial.add(Partial.BEGAN_BEFORE)
            else:
                rules.begin_unseen(life.connection, state)
        return life

    def _enter(self, life: Life, state: State, at_ns: int) -> None:
        if not rules.enter(life.connection, state, at_ns, self._stack):
            self.unexpected += 1

    # Full sockets.

    def _state_changed(self, record: Record) -> None:
        old, new = _STATES.get(record.old_state), _STATES.get(record.new_state)
        if old is None or new is None:
            self.unexpected += 1
        elif new is State.LISTEN:
            self._evict(record.sock)
            self._listeners.open(record)
        elif old is State.LISTEN:
            self._listeners.close(record)
        elif new is State.SYN_SENT:
            self._connecting(record)
        else:
            self._moved(record, old, new)

    def _connecting(self, record: Record) -> Life:
        life = self._bear(record, record.sock, Role.CLIENT)
        life.connection.process = _process(record)
        life.connection.syn_at_ns = record.at_ns
        self._enter(life, State.SYN_SENT, record.at_ns)
        return life

    def _moved(self, record: Record, old: State, new: State) -> None:
        life = self._lives.get(record.sock)
        if life is not None and life.replaced == record.sock:
            if new is State.CLOSE:
                del self._lives[record.sock]
                life.replaced = 0
                return
            self._evict(record.sock)
            life = None
        life = life or self._find(record, old)
        connection = life.connection
        rules.leave(connection, old)
        connection.retransmits = max(connection.retransmits, record.retransmits)
        if not is_known(connection):
            self._name(life, record)
        self._enter(life, new, record.at_ns)
        if new is State.CLOSE:
            rules.close(life, record)
            if old in _FINAL_BEFORE_CLOSE:
                self._end(life)
            else:
                self._hold(life, record.at_ns)

    def _name(self, life: Life, record: Record) -> None:
        life.connection.local, life.connection.remote = local_of(record), remote_of(record)
        if is_known(life.connection):
            self._meet(life)

    def _connect_sent(self, record: Record) -> None:
        life = self._lives.get(record.sock)
        if life is None or life.connection.state is not State.SYN_SENT:
            # The filter could not know its port before.
            life = self._connecting(record)
        else:
            self._name(life, record)
        life.connection.syn_at_ns = record.at_ns
        life.syn_was_sent = True

    def _syn_retransmitted(self, record: Record) -> None:
        life = self._lives.get(record.sock)
        if life is None:
            return
        if record.new_state == State.SYN_SENT:
            life.connection.syn_retransmits += 1
        else:
            life.connection.synack_retransmits += 1
        rules.remember(life.connection, record)

    def _reset_received(self, record: Record) -> None:
        life = self._lives.get(record.sock)
        if life is not None:
            life.reset_received = True
            rules.remember(life.connection, record)

    def _reset_sent(self, record: Record) -> None:
        held = self._held.get(record.sock)
        life = held[1] if held else self._lives.get(record.sock)
        if record.stage == Stage.ABORT_ON_OVERFLOW:
            self._listeners.drop(record, record.origin)
        if life is None:
            return
        rules.remember(life.connection, record)
        if held:
            rules.reset_after_close(life)
            self._let_go(life)
        else:
            life.reset_sent = True

    # Request sockets and children.

    def _syn_queued(self, record: Record) -> None:
        listener = self._listeners.see(record, record.origin)
        self._evict(record.sock)
        waiting = self._waiting.take(record)
        life = waiting or self._bear(record, record.sock, Role.SERVER)
        life.sock, life.listener = record.sock, record.origin
        self._lives[record.sock] = life
        connection = life.connection
        connection.listening_process = listener.process
        connection.request_at_ns = record.at_ns
        connection.syn_at_ns = connection.syn_at_ns or record.at_ns
        self._enter(life, State.NEW_SYN_RECV, record.at_ns)
        rules.remember(connection, record)

    def _syn_cookie_sent(self, record: Record) -> None:
        self._listeners.see(record, record.origin).cookies_sent += 1
        life = self._unborn(record)
        life.connection.cookie = True
        rules.remember(life.connection, record)

    def _syn_dropped(self, record: Record) -> None:
        self._listeners.drop(record, record.origin)
        life = self._unborn(record)
        life.connection.syn_drops += 1
        rules.remember(life.connection, record)

    def _unborn(self, record: Record) -> Life:
        """The life of a peer that knocks, while the listener keeps nothing of it."""
        life = self._waiting.find(record)
        if life is None:
            life = self._bear(record, 0, Role.SERVER)
            life.connection.syn_at_ns = record.at_ns
            life.listener = record.origin
        for forgotten in self._waiting.put(record, life):
            self._end_unborn(forgotten)
        return life

    def _child_created(self, record: Record) -> None:
        life = self._lives.pop(record.origin, None)
        self._evict(record.sock)
        if life is None:
            life = self._child_without_request(record)
        connection = life.connection
        life.sock = record.sock
        self._lives[record.sock] = life
        connection.role = Role.SERVER
        connection.family = record.family
        connection.queued_at_ns = record.at_ns
        self._enter(life, State.SYN_RECV, record.at_ns)
        rules.remember(connection, record)
        if life.listener:
            self._listeners.see(record, life.listener)

    def _child_without_request(self, record: Record) -> Life:
        """A cookie's ACK or a Fast Open SYN makes a child at once; else the request wasn't seen."""
        life = self._waiting.take(record) or self._bear(record, 0, Role.SERVER)
        connection = life.connection
        if record.flags & Flag.FASTOPEN:
            connection.fastopen = True
            connection.syn_at_ns = connection.syn_at_ns or record.at_ns
        elif not record.flags & Flag.COOKIE:
            rules.begin_unseen(connection, State.NEW_SYN_RECV)
        elif connection.syn_at_ns is None:
            connection.partial.add(Partial.BEGAN_BEFORE)
        connection.cookie = bool(record.flags & Flag.COOKIE)
        return life

    def _child_dropped(self, record: Record) -> None:
        life = self._lives.get(record.sock)
        held = self._held.get(record.sock)
        life = held[1] if held else life
        if life is None:
            return
        if Partial.BEGAN_BEFORE in life.connection.partial:
            # Two CPUs made a child of one request: the life goes on in the other one.
            self._held.pop(record.sock, None)
            self._lives.pop(record.sock, None)
            self._ends.remove(life)
            return
        if not held:
            self._enter(life, State.CLOSE, record.at_ns)
        life.connection.closed_by, life.connection.closed_how = Side.LOCAL, How.LISTENER_CLOSED
        life.connection.outcome = Outcome.NEVER_ACCEPTED
        self._let_go(life)

    def _ack_dropped(self, record: Record) -> None:
        self._listeners.drop(record, record.origin)
        life = self._request(record)
        life.connection.ack_drops += 1
        rules.remember(life.connection, record)

    def _request_dropped(self, record: Record) -> None:
        if record.stage in (Stage.REQUEST_EXPIRED, Stage.LISTENER_CLOSED):
            self._listeners.drop(record, record.origin)
        life = self._request(record)
        rules.remember(life.connection, record)
        rules.end_request(life, record)
        self._enter(life, State.CLOSE, record.at_ns)
        self._end(life)

    def _synack_retransmitted(self, record: Record) -> None:
        life = self._request(record)
        life.connection.synack_retransmits += 1
        rules.remember(life.connection, record)

    def _request(self, record: Record) -> Life:
        life = self._find(record, State.NEW_SYN_RECV)
        life.connection.role = Role.SERVER
        life.listener = record.origin
        return life

    def _accepted(self, record: Record) -> None:
        state = _STATES.get(record.new_state)
        if record.sock not in self._lives and state in (State.CLOSE, None):
            return  # accept() still hands out a child that was reset while it waited
        life = self._find(record, state)
        connection = life.connection
        connection.role = Role.SERVER
        if connection.accepted_at_ns is None:
            connection.accepted_at_ns = record.at_ns
            connection.process = _process(record)
            rules.remember(connection, record)

    # TIME_WAIT sockets.

    def _timewait_entered(self, record: Record) -> None:
        old, new = _STATES.get(record.old_state), _STATES.get(record.new_state)
        if old is None or new is None:
            self.unexpected += 1
            return
        life = self._lives.get(record.origin)
        self._evict(record.sock)
        if life is None or life.replaced == record.origin:
            life = self._bear(record, record.origin, Role.UNKNOWN)
        rules.leave(life.connection, old)
        life.sock, life.replaced = record.sock, record.origin
        self._lives[record.sock] = life
        if new is not life.connection.state:
            self._enter(life, new, record.at_ns)
        self._finish_fins(life)

    def _timewait_state_changed(self, record: Record) -> None:
        life = self._lives.get(record.sock)
        if life is not None and life.connection.state is State.FIN_WAIT2:
            self._enter(life, State.TIME_WAIT, record.at_ns)
            self._finish_fins(life)

    def _finish_fins(self, life: Life) -> None:
        if life.connection.state is State.TIME_WAIT:
            life.connection.closed_how = How.FIN
            life.connection.outcome = Outcome.CLOSED
            self._report(life)

    def _timewait_released(self, record: Record) -> None:
        life = self._lives.get(record.sock)
        if life is not None:
            life.is_released = True

    def _timewait_killed(self, record: Record) -> None:
        life = self._lives.get(record.sock)
        if life is None or life.replaced == record.sock:
            return
        connection = life.connection
        if connection.state is State.FIN_WAIT2:
            connection.closed_how, connection.outcome = How.TIMEOUT, Outcome.TIMEOUT
        connection.timewait_end = "killed" if life.is_released else "timer"
        self._enter(life, State.CLOSE, record.at_ns)
        if life.is_released:
            self._hold(life, record.at_ns)
        else:
            self._end(life)


def _process(record: Record) -> Process:
    return Process(record.pid, record.comm.rstrip(b"\0"))
