"""Gathers evidence: from the ledger's readings, and from lives as they end."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final, NamedTuple

from tcptrace.lifecycle.ledger import OTHER_ADDRESS, peak_of
from tcptrace.verdicts.lives import count, take, tells
from tcptrace.verdicts.window import WINDOW_NS, Window
from tcptrace.wire.events import Stage
from tcptrace.wire.ledger import COUNTS, Count

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tcptrace.lifecycle.accept_waits import AcceptWaits
    from tcptrace.lifecycle.connection import Connection
    from tcptrace.lifecycle.ledger import Address, Ledger, Listening
    from tcptrace.lifecycle.tally import Tally
    from tcptrace.verdicts.facts import ListenerFacts
    from tcptrace.wire.ledger import LedgerReading

ACCEPT_STAGES: Final = (
    Stage.ACK_ACCEPT_QUEUE_FULL,
    Stage.SYN_ACCEPT_QUEUE_FULL,
    Stage.ABORT_ON_OVERFLOW,
)
"""The accept queue was full."""
CROWD: Final = 4
"""So many must wait for accept() all the time before that alone is a fault."""
_QUIET: Final = (Count.SYN_QUEUED, Count.CHILD_CREATED, Count.CHILD_REPEATED)
"""What a listener without any trouble counts too."""


class Counted(NamedTuple):
    """What a listener had counted when it was looked at last."""

    counts: tuple[int, ...]
    accepts: int
    wait_ns: int

    def grown(self, former: Counted) -> list[int]:
        """How much more that is of each count than before."""
        return [max(0, new - old) for new, old in zip(self.counts, former.counts, strict=True)]


NOTHING: Final = Counted((0,) * COUNTS, 0, 0)
_NO_WAITS: Final[Mapping[Address, AcceptWaits]] = {}


class Calls:
    """Tells how many connect() calls came since it was asked last."""

    def __init__(self) -> None:
        self._told: Counter[int] = Counter()

    def add(self, connects: Counter[int], tally: Tally) -> None:
        """Adds them.

        Args:
            connects: by namespace; to be added to.
            tally: that counts them.
        """
        before, self._told = self._told, Counter()
        for (netns, _), number in tally.connects.items():
            self._told[netns] += number
        for netns, number in self._told.items():
            if number > before[netns]:
                connects[netns] += number - before[netns]


class Gathering:
    """Evidence of some time back until now.

    Args:
        began_ns: when the trace began.
        length_ns: how far back.
        tally: of accept() and connect(); None where lives alone tell how many there are.

    Attributes:
        length_ns: how far back.
        window: the facts.
    """

    def __init__(
        self, began_ns: int, length_ns: int = WINDOW_NS, tally: Tally | None = None
    ) -> None:
        self.length_ns = length_ns
        self.window = Window(began_ns, length_ns)
        self._totals: dict[Address, Counted] = {}
        self._calls = Calls()
        self._tally = tally
        self._last_ns = began_ns

    def closed(self, connection: Connection) -> None:
        """Takes a life whose full socket is gone, or that the end of the trace cut off."""
        is_told = tells(connection)
        if not is_told and self._tally is not None:
            return
        at_ns = connection.gone_at_ns or self._last_ns
        # Lives end in about the order of their times; a slice begins with no earlier one.
        self._last_ns = max(self._last_ns, at_ns)
        now = self.window.now(self._last_ns)
        if is_told:
            take(now, connection, at_ns, self._last_ns - self.length_ns)
        if self._tally is None:
            count(now, connection)

    def advance(self, now_ns: int) -> None:
        """Forgets what is too long ago, where no reading comes."""
        self._last_ns = max(self._last_ns, now_ns)
        self.window.now(self._last_ns)

    def read(self, ledger: Ledger, reading: LedgerReading) -> None:
        """Takes what has changed in the ledger since the last time.

        Args:
            ledger: that has absorbed the reading.
            reading: the last one.
        """
        self._last_ns = max(self._last_ns, reading.at_ns)
        now = self.window.now(self._last_ns)
        now.readings += 1
        waits = self._tally.waits if self._tally is not None else _NO_WAITS
        before, self._totals = self._totals, {}
        for listening in ledger.listeners:
            address = listening.address
            wait = waits.get(address)
            counts = listening.counts
            former = before.get(address, NOTHING)
            totals = former
            accepts, wait_ns = wait.total if wait else (0, 0)
            if counts != former.counts or accepts != former.accepts:
                totals = Counted(counts, accepts, wait_ns)
            self._totals[address] = totals
            is_idle = totals is former and _is_empty(listening)
            if is_idle or address.address == OTHER_ADDRESS:
                continue
            grown = totals.grown(former)
            facts = now.listener(address, is_well=_is_well(listening, grown))
            if facts is not None:
                facts.accepts += max(0, accepts - former.accepts)
                facts.wait_ns += max(0, wait_ns - former.wait_ns)
                _add(facts, listening, grown, reading)
        if self._tally is not None:
            self._calls.add(now.connects, self._tally)


def _is_empty(listening: Listening) -> bool:
    return not any(
        member.slot.accept_queue_len or member.slot.syn_queue_len
        for member in listening.members.values()
    )


def _has_drops(grown: list[int]) -> bool:
    return any(grown[what] for what in range(COUNTS) if what not in _QUIET)


def _is_well(listening: Listening, grown: list[int]) -> bool:
    """Whether nothing is there that a verdict could be about."""
    slots = [member.slot for member in listening.members.values()]
    waiting = sum(slot.accept_queue_len for slot in slots)
    is_answered = all(slot.syn_queue_young >= slot.syn_queue_len for slot in slots)
    return waiting < CROWD and is_answered and not _has_drops(grown)


def _add(
    facts: ListenerFacts, listening: Listening, grown: list[int], reading: LedgerReading
) -> None:
    facts.counts[:] = map(sum, zip(facts.counts, grown, strict=True))
    if _has_drops(grown):
        facts.last_at_ns = max(facts.last_at_ns, reading.at_ns)
    facts.drops_peak = max(facts.drops_peak, sum(grown[stage] for stage in ACCEPT_STAGES))
    is_accept_full = is_syn_full = False
    accept_len = 0
    for member in listening.members.values():
        slot = member.slot
        accept_len += slot.accept_queue_len
        accept_peak = max(peak_of(slot.accept_queue_peaks, reading.epoch), slot.accept_queue_len)
        syn_peak = max(peak_of(slot.syn_queue_peaks, reading.epoch), slot.syn_queue_len)
        facts.accept_peak = max(facts.accept_peak, accept_peak)
        facts.syn_peak = max(facts.syn_peak, syn_peak)
        is_accept_full |= accept_peak > slot.accept_queue_limit
        is_syn_full |= syn_peak >= member.syn_queue_limit
    facts.accept_lengths += accept_len
    facts.accept_full += is_accept_full
    facts.syn_full += is_syn_full
