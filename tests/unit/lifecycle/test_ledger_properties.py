"""The ledger's sums against a model of the kernel's table of slots.

The model counts what happens; the ledger sees only readings of the slots. A slot that has counted
something since the last reading is not taken anew before it was read: the table's queue of free
slots is as long as the table, and a reading comes every second.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from tcptrace.lifecycle.ledger import KEEP_CLOSED_NS, OTHER_ADDRESS, Address, Ledger
from tcptrace.wire.events import Stage
from tcptrace.wire.ledger import COUNTS, OVERFLOW_SLOT, Count, LedgerReading, Slot
from unit import samples, slots

SLOTS = 5
MOST = 3
NAMESPACES = (100, 200)
ADDRESSES = ("0.0.0.0", "::", "192.0.2.1")  # noqa: S104 - in a table
PORTS = (80, 443)
COUNTED = st.sampled_from([*list(Stage)[1:], *Count])


@dataclass
class Socket:
    """A listening socket, and its slot while that is its own."""

    netns: int
    address: str
    port: int
    number: int
    is_open: bool = True
    counts: Counter[int] = field(default_factory=Counter)

    @property
    def where(self) -> Address:
        return Address(self.netns, self.address, self.port)


class Kernel(RuleBasedStateMachine):
    """Opens, counts and closes, and is read."""

    sockets = Bundle("sockets")
    closed = Bundle("closed")

    def __init__(self) -> None:
        super().__init__()
        self.ledger = Ledger(MOST)
        self.now_ns = samples.START
        self.truth: dict[int, Counter[int]] = {}
        self.table: dict[int, Slot] = {}
        self.holder: dict[int, Socket] = {}
        self.free = deque(range(1, SLOTS))
        self.unread: set[int] = set()
        self.before: dict[Address, tuple[int, ...]] = {}
        self.is_read = True

    # What happens.

    @rule(
        target=sockets,
        netns=st.sampled_from(NAMESPACES),
        address=st.sampled_from(ADDRESSES),
        port=st.sampled_from(PORTS),
    )
    def open(self, netns: int, address: str, port: int) -> Socket:
        if not self.free:
            return Socket(netns, address, port, OVERFLOW_SLOT)
        if self.free[0] in self.unread:
            self.read(0)
        number = self.free.popleft()
        socket = Socket(netns, address, port, number)
        former = self.holder.get(number)
        if former is not None:
            former.number = OVERFLOW_SLOT
        self.holder[number] = socket
        sequence = self.table[number].sequence + 2 if number in self.table else 2
        self.table[number] = slots.slot(
            address, port, netns=netns, sequence=sequence, opened_at_ns=self.now_ns
        )
        self.is_read = False
        return socket

    @rule(socket=sockets | closed, what=COUNTED, many=st.integers(1, 1000))
    def count(self, socket: Socket, what: int, many: int) -> None:
        """Also what is closed goes on counting: its requests expire."""
        number = socket.number
        netns = 0 if number == OVERFLOW_SLOT else socket.netns
        self.truth.setdefault(netns, Counter())[what] += many
        one = self.table.get(number, slots.overflow())
        counts = tuple(count + many * (place == what) for place, count in enumerate(one.counts))
        self.table[number] = one._replace(counts=counts)
        self.unread.add(number)
        self.is_read = False

    @rule(target=closed, socket=consumes(sockets))
    def close(self, socket: Socket) -> Socket:
        socket.is_open = False
        if socket.number != OVERFLOW_SLOT:
            one = self.table[socket.number]
            self.table[socket.number] = one._replace(closed_at_ns=self.now_ns)
            self.free.append(socket.number)
            self.is_read = False
        return socket

    @rule(seconds=st.sampled_from([0, 0.5, 1, 5, 290, 301]))
    def read(self, seconds: float) -> None:
        self.now_ns += int(seconds * samples.S) + 1
        used = {0: slots.overflow(), **self.table}
        self.ledger.absorb(LedgerReading(self.now_ns, 0, sorted(used.items()), ()))
        self.unread.clear()
        self.is_read = True
        self.check()

    # What must hold after each reading.

    def check(self) -> None:
        self.check_totals()
        self.check_addresses()
        self.check_limits()

    def check_totals(self) -> None:
        sums = dict(self.ledger.sums())
        for netns, counts in sums.items():
            truth = self.truth.get(netns, Counter())
            assert counts == tuple(truth[place] for place in range(COUNTS)), netns
        assert all(netns in sums for netns, truth in self.truth.items() if truth)

    def check_addresses(self) -> None:
        """No total of a listener that stays known ever falls."""
        now = {one.address: one.counts for one in self.ledger.listeners}
        for address, before in self.before.items():
            if address in now:
                assert all(a >= b for a, b in zip(now[address], before, strict=True)), address
        self.before = now

    def check_limits(self) -> None:
        known = {one.address: one for one in self.ledger.listeners}
        own = [address for address in known if address.address != OTHER_ADDRESS]
        assert len(own) <= MOST
        live = Counter(
            socket.where
            for number, socket in self.holder.items()
            if socket.is_open and socket.number == number
        )
        for where, many in live.items():
            # One that came while there was no room stays in `other`, whoever has its address later.
            addresses = (where, Address(where.netns, OTHER_ADDRESS, 0))
            homes = [known[address] for address in addresses if address in known]
            assert sum(len(home.members) for home in homes) >= many
        assert sum(len(one.members) for one in known.values()) == sum(live.values())
        folded = sum(
            len(one.members) for one in known.values() if one.address.address == OTHER_ADDRESS
        )
        assert self.ledger.folded == folded
        for one in known.values():
            if not one.is_open and one.address != Address(0, OTHER_ADDRESS, 0):
                assert one.closed_at_ns >= self.now_ns - KEEP_CLOSED_NS

    @invariant()
    def nothing_is_counted_that_did_not_happen(self) -> None:
        if self.is_read:
            self.check_totals()


# What is few meets often: slots and namespaces that are told about again and again.
_ANY_SLOT = st.tuples(
    st.integers(0, 3),
    st.sampled_from([2, 4]),
    st.sampled_from([0, *NAMESPACES]),
    st.sampled_from(ADDRESSES),
    st.sampled_from([0, *PORTS]),
    st.sampled_from([0, samples.START, samples.START + samples.S, 2**64 - 1]),
    st.integers(0, 2),
)
_ANY_READING = st.tuples(
    st.sampled_from([0, samples.S, KEEP_CLOSED_NS + samples.S]), st.lists(_ANY_SLOT, max_size=4)
)


@settings(max_examples=500)
@given(st.lists(_ANY_READING, max_size=12), st.integers(0, MOST))
def test_whatever_a_recording_holds_no_total_falls(
    told: list[tuple[int, list[tuple[int, int, int, str, int, int, int]]]], most: int
) -> None:
    """A slot's counts grow as long as its sequence stays: by that much the namespace's, or more."""
    ledger, at_ns = Ledger(most), samples.START
    last: dict[int, tuple[int, int]] = {}
    before: dict[int, tuple[int, ...]] = {}
    for epoch, (passed_ns, found) in enumerate(told):
        at_ns += passed_ns
        read = []
        for number, sequence, netns, address, port, closed_at_ns, more in found:
            former, count = last.get(number, (sequence, 0))
            # The overflow slot is never taken anew.
            count = count + more if former == sequence or number == OVERFLOW_SLOT else more
            last[number] = sequence, count
            one = slots.slot(
                address, port, sequence=sequence, netns=netns, closed_at_ns=closed_at_ns
            )
            read.append((number, one._replace(counts=slots.counts({Stage.OTHER: count}))))
        ledger.absorb(LedgerReading(at_ns, epoch, read, ()))
        sums = dict(ledger.sums())
        for netns, counts in before.items():
            now = sums.get(netns, slots.NOTHING)
            assert all(a >= b for a, b in zip(now, counts, strict=True)), netns
        before = sums


Kernel.TestCase.settings = settings(max_examples=150, stateful_step_count=40)
TestLedger = Kernel.TestCase
