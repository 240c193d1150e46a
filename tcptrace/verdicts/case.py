"""All that is known when a verdict is due: facts, listeners as they are now, namespaces."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from tcptrace.lifecycle.connection import Role
from tcptrace.lifecycle.ledger import Address
from tcptrace.tcp import address_text, wildcards_for
from tcptrace.verdicts.facts import ListenerFacts, absorb
from tcptrace.verdicts.survey import ways
from tcptrace.verdicts.window import Slice
from tcptrace.wire.ledger import Count

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tcptrace.lifecycle.connection import Listener, Process
    from tcptrace.lifecycle.counts import StateCounts
    from tcptrace.lifecycle.ledger import Ledger, Listening
    from tcptrace.lifecycle.tracker import Tracker
    from tcptrace.tcp import Endpoint
    from tcptrace.verdicts.survey import Held, Holder, Way
    from tcptrace.wire.ledger import NamespaceFigures, Slot

_NS: Final = 1e9
_CROWDED: Final = 0.7
"""So full of TIME_WAIT sockets are the ephemeral ports before anybody asks where they lead."""

_ALWAYS: Final = 1
_ON_LOOPBACK: Final = 2
_BY_DEFAULT: Final = _ON_LOOPBACK
"""net.ipv4.tcp_tw_reuse, since 4.19."""


class Limits(NamedTuple):
    """A listener's limits, where the ledger tells them."""

    somaxconn: int
    max_syn_backlog: int
    syncookies: int
    syn_queue: int
    """The SYN queue's."""
    defer_accept: int
    """So many timeouts may requests wait for data, their final ACKs being there; 0: they don't."""


class ListenerNow(NamedTuple):
    """A listener as it is now."""

    process: Process | None
    cgroup: int
    limit: int
    """Of its accept queue; a reuseport group's smallest."""
    accept_len: int
    unanswered: int
    """Requests whose SYN-ACK was sent again already; as far as is known."""
    limits: Limits | None
    is_open: bool


class Home(NamedTuple):
    """A namespace as it is now."""

    ephemeral_ports: int
    tw_reuse: int | None
    """net.ipv4.tcp_tw_reuse; None if it isn't known."""
    ways: Counter[Way]
    """TIME_WAIT sockets of connections that connect() began, by source and remote end; if they are
    so many that it matters."""

    def lets_reuse(self, way: Way) -> bool:
        """Whether connect() may take ports that are in TIME_WAIT for a second.

        If both ends have timestamps, which is not looked at. Source: tcp_twsk_unique.
        """
        source, end = way
        is_local = end.is_loopback or end._replace(address=source).is_loopback
        mode = _BY_DEFAULT if self.tw_reuse is None else self.tw_reuse
        return mode == _ALWAYS or (mode == _ON_LOOPBACK and is_local)


@dataclass
class Case:
    """What verdicts are reached from.

    Attributes:
        facts: of the window and of open lives.
        now_ns: the time.
        length_ns: how long the window is.
        listeners: as they are now.
        holders: who holds connections in CLOSE_WAIT.
        homes: namespaces, where the ledger tells of them.
    """

    facts: Slice
    now_ns: int
    length_ns: int
    listeners: Mapping[Address, ListenerNow]
    holders: Mapping[Holder, Held] = field(default_factory=dict)
    homes: Mapping[int, Home] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        """How long the window is."""
        return self.length_ns / _NS

    def settle(self) -> None:
        """Gives what was told of an address to the listener that is bound to all of them."""
        merged = Slice(self.facts.from_ns)
        merged.absorb(self.facts)
        merged.listeners = {}
        for address, facts in self.facts.listeners.items():
            absorb(merged.listeners.setdefault(self.home_of(address), ListenerFacts()), facts)
        for (netns, local), plain in self.facts.plain.items():
            address = Address(netns, address_text(local.address), local.port)
            known = merged.listeners.get(self.home_of(address))
            if known is not None:
                known.lives += plain.lives
                known.accepts += plain.accepts
                known.wait_ns += plain.wait_ns
        self.facts = merged

    def came_in(self, netns: int, end: Endpoint) -> int:
        """How many connections came to be at an end that somebody listens at here; once settled.

        A listener at all addresses counts those of all of them.
        """
        home = self.home_of(Address(netns, address_text(end.address), end.port))
        facts, plain = self.facts.listeners.get(home), self.facts.plain.get((netns, end))
        by_ledger = facts.counts[Count.CHILD_CREATED] if facts is not None else 0
        return max(by_ledger, plain.lives if plain is not None else 0)

    def home_of(self, address: Address) -> Address:
        """The listener at an address, or the one of its port at all addresses: an open one."""
        wildcards = wildcards_for(address.address)
        places = [address, *(address._replace(address=one) for one in wildcards)]
        known = [place for place in places if place in self.listeners]
        is_open = [place for place in known if self.listeners[place].is_open]
        return (is_open or known or [address])[0]


def of_ledger(ledger: Ledger) -> dict[Address, ListenerNow]:
    """The listeners that the ledger tells of."""
    return {one.address: _now(one) for one in ledger.listeners}


def _now(listening: Listening) -> ListenerNow:
    """Of one that is closed: the limits that it had, and nothing in its queues."""
    members = list(listening.members.values())
    slots = [member.slot for member in members]
    known = members or ([listening.latest] if listening.latest is not None else [])
    if not known:
        return ListenerNow(listening.owner, 0, 0, 0, 0, None, is_open=False)
    tightest = min(known, key=lambda member: member.slot.accept_queue_limit)
    slot = tightest.slot
    return ListenerNow(
        listening.owner,
        slot.cgroup,
        slot.accept_queue_limit,
        sum(one.accept_queue_len for one in slots),
        sum(map(_unanswered, slots)),
        Limits(
            slot.somaxconn,
            slot.max_syn_backlog,
            slot.syncookies,
            tightest.syn_queue_limit,
            max(member.slot.defer_accept for member in known),
        ),
        is_open=listening.is_open,
    )


def _unanswered(slot: Slot) -> int:
    """Requests that are not young; but where they may wait for data, it isn't the SYN-ACK's fault.

    Source: reqsk_timer_handler, syn_ack_recalc.
    """
    return 0 if slot.defer_accept else max(0, slot.syn_queue_len - slot.syn_queue_young)


def of_records(listeners: Iterable[Listener]) -> dict[Address, ListenerNow]:
    """The listeners that records alone tell of."""
    return {
        Address(one.netns, address_text(one.local.address), one.local.port): ListenerNow(
            one.process, one.cgroup, one.accept_queue_limit, 0, 0, None, one.closed_at_ns is None
        )
        for one in listeners
        if not one.folded
    }


def homes_of(
    tracker: Tracker, namespaces: Iterable[NamespaceFigures], counts: StateCounts | None
) -> dict[int, Home]:
    """The namespaces that the ledger tells of.

    Args:
        tracker: of the lives in them.
        namespaces: as they were read last.
        counts: of their sockets, where they are counted.
    """
    told = {one.netns: one for one in namespaces}
    crowded = (
        netns
        for netns, one in told.items()
        if counts is None or counts.time_waits(netns)[Role.CLIENT] > _CROWDED * one.ephemeral_ports
    )
    found = ways(tracker, crowded)
    return {
        netns: Home(one.ephemeral_ports, one.tw_reuse, found.get(netns, Counter()))
        for netns, one in told.items()
    }
