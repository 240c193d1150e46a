"""What happens to full sockets: states, connect(), RSTs, SYNs sent again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tcptrace.lifecycle import life as rules
from tcptrace.lifecycle.connection import Role
from tcptrace.lifecycle.life import STATES, Life
from tcptrace.lifecycle.observer import Direction
from tcptrace.lifecycle.registry import Registry, process_of
from tcptrace.tcp import State, family_name
from tcptrace.wire.events import Kind, Record

if TYPE_CHECKING:
    from collections.abc import Callable

# What every record needs: an enum's attribute takes 120 ns before Python 3.12.
_CLOSE: Final = State.CLOSE
_SYN_RECV: Final = State.SYN_RECV
_LISTEN: Final = State.LISTEN
_SYN_SENT: Final = State.SYN_SENT
_CLIENT: Final = Role.CLIENT

# After these, CLOSE is the end: hardly ever can a RST follow.
_FINAL_BEFORE_CLOSE: Final = frozenset({State.LAST_ACK, State.SYN_SENT, State.CLOSING})


class SocketEvents:
    """Changes lives by the records about full sockets."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self.handlers: dict[int, Callable[[Record], None]] = {
            Kind.STATE_CHANGED: self._state_changed,
            Kind.CONNECT_SENT: self._connect_sent,
            Kind.SYN_RETRANSMITTED: self._syn_retransmitted,
            Kind.RESET_SENT: self._reset_sent,
            Kind.RESET_RECEIVED: self._reset_received,
        }

    def _state_changed(self, record: Record) -> None:
        old, new = STATES.get(record.old_state), STATES.get(record.new_state)
        if old is None or new is None:
            self._registry.unexpected += 1
        elif new is _LISTEN or old is _LISTEN:
            self._listened(record, old, new)
        elif new is _SYN_SENT:
            self._connecting(record)
        else:
            self._moved(record, old, new)

    def _listened(self, record: Record, old: State, new: State) -> None:
        registry = self._registry
        duration_ns = None
        if new is _LISTEN:
            registry.evict(record.sock)
            registry.listeners.open(record)
        else:
            listener = registry.listeners.close(record)
            if listener is not None and listener.opened_at_ns is not None:
                duration_ns = max(0, record.at_ns - listener.opened_at_ns)
        if registry.observer is not None:
            registry.observer.changed(old, duration_ns, new)

    def _connecting(self, record: Record) -> Life:
        """Its ends count only once the SYN leaves: until then they may be a TIME_WAIT socket's."""
        if self._registry.has_sighted:
            self._registry.make_way(record)
        life = self._registry.conceive(record, _CLIENT)
        self._registry.move(life, record.sock, record.at_ns)
        life.connection.process = process_of(record)
        life.connection.syn_at_ns = record.at_ns
        self._registry.enter(life, _SYN_SENT, record.at_ns)
        return life

    def _moved(self, record: Record, old: State, new: State) -> None:
        registry = self._registry
        if new is _CLOSE and self._replaced(record, old):
            return
        life = registry.at(record) or registry.find(record, old)
        connection = life.connection
        spans = connection.spans
        if not spans or spans[-1].state is not old:
            rules.leave(connection, old)
        if record.retransmits:
            connection.retransmits = max(connection.retransmits, record.retransmits)
        if not life.keys:
            registry.name(life, record, is_over=new is _CLOSE)
        registry.enter(life, new, record.at_ns)
        if new is _CLOSE:
            rules.close(life, old, record.error)
            if old in _FINAL_BEFORE_CLOSE:
                registry.end(life)
            else:
                registry.hold(life, record.at_ns)

    def _replaced(self, record: Record, old: State) -> bool:
        """Whether a CLOSE is no end: a TIME_WAIT socket took over, or a child was never queued.

        A child that fails in the making goes SYN_RECV → CLOSE before it has a record of its own.
        """
        life = self._registry.in_object(record.sock)
        if life is None:
            return old is _SYN_RECV
        if life.is_timewait and life.other == record.sock:
            self._registry.forget_other(life)
            return True
        return False

    def _connect_sent(self, record: Record) -> None:
        if self._registry.has_sighted:
            self._registry.make_way(record)
        life = self._registry.at(record)
        if life is None or life.connection.state is not _SYN_SENT:
            # The filter could not know its port before.
            life = self._connecting(record)
        self._registry.name(life, record)
        life.connection.syn_at_ns = record.at_ns
        life.syn_was_sent = True

    def _syn_retransmitted(self, record: Record) -> None:
        self._tell_retransmit(record)
        life = self._registry.at(record)
        if life is None:
            return
        if record.new_state == _SYN_SENT:
            life.connection.syn_retransmits += 1
        else:
            life.connection.synack_retransmits += 1
        rules.remember(life.connection, record)

    def _tell_retransmit(self, record: Record) -> None:
        observer = self._registry.observer
        if observer is None:
            return
        family = family_name(record.remote)
        if record.new_state == _SYN_SENT:
            observer.syn_retransmitted(record.netns, family)
        else:
            observer.synack_retransmitted(record.netns, family)

    def _tell_reset(self, record: Record, direction: Direction) -> None:
        observer, state = self._registry.observer, STATES.get(record.old_state)
        if observer is not None and state is not None:
            observer.reset(record.netns, direction, state)

    def _reset_received(self, record: Record) -> None:
        self._tell_reset(record, Direction.RECEIVED)
        life = self._registry.at(record)
        if life is not None:
            life.reset_received = True
            rules.remember(life.connection, record)

    def _reset_sent(self, record: Record) -> None:
        self._tell_reset(record, Direction.SENT)
        held = self._registry.held_at(record)
        life = held or self._registry.at(record)
        if life is None:
            return
        rules.remember(life.connection, record)
        if held:
            rules.reset_after_close(life)
            self._registry.let_go(life)
        else:
            life.reset_sent = True
