"""What happens to TIME_WAIT sockets: each takes over from a full socket, and outlives it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tcptrace.lifecycle import life as rules
from tcptrace.lifecycle.connection import Role
from tcptrace.lifecycle.life import STATES, Life, has_ends_of
from tcptrace.tcp import State, family_name
from tcptrace.wire.events import Kind, Record

if TYPE_CHECKING:
    from collections.abc import Callable

    from tcptrace.lifecycle.registry import Registry

# What every record needs: an enum's attribute takes 120 ns before Python 3.12.
_CLOSE: Final = State.CLOSE
_FIN_WAIT2: Final = State.FIN_WAIT2
_TIME_WAIT: Final = State.TIME_WAIT


class TimewaitEvents:
    """Changes lives by the records about TIME_WAIT sockets."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self.handlers: dict[int, Callable[[Record], None]] = {
            Kind.TIMEWAIT_ENTERED: self._entered,
            Kind.TIMEWAIT_STATE_CHANGED: self._state_changed,
            Kind.TIMEWAIT_RELEASED: self._released,
            Kind.TIMEWAIT_KILLED: self._killed,
        }

    def _entered(self, record: Record) -> None:
        registry = self._registry
        old, new = STATES.get(record.old_state), STATES.get(record.new_state)
        if old is None or new not in (_FIN_WAIT2, _TIME_WAIT):
            registry.unexpected += 1
            return
        if registry.has_sighted:
            registry.make_way(record)
        life = self._full_socket_of(record, old)
        rules.leave(life.connection, old)
        registry.move(life, record.sock, record.at_ns)
        life.is_timewait = True
        registry.keep_also(life, record.origin, record.at_ns)
        if new is not old:
            registry.enter(life, new, record.at_ns)
        self._finish_fins(life)

    def _full_socket_of(self, record: Record, old: State) -> Life:
        registry = self._registry
        life = registry.in_object(record.origin)
        if life is not None and not life.is_timewait and has_ends_of(life, record):
            return life
        registry.evict(record.origin)
        life = registry.bear(record, Role.UNKNOWN)
        registry.begin_unseen(life, record.origin, old, record.at_ns)
        return life

    def _state_changed(self, record: Record) -> None:
        life = self._timewait(record, _FIN_WAIT2)
        if life is not None and life.connection.state is _FIN_WAIT2:
            self._registry.enter(life, _TIME_WAIT, record.at_ns)
            self._finish_fins(life)

    def _finish_fins(self, life: Life) -> None:
        if life.connection.state is _TIME_WAIT:
            rules.finish_fins(life)
            self._registry.report(life)

    def _released(self, record: Record) -> None:
        life = self._timewait(record, STATES.get(record.new_state))
        if life is not None:
            life.is_released = True

    def _killed(self, record: Record) -> None:
        life = self._timewait(record, STATES.get(record.new_state))
        if life is None:
            return
        connection = life.connection
        if connection.state is _FIN_WAIT2 and record.new_state == _TIME_WAIT:
            rules.leave(connection, _TIME_WAIT)  # the peer's FIN has come unseen
            self._finish_fins(life)
        if connection.state is _FIN_WAIT2:
            rules.lose_half_closed(life)
            self._registry.enter(life, _CLOSE, record.at_ns)
            self._registry.end(life)
            return
        connection.timewait_end = "killed" if life.is_released else "timer"
        self._registry.enter(life, _CLOSE, record.at_ns)
        if life.is_released:
            self._registry.hold(life, record.at_ns)
        else:
            self._registry.end(life)

    def _timewait(self, record: Record, state: State | None) -> Life | None:
        """The life in a TIME_WAIT socket; what else lived at its address is over."""
        life = self._registry.at(record)
        if life is None:
            return self._folded(record, state)
        if not life.is_timewait:
            self._registry.evict(record.sock)
            return None
        return life

    def _folded(self, record: Record, state: State | None) -> Life | None:
        """Of a TIME_WAIT socket that is not known nothing is told, unless it may be a folded one.

        Its ends stay unknown: they may be another's by now.
        """
        registry = self._registry
        if state not in (_FIN_WAIT2, _TIME_WAIT):
            return None
        if not registry.folded.is_any(record.netns, family_name(record.remote), state):
            return None
        life = registry.conceive(record, Role.UNKNOWN)
        registry.begin_unseen(life, record.sock, state, record.at_ns)
        registry.move(life, record.sock, record.at_ns)
        life.is_timewait = True
        if state is _TIME_WAIT:
            rules.finish_fins(life)
        return life
