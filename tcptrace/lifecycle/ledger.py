"""What the ledger's readings come to: every listener's queues, peaks, drops and owner. Pure.

A slot is one listening socket from its LISTEN to its CLOSE. Sockets at one address in one namespace
(a reuseport group, or one after the other) make one listener, whose totals only ever grow. A
listener is forgotten some time after its last socket; what it counted stays in its namespace's sum.
The overflow slot, and listeners beyond the limit, are added up as `other`.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from tcptrace.lifecycle.connection import Process
from tcptrace.tcp import address_text, family_name
from tcptrace.wire.events import Stage
from tcptrace.wire.ledger import COUNTS, OVERFLOW_SLOT, LedgerReading, Slot

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from collections.abc import Set as AbstractSet

MOST_LISTENERS: Final = 10_000
"""Told apart: more than the kernel side keeps."""
KEEP_CLOSED_NS: Final = 300_000_000_000
"""For how long a listener without sockets is told: its last drops are still to be read."""
MOST_HEIRS: Final = 1_000
"""For how many namespaces the counts of forgotten listeners are kept, watched ones aside."""
PEAK_WINDOW_NS: Final = 60_000_000_000
"""For how long a peak is told."""
DROP_STAGES: Final = tuple(
    stage for stage in Stage if stage not in (Stage.NONE, Stage.REQUEST_RESET)
)
_EPOCH_SHIFT: Final = 32
_LENGTH_MASK: Final = (1 << _EPOCH_SHIFT) - 1
_NOTHING: Final[tuple[int, ...]] = (0,) * COUNTS


class Address(NamedTuple):
    """Where a listener listens: its labels."""

    netns: int
    address: str
    port: int


OTHER_ADDRESS: Final = "other"


def other(netns: int) -> Address:
    """Where a namespace's listeners beyond the limit are added up."""
    return Address(netns, OTHER_ADDRESS, 0)


class _Peak:
    """The greatest value of a sliding window."""

    def __init__(self) -> None:
        self._falling: deque[tuple[int, int]] = deque()

    def add(self, at_ns: int, value: int) -> None:
        falling = self._falling
        while falling and falling[-1][1] <= value:
            falling.pop()
        falling.append((at_ns, value))
        while falling[0][0] < at_ns - PEAK_WINDOW_NS:
            falling.popleft()

    @property
    def value(self) -> int:
        return self._falling[0][1] if self._falling else 0


@dataclass(slots=True)
class Member:
    """One listening socket."""

    slot: Slot
    """As it was read last."""
    owner: Process | None
    accept_queue_peak: int = 0
    syn_queue_peak: int = 0
    _last_peaks: tuple[int, int] = (0, 0)
    _accept_peaks: _Peak = field(default_factory=_Peak)
    _syn_peaks: _Peak = field(default_factory=_Peak)

    @property
    def is_open(self) -> bool:
        """Whether it listens still."""
        return self.slot.closed_at_ns == 0

    @property
    def syn_queue_limit(self) -> int:
        """The SYN queue is full when it is longer than this (on early 5.10: when it is as long).

        Without cookies the last quarter of tcp_max_syn_backlog is for peers proven before.
        """
        slot = self.slot
        if slot.syncookies:
            return slot.accept_queue_limit
        three_quarters = slot.max_syn_backlog - (slot.max_syn_backlog >> 2)
        return min(slot.accept_queue_limit, three_quarters)

    @property
    def accept_queue_fill(self) -> float:
        """Its peak as a share of the connections that fit in: 1 is full."""
        return self.accept_queue_peak / (self.slot.accept_queue_limit + 1)

    def update(self, slot: Slot, at_ns: int, epoch: int) -> None:
        """Takes a newer reading of the same socket."""
        self.slot = slot
        accept_peak = max(peak_of(slot.accept_queue_peaks, epoch), slot.accept_queue_len)
        syn_peak = max(peak_of(slot.syn_queue_peaks, epoch), slot.syn_queue_len)
        self._accept_peaks.add(at_ns, accept_peak)
        self._syn_peaks.add(at_ns, syn_peak)
        last_accept, last_syn = self._last_peaks
        if accept_peak > last_accept or syn_peak > last_syn:
            self._last_peaks = max(accept_peak, last_accept), max(syn_peak, last_syn)
        self.accept_queue_peak = self._accept_peaks.value
        self.syn_queue_peak = self._syn_peaks.value

    def take_peaks(self) -> tuple[int, int]:
        """The peaks of both queues since this was asked last: for one who asks."""
        peaks, self._last_peaks = self._last_peaks, (0, 0)
        return peaks


def peak_of(peaks: tuple[int, ...], epoch: int) -> int:
    """The peak of an epoch, if anything happened in it."""
    tagged = peaks[epoch & 1]
    return tagged & _LENGTH_MASK if tagged >> _EPOCH_SHIFT == epoch else 0


class Listening:
    """A listener: all sockets that listen, or listened, at one address.

    Attributes:
        address: where.
        family: ipv4 or ipv6; a dual-stack listener is ipv6.
        members: its open sockets, by slot.
        latest: the socket that was read last, open or not.
        cgroup: path of its newest socket's cgroup; "" if unknown.
    """

    def __init__(self, address: Address, family: str) -> None:
        self.address = address
        self.family = family
        self.members: dict[int, Member] = {}
        self.latest: Member | None = None
        self.owner: Process | None = None
        self.cgroup = ""
        self.closed_at_ns = 0
        """When its last socket was seen closed; 0 while one listens."""
        self._folded = _NOTHING
        self._ended: dict[int, tuple[int, ...]] = {}

    @property
    def counts(self) -> tuple[int, ...]:
        """Everything that was ever counted here, by Stage and Count."""
        members = [*self.members.values()]  # others may look while it changes
        if len(members) == 1 and not self._ended and self._folded is _NOTHING:
            return members[0].slot.counts
        parts = [self._folded, *self._ended.values()]
        parts += [member.slot.counts for member in members]
        return tuple(map(sum, zip(*parts, strict=True)))

    @property
    def drops(self) -> dict[Stage, int]:
        """Drops by stage, zeros included."""
        counts = self.counts
        return {stage: counts[stage] for stage in DROP_STAGES}

    @property
    def accept_queue_limit(self) -> int:
        """The limits of its open sockets, added up."""
        return sum(member.slot.accept_queue_limit for member in self.members.values())

    @property
    def syn_queue_limit(self) -> int:
        """The same of its SYN queues."""
        return sum(member.syn_queue_limit for member in self.members.values())

    @property
    def is_open(self) -> bool:
        """Whether any socket listens here now."""
        return bool(self.members)

    def update(self, number: int, member: Member, cgroup: str) -> None:
        """A socket of this listener was read: open, or closed and still losing its requests."""
        self.latest = member
        if member.is_open:
            self.members[number] = member
            self._ended.pop(number, None)
            self.closed_at_ns = 0
        else:
            self.members.pop(number, None)
            self.count(number, member.slot.counts)
            if not self.members:
                self.closed_at_ns = max(self.closed_at_ns, member.slot.closed_at_ns)
        if member.is_open or self.owner is None:
            self.owner = member.owner or self.owner
            self.cgroup = cgroup or self.cgroup

    def count(self, number: int, counts: tuple[int, ...]) -> None:
        """Takes what a slot has counted that has no open socket."""
        self._ended[number] = counts

    def fold(self, number: int, at_ns: int) -> None:
        """The slot serves another socket: what it counted here is final.

        Args:
            number: of the slot.
            at_ns: now; its socket's end, if that was not read.
        """
        self._folded = _add(self._folded, self._release(number))
        if not self.members and not self.closed_at_ns:
            self.closed_at_ns = at_ns

    def leave(self, number: int) -> None:
        """The slot's socket goes to another listener with all its counts."""
        self._release(number)

    @property
    def is_blank(self) -> bool:
        """Whether no slot is counted here, and nothing was that stays."""
        return not (self.members or self._ended or any(self._folded))

    @property
    def is_settled(self) -> bool:
        """Whether no slot is counted here: what was counted stays what it is."""
        return not (self.members or self._ended)

    @property
    def has_overflow(self) -> bool:
        """Whether the overflow slot counts here: it never ends."""
        return OVERFLOW_SLOT in self._ended

    def _release(self, number: int) -> tuple[int, ...]:
        member = self.members.pop(number, None)
        return member.slot.counts if member else self._ended.pop(number, _NOTHING)

    def take_over(self, forgotten: Listening) -> Iterable[int]:
        """Adds what a closed listener counted, and counts on for its slots, which it returns."""
        self._folded = _add(self._folded, forgotten._folded)
        self._ended |= forgotten._ended
        return forgotten._ended


class _Known(NamedTuple):
    """What a slot held when it was read last."""

    sequence: int
    listening: Listening
    """Where it is counted."""
    member: Member


def _is_same_socket(known: _Known, slot: Slot) -> bool:
    return known.sequence == slot.sequence and known.member.slot.netns == slot.netns


class Ledger:
    """All listeners, from readings of the kernel's table.

    Args:
        most: how many listeners are kept apart.
    """

    def __init__(self, most: int = MOST_LISTENERS) -> None:
        self._most = most
        self._by_address: dict[Address, Listening] = {}
        self._forgotten: dict[int, Listening] = {}
        self._slots: dict[int, _Known] = {}

    @property
    def folded(self) -> int:
        """Sockets that listen now, and whose figures go to OTHER."""
        listeners = self._by_address.values()
        return sum(len(one.members) for one in listeners if one.address.address == OTHER_ADDRESS)

    def absorb(self, reading: LedgerReading) -> None:
        """Takes the next reading."""
        for number, slot in reading.slots:
            if number == OVERFLOW_SLOT:
                self._absorb_overflow(slot)
            else:
                self._absorb_slot(number, slot, reading)
        limit_ns = reading.at_ns - KEEP_CLOSED_NS
        gone = [one for one in self._by_address.values() if 0 < one.closed_at_ns < limit_ns]
        for listening in gone:
            if not listening.has_overflow:
                self._forget(listening)
        if len(self._forgotten) > MOST_HEIRS:
            self._forget_heirs({figures.netns for figures in reading.namespaces})

    def _absorb_overflow(self, slot: Slot) -> None:
        if any(slot.counts):
            # Its lengths and peaks are those of whoever was measured last: they say nothing.
            self._listening(other(0), "ipv4").count(OVERFLOW_SLOT, slot.counts)

    def _absorb_slot(self, number: int, slot: Slot, reading: LedgerReading) -> None:
        known = self._slots.get(number)
        if known is None or not _is_same_socket(known, slot):
            if known is not None:
                self._fold(number, known.listening, reading.at_ns)
            known = _Known(slot.sequence, self._home_of(slot), Member(slot, None))
        elif not known.member.is_open and known.member.slot.counts == slot.counts:
            return
        elif known.member.slot.port != slot.port:
            # A listener that never bound has its port only just after its LISTEN.
            known.listening.leave(number)
            self._drop_blank(known.listening)
            known = known._replace(listening=self._home_of(slot))
        self._slots[number] = known
        member = known.member
        # Whose it is is written just after its LISTEN too.
        member.owner = member.owner or _owner_of(slot, reading)
        member.update(slot, reading.at_ns, reading.epoch)
        known.listening.update(number, member, reading.cgroups.get(slot.cgroup, ""))

    def _fold(self, number: int, listening: Listening, at_ns: int) -> None:
        """A slot serves another socket now."""
        listening.fold(number, at_ns)
        if self._forgotten.get(listening.address.netns) is listening:
            self._drop_blank(listening)

    def _home_of(self, slot: Slot) -> Listening:
        address = Address(slot.netns, address_text(slot.local), slot.port)
        if address not in self._by_address and len(self._by_address) >= self._most:
            address = other(slot.netns)
        return self._listening(address, family_name(slot.local))

    def _listening(self, address: Address, family: str) -> Listening:
        listening = self._by_address.get(address)
        if listening is None:
            listening = self._by_address[address] = Listening(address, family)
        return listening

    def _forget(self, listening: Listening) -> None:
        netns = listening.address.netns
        del self._by_address[listening.address]
        heir = self._forgotten.setdefault(netns, Listening(other(netns), listening.family))
        for number in heir.take_over(listening):
            self._slots[number] = self._slots[number]._replace(listening=heir)
        self._drop_blank(heir)

    def _forget_heirs(self, watched: AbstractSet[int]) -> None:
        """What forgotten listeners counted is told to nobody but who watches their namespace."""
        for netns, heir in list(self._forgotten.items()):
            if netns not in watched and heir.is_settled:
                del self._forgotten[netns]

    def _drop_blank(self, listening: Listening) -> None:
        """Drops a listener, or a namespace's heir, of which nothing is left."""
        if not listening.is_blank:
            return
        address = listening.address
        if self._by_address.get(address) is listening:
            del self._by_address[address]
        elif self._forgotten.get(address.netns) is listening:
            del self._forgotten[address.netns]

    @property
    def listeners(self) -> Iterable[Listening]:
        """Every listener, open or not, in the order of being seen."""
        return self._by_address.values()

    def sums(self) -> Iterator[tuple[int, tuple[int, ...]]]:
        """What was counted in each namespace (inode number; 0: the overflow slot)."""
        counts: dict[int, list[tuple[int, ...]]] = {}
        for listening in (*self._by_address.values(), *self._forgotten.values()):
            counts.setdefault(listening.address.netns, []).append(listening.counts)
        for netns, parts in counts.items():
            yield netns, tuple(map(sum, zip(*parts, strict=True)))


def _owner_of(slot: Slot, reading: LedgerReading) -> Process | None:
    """Who called listen(), or was found holding the socket."""
    if slot.pid:
        return Process(slot.pid, slot.comm.rstrip(b"\0"))
    found = reading.owners.get(slot.inode)
    return Process(*found) if found else None


def _add(one: tuple[int, ...], two: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(a + b for a, b in zip(one, two, strict=True))
