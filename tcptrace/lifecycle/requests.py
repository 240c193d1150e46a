"""What happens at a listener: SYNs, request sockets, final ACKs, children, accept()."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tcptrace.lifecycle import life as rules
from tcptrace.lifecycle.connection import Partial, Role
from tcptrace.lifecycle.life import STATES, Life, has_ends_of
from tcptrace.lifecycle.registry import Registry, process_of
from tcptrace.tcp import State, family_name
from tcptrace.wire.events import Flag, Kind, Record, Stage

if TYPE_CHECKING:
    from collections.abc import Callable

# What every record needs: an enum's attribute takes 120 ns before Python 3.12.
_CLOSE: Final = State.CLOSE
_NEW_SYN_RECV: Final = State.NEW_SYN_RECV
_SYN_RECV: Final = State.SYN_RECV
_SERVER: Final = Role.SERVER

_IN_HANDSHAKE: Final = (_NEW_SYN_RECV, _SYN_RECV)
_COOKIE: Final = int(Flag.COOKIE)
_IMMEDIATE: Final = int(Flag.COOKIE | Flag.FASTOPEN)
"""A child without a request socket in the SYN queue."""


class RequestEvents:
    """Changes lives by the records about request sockets and children."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self.handlers: dict[int, Callable[[Record], None]] = {
            Kind.SYN_QUEUED: self._syn_queued,
            Kind.SYN_COOKIE_SENT: self._syn_cookie_sent,
            Kind.SYN_DROPPED: self._syn_dropped,
            Kind.SYNACK_RETRANSMITTED: self._synack_retransmitted,
            Kind.ACK_DROPPED: self._ack_dropped,
            Kind.REQUEST_DROPPED: self._request_dropped,
            Kind.CHILD_CREATED: self._child_created,
            Kind.CHILD_DROPPED: self._child_dropped,
            Kind.ACCEPTED: self._accepted,
            Kind.MIGRATED: self._migrated,
        }

    # SYNs and request sockets.

    def _syn_queued(self, record: Record) -> None:
        registry = self._registry
        if registry.has_sighted:
            registry.make_way(record)
        listener = registry.listeners.see(record, record.origin)
        life = self._take_waiting(record)
        if life is None:
            life = registry.bear(record, _SERVER)
        registry.move(life, record.sock, record.at_ns)
        life.request, life.listener = record.sock, record.origin
        connection = life.connection
        connection.listening_process = listener.process
        connection.request_at_ns = record.at_ns
        connection.cookie = False  # if it got one, it did not use it
        if connection.syn_at_ns is None:
            connection.syn_at_ns = record.at_ns
        registry.enter(life, _NEW_SYN_RECV, record.at_ns)
        rules.remember(connection, record)

    def _syn_cookie_sent(self, record: Record) -> None:
        self._registry.listeners.see(record, record.origin).cookies_sent += 1
        life = self._unborn(record)
        life.connection.cookie = True
        rules.remember(life.connection, record)

    def _syn_dropped(self, record: Record) -> None:
        self._drop(record)
        life = self._unborn(record)
        self._make_known(life, record)
        life.connection.syn_drops += 1
        rules.remember(life.connection, record)

    def _drop(self, record: Record) -> None:
        listener = self._registry.listeners.drop(record, record.origin)
        if self._registry.observer is not None:
            self._registry.observer.dropped(record, listener)

    def _unborn(self, record: Record) -> Life:
        """The life of a peer that knocks, while the listener keeps nothing of it.

        Its ends stay unknown: nobody will hear of it if all it got was a cookie.
        """
        registry = self._registry
        life = registry.knocking(record)
        if life is None:
            life = registry.conceive(record, _SERVER)
            registry.succeed(life, record.at_ns)
            listener = registry.listeners.see(record, record.origin)
            life.listener = record.origin
            life.connection.listening_process = listener.process
            life.connection.syn_at_ns = record.at_ns
        for forgotten in registry.waiting.put(record, life):
            registry.end_unborn(forgotten)
        return life

    def _take_waiting(self, record: Record) -> Life | None:
        """The life of a peer that knocked before, and is now let in."""
        life = self._registry.knocking(record)
        if life is not None:
            self._registry.waiting.remove(record)
            self._make_known(life, record)
        return life

    def _make_known(self, life: Life, record: Record) -> None:
        if not life.keys:
            self._registry.meet(life, record.at_ns)

    def _ack_dropped(self, record: Record) -> None:
        self._drop(record)
        life = self._registry.at(record)
        if life is None and (record.flags & _COOKIE or self._registry.knocking(record)):
            life = self._refused_cookie(record)
        if life is None:
            life = self._request(record)
        life.connection.ack_drops += 1
        rules.remember(life.connection, record)

    def _refused_cookie(self, record: Record) -> Life:
        """The life whose ACK answered a cookie: its request was made for that, and went with it."""
        is_seen = self._registry.knocking(record) is not None
        life = self._unborn(record)
        self._make_known(life, record)
        if not is_seen:
            life.connection.cookie = True
            life.connection.syn_at_ns = None
            rules.lack(life.connection, Partial.BEGAN_BEFORE)
        return life

    def _request_dropped(self, record: Record) -> None:
        if record.stage in (Stage.REQUEST_EXPIRED, Stage.LISTENER_CLOSED):
            self._drop(record)
        life = self._request(record)
        rules.remember(life.connection, record)
        rules.end_request(life, record)
        self._registry.enter(life, _CLOSE, record.at_ns)
        self._registry.end(life)

    def _synack_retransmitted(self, record: Record) -> None:
        # By the SYN alone (Fast Open) the child is there already, and sends its SYN-ACK itself.
        life = self._registry.in_object(record.origin)
        if life is None or not has_ends_of(life, record):
            life = self._request(record)
        life.connection.synack_retransmits += 1
        rules.remember(life.connection, record)
        if self._registry.observer is not None:
            self._registry.observer.synack_retransmitted(record.netns, family_name(record.remote))

    def _request(self, record: Record) -> Life:
        life = self._registry.at(record)
        if life is not None and life.connection.state not in _IN_HANDSHAKE:
            self._registry.evict(record.sock)
            life = None
        if life is None:
            life = self._cloned(record) or self._registry.find(record, _NEW_SYN_RECV)
            life.request = record.sock
        if life.connection.role is not _SERVER:
            self._registry.take_role(life, _SERVER)
        life.listener = record.origin
        return life

    # Migration.

    def _migrated(self, record: Record) -> None:
        registry = self._registry
        listener = registry.listeners.see(record, record.origin)
        life = registry.at(record)
        if life is None:
            return
        if record.new_state != _NEW_SYN_RECV:
            registry.listeners.keep_one(life.listener)
        life.listener = record.origin
        life.connection.listening_process = listener.process
        rules.remember(life.connection, record)

    def _cloned(self, record: Record) -> Life | None:
        """The life that has migrated, and goes on in a clone of its request on that listener."""
        registry = self._registry
        life = registry.with_ends_of(record)
        if life is None or life.connection.state is not _NEW_SYN_RECV:
            return None
        if life.listener != record.origin or registry.in_object(life.sock) is not life:
            return None
        registry.move(life, record.sock, record.at_ns)
        return life

    # Children.

    def _child_created(self, record: Record) -> None:
        registry = self._registry
        if registry.has_sighted:
            registry.make_way(record)
        life = self._request_of(record)
        twin = None if life else self._twin_of(record)
        if twin is not None:
            registry.keep_also(twin, record.sock, record.at_ns)
            return
        if life is None:
            life = self._child_without_request(record)
        registry.move(life, record.sock, record.at_ns)
        if life.connection.role is not _SERVER:
            registry.take_role(life, _SERVER)
        connection = life.connection
        connection.family = record.family
        connection.cgroup = connection.cgroup or record.cgroup
        if connection.queued_at_ns is None:
            connection.queued_at_ns = record.at_ns
            if registry.observer is not None:
                registry.observer.queued(connection)
        if connection.state is not _SYN_RECV:
            registry.enter(life, _SYN_RECV, record.at_ns)
        rules.remember(connection, record)
        if registry.listeners.is_open(life.listener):
            registry.listeners.see(record, life.listener)

    def _request_of(self, record: Record) -> Life | None:
        """The life of the request that makes a child; that of a cookie or a Fast Open is new."""
        if record.flags & _IMMEDIATE:
            return None
        life = self._registry.in_object(record.origin)
        if life is None:
            return None
        if has_ends_of(life, record) and life.connection.state in _IN_HANDSHAKE:
            return life
        self._registry.evict(record.origin)
        return None

    def _twin_of(self, record: Record) -> Life | None:
        """The life that another child of the same request has: two CPUs took a final ACK each.

        One in TIME_WAIT had a request of its own, at the same address.
        """
        life = self._registry.with_ends_of(record)
        if life is None or life.request != record.origin or not life.request or life.is_timewait:
            return None
        return life if self._registry.in_object(life.sock) is life else None

    def _child_without_request(self, record: Record) -> Life:
        """A cookie's ACK or a Fast Open SYN makes a child at once; else the request wasn't seen."""
        registry = self._registry
        life = self._take_waiting(record)
        if life is None:
            life = registry.bear(record, _SERVER)
        connection = life.connection
        if record.flags & Flag.FASTOPEN:
            connection.fastopen = True
            if connection.syn_at_ns is None:
                connection.syn_at_ns = record.at_ns
        elif not record.flags & Flag.COOKIE:
            registry.begin_unseen(life, record.origin, _NEW_SYN_RECV, record.at_ns)
            life.request = record.origin
        elif connection.syn_at_ns is None:
            rules.lack(connection, Partial.BEGAN_BEFORE)
        connection.cookie = bool(record.flags & Flag.COOKIE)
        listener = registry.listeners.find(record.origin) if record.flags & _IMMEDIATE else None
        if listener is not None:
            life.listener = record.origin
            connection.listening_process = listener.process
        return life

    def _child_dropped(self, record: Record) -> None:
        """Its request goes on in another child; or its listener was closing, and so is it."""
        registry = self._registry
        life = registry.held_at(record)
        if life is not None:
            rules.close_listener(life.connection)
            registry.let_go(life)
            return
        life = registry.in_object(record.sock)
        if life is None or life.is_timewait or not has_ends_of(life, record):
            return
        if life.other:
            registry.keep_one(life, without=record.sock)
        elif life.request and life.request != record.sock:
            registry.move(life, life.request, record.at_ns)
        else:
            registry.enter(life, _CLOSE, record.at_ns)
            rules.close_listener(life.connection)
            registry.end(life)

    def _accepted(self, record: Record) -> None:
        state = STATES.get(record.new_state)
        if state is None or state is _CLOSE:
            return  # accept() still hands out a child that was reset while it waited
        registry = self._registry
        life = registry.at(record) or registry.find(record, state)
        if life.connection.role is not _SERVER:
            registry.take_role(life, _SERVER)
        connection = life.connection
        if connection.accepted_at_ns is None:
            connection.accepted_at_ns = record.at_ns
            connection.process = process_of(record)
            connection.cgroup = connection.cgroup or record.cgroup
            rules.remember(connection, record)
            if registry.observer is not None:
                registry.observer.accepted(connection, registry.listeners.find(life.listener))
