"""Ledger against kernel, with the figures read in the midst of things."""

from __future__ import annotations

from typing import NamedTuple

from hypothesis import example, given
from hypothesis import strategies as st

from tcptrace.lifecycle.figures import COUNTED, from_ledger
from tcptrace.lifecycle.ledger import Ledger
from tcptrace.lifecycle.reconciliation import Reconciliation
from tcptrace.wire.events import Stage
from tcptrace.wire.ledger import COUNTERS, Count, LedgerReading
from unit.slots import NETNS, NOTHING, counts, figures, reading, slot

QUIET = 4
"""Readings without events, by which everything under way is over and compared."""


def ours(one: LedgerReading, ledger: Ledger) -> dict[int, dict[str, int]]:
    """What the ledger has of each namespace's figures; nothing came through the ring."""
    sums = dict(ledger.sums())
    of_records = dict.fromkeys(COUNTED, 0)
    return {
        figures.netns: {**of_records, **from_ledger(sums.get(figures.netns, NOTHING))}
        for figures in one.namespaces
    }


def compared(*readings: LedgerReading) -> Reconciliation:
    ledger, reconciliation = Ledger(10), Reconciliation()
    for one in readings:
        ledger.absorb(one)
        reconciliation.compare(one, ours(one, ledger))
    return reconciliation


def at(
    second: int, kernel: int, ledger: int, *, later: int = 0, counter: str = "ListenDrops"
) -> LedgerReading:
    """A reading with so many drops before it, `later` more during it, and so many in the ledger."""
    told = figures({counter: kernel}, {counter: kernel + later})
    return reading(second, {1: slot(counts={Stage.OTHER: ledger})}, namespaces=(told,))


def test_what_was_counted_before_is_the_zero() -> None:
    told = compared(*(at(n, 1000 + n, n) for n in range(5)))
    assert told.differences == {NETNS: dict.fromkeys(COUNTED, 0)}


def test_every_namespace_is_there_from_the_first_reading_on() -> None:
    told = compared(reading(1, namespaces=(figures(), figures(netns=7))))
    assert told.differences == dict.fromkeys((NETNS, 7), dict.fromkeys(COUNTED, 0))


def test_a_drop_that_the_ledger_missed_is_below_zero() -> None:
    settled = [at(n, 50, 10) for n in range(4)]
    missed = [at(n, 53, 10) for n in range(4, 8)]
    assert compared(*settled, *missed).differences[NETNS]["ListenDrops"] == -3


def test_a_drop_that_was_counted_twice_is_above_zero() -> None:
    settled = [at(n, 50, 10) for n in range(4)]
    twice = [at(n, 51, 12) for n in range(4, 8)]
    assert compared(*settled, *twice).differences[NETNS]["ListenDrops"] == 1


def test_other_counters_are_not_touched_by_a_difference() -> None:
    settled = [at(n, 50, 10) for n in range(4)]
    told = compared(*settled, *(at(n, 53, 10) for n in range(4, 8)))
    rest = {**told.differences[NETNS], "ListenDrops": 0}
    assert set(rest.values()) == {0}


def test_what_the_overflow_slot_counted_is_missing_in_its_namespace() -> None:
    """Whose it was is not known."""
    settled = [at(n, 5, 5) for n in range(4)]
    lost = [
        reading(
            n,
            {0: slot(sequence=0, counts={Stage.OTHER: 2}), 1: slot(counts={Stage.OTHER: 5})},
            namespaces=(figures({"ListenDrops": 7}),),
        )
        for n in range(4, 8)
    ]
    assert compared(*settled, *lost).differences[NETNS]["ListenDrops"] == -2


def test_cookies_are_compared_too() -> None:
    def cookies(second: int, sent: int) -> LedgerReading:
        one = slot(counts=counts({Count.COOKIE_SENT: sent}))
        told = figures({"SyncookiesSent": sent, "TCPReqQFullDoCookies": sent})
        return reading(second, {1: one}, namespaces=(told,))

    told = compared(*(cookies(n, n * n) for n in range(6)))
    assert set(told.differences[NETNS].values()) == {0}


class Event(NamedTuple):
    """Something that both count, one after the other."""

    is_kernels_first: bool
    steps: int
    """So many steps later the other one counts it too."""


Phase = tuple[list[Event], list[Event], list[Event]]
"""What begins before a reading, between its two halves, and after the ledger's figures."""
EVENTS = st.lists(st.builds(Event, st.booleans(), st.integers(1, 3)), max_size=6)
PHASES = st.lists(st.tuples(EVENTS, EVENTS, EVENTS), min_size=1, max_size=12)


class Host:
    """Two counters of the same events, which don't move at the same time."""

    def __init__(self, before: int) -> None:
        self.kernel = before
        self.ledger = 0
        self._under_way: list[Event] = []

    def step(self, events: list[Event]) -> None:
        """What was under way goes on; new events are counted by one alone."""
        self.finish(steps=1)
        self._under_way += events
        for event in events:
            self._count(event.is_kernels_first)

    def finish(self, steps: int = 3) -> None:
        """Time passes; three steps are long enough for everything."""
        left = [event._replace(steps=event.steps - steps) for event in self._under_way]
        self._under_way = [event for event in left if event.steps > 0]
        for event in left:
            if event.steps <= 0:
                self._count(not event.is_kernels_first)

    def _count(self, is_kernels: bool) -> None:
        self.kernel += is_kernels
        self.ledger += not is_kernels


def read_on(host: Host, phases: list[Phase]) -> list[LedgerReading]:
    """Reads before, ledger and after, with events in between, and a pause between readings."""
    readings = []
    for second, phase in enumerate([*phases, *[([], [], [])] * QUIET]):
        host.step(phase[0])
        before = host.kernel
        host.step(phase[1])
        ledger = host.ledger
        host.step(phase[2])
        told = figures({"ListenDrops": before}, {"ListenDrops": host.kernel})
        one = slot(counts={Stage.OTHER: ledger})
        readings.append(reading(second, {1: one}, namespaces=(told,)))
        host.finish()
    return readings


@given(st.integers(0, 1000), PHASES)
@example(0, [([Event(is_kernels_first=True, steps=3)] * 3, [], [])] * 5)
@example(0, [([], [Event(is_kernels_first=False, steps=3)] * 3, [])] * 5)
def test_no_interleaving_makes_a_difference_of_none(before: int, phases: list[Phase]) -> None:
    ledger, reconciliation = Ledger(10), Reconciliation()
    for one in read_on(Host(before), phases):
        ledger.absorb(one)
        reconciliation.compare(one, ours(one, ledger))
        assert set(reconciliation.differences[NETNS].values()) == {0}


@given(PHASES, st.integers(-5, 5), PHASES)
def test_whatever_is_missed_is_told_once_it_is_quiet(
    early: list[Phase],
    missed: int,
    late: list[Phase],
) -> None:
    """Settled first, so that the zero is known; then one of them counts more than the other."""
    host = Host(100)
    ledger, reconciliation = Ledger(10), Reconciliation()
    for one in read_on(host, early):
        ledger.absorb(one)
        reconciliation.compare(one, ours(one, ledger))
    if missed > 0:
        host.kernel += missed
    else:
        host.ledger -= missed
    for one in read_on(host, late):
        ledger.absorb(one)
        reconciliation.compare(one, ours(one, ledger))
    assert reconciliation.differences[NETNS]["ListenDrops"] == -missed


def test_a_namespace_that_is_watched_no_more_is_forgotten() -> None:
    both = reading(1, namespaces=(figures(), figures(netns=7)))
    assert compared(both, reading(2, namespaces=(figures(),))).differences.keys() == {NETNS}


def test_an_older_recording_has_only_the_listeners_counters() -> None:
    old = figures()._replace(more_before=(), more_after=())
    told = compared(*(reading(second, namespaces=(old,)) for second in range(4)))
    assert told.differences == {NETNS: dict.fromkeys(COUNTERS, 0)}


def test_what_the_trace_does_not_tell_apart_is_not_compared() -> None:
    reconciliation = Reconciliation()
    for second in range(4):
        one = reading(second, namespaces=(figures({"ActiveOpens": second}),))
        reconciliation.compare(one, {NETNS: {"ListenDrops": 0}})
    assert reconciliation.differences == {NETNS: {"ListenDrops": 0}}


def records(second: int, kernel: dict[str, int], ours_are: dict[str, int]) -> Reconciliation:
    """Settled at 0; then both have so many, until everything under way is over."""
    reconciliation = Reconciliation()
    for at in range(QUIET):
        one = reading(at, namespaces=(figures(dict.fromkeys(kernel, 0)),))
        reconciliation.compare(one, {NETNS: dict.fromkeys(COUNTED, 0)})
    for at in range(QUIET, QUIET + second):
        one = reading(at, namespaces=(figures(kernel),))
        reconciliation.compare(one, {NETNS: {**dict.fromkeys(COUNTED, 0), **ours_are}})
    return reconciliation


def test_counters_are_added_up() -> None:
    both = {"TW": 3, "TWKilled": 2}
    told = records(QUIET, both, {"TW+TWKilled": 5})
    assert set(told.differences[NETNS].values()) == {0}
    (compared_,) = (one for one in told.comparisons() if one.figure.name == "TW+TWKilled")
    assert (compared_.kernel, compared_.ours, compared_.difference) == (5, 5, 0)
    assert records(QUIET, both, {"TW+TWKilled": 3}).differences[NETNS]["TW+TWKilled"] == -2


def test_a_segment_that_could_not_leave_may_be_missing() -> None:
    kernel = {"TCPSynRetrans": 7, "TCPRetransFail": 2}
    for ours_are, difference in ((7, 0), (5, 0), (4, -1), (8, 1)):
        told = records(QUIET, kernel, {"TCPSynRetrans": ours_are})
        assert told.differences[NETNS]["TCPSynRetrans"] == difference
