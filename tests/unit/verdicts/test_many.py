"""Of more listeners than facts are kept of: those in trouble come first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest

from tcptrace.lifecycle.ledger import Address, Ledger
from tcptrace.verdicts.case import Case, of_ledger
from tcptrace.verdicts.gathering import Gathering
from tcptrace.verdicts.judging import MOST_VERDICTS, judge
from tcptrace.verdicts.verdict import Cause
from tcptrace.verdicts.window import MOST_SUBJECTS, Slice
from tcptrace.wire.events import Stage
from tcptrace.wire.ledger import Count
from unit import samples, slots

if TYPE_CHECKING:
    from tcptrace.verdicts.verdict import Verdict
    from tcptrace.wire.ledger import Slot

MANY: Final = MOST_SUBJECTS + 200
FULL: Final = {"counts": {Stage.SYN_ACCEPT_QUEUE_FULL: 40, Count.CHILD_CREATED: 5}}
STUCK: Final = {"accept_queue_len": 40}
HALF_OPEN: Final = {"syn_queue_len": 40, "counts": {Count.SYN_QUEUED: 40}}


def busy(second: int, ill: dict[str, Any] | None = None) -> dict[int, Slot]:
    """Every listener takes somebody each second; from the second one on, the last one is ill."""
    well = {
        port: slots.slot(port=port, counts={Count.CHILD_CREATED: 5 * second})
        for port in range(1, MANY + 1)
    }
    return {**well, MANY: slots.slot(port=MANY, **ill)} if ill is not None else well


def found(*readings: tuple[float, dict[int, Slot]]) -> list[Verdict]:
    ledger = Ledger(10_000)
    gathering = Gathering(samples.START)
    for at_s, told in readings:
        reading = slots.reading(at_s, told)
        ledger.absorb(reading)
        gathering.read(ledger, reading)
    now_ns = samples.START + int(at_s * samples.S)
    facts, length_ns = gathering.window.seen(now_ns)
    assert facts.listeners
    return judge(Case(facts, now_ns, length_ns, of_ledger(ledger)))


@pytest.mark.parametrize(
    ("ill", "cause"),
    [
        (FULL, Cause.ACCEPT_LOOP_SLOW),
        (STUCK, Cause.ACCEPT_LOOP_SLOW),
        (HALF_OPEN, Cause.HALF_OPEN_EXPIRY),
    ],
)
def test_who_is_in_trouble_is_never_left_out_for_others(ill: dict[str, Any], cause: Cause) -> None:
    """Though the slice of time was full of others when the trouble began."""
    readings = [
        (float(second), busy(second, ill if second > 1 else None)) for second in range(1, 8)
    ]
    told = found(*readings)
    where = Address(slots.NETNS, "0.0.0.0", MANY)  # noqa: S104 - a listener's
    assert [(one.cause, one.where) for one in told] == [(cause, where)]


def test_of_more_verdicts_than_anybody_reads_those_with_most_drops_are_told() -> None:
    """No life was seen of any: each has hurt one at least, and nobody knows how many."""
    ports = range(1, MOST_VERDICTS + 51)
    ill = {
        port: slots.slot(port=port, counts={Stage.SYN_ACCEPT_QUEUE_FULL: 10 + port})
        for port in ports
    }
    told = found((1.0, {}), (2.0, ill))
    assert [one.where.port for one in told] == list(reversed(ports))[:MOST_VERDICTS]


def test_a_slice_keeps_facts_of_so_many_at_most() -> None:
    gathering = Gathering(samples.START)
    ledger = Ledger(10_000)
    for second in (1, 2):
        reading = slots.reading(second, busy(second, FULL if second > 1 else None))
        ledger.absorb(reading)
        gathering.read(ledger, reading)
    facts = gathering.window.seen(reading.at_ns).facts
    assert len(facts.listeners) == MOST_SUBJECTS


def test_those_of_many_slices_are_all_settled() -> None:
    """One after the other they are in trouble, more of them than a slice has room for."""
    facts = Slice(0)
    for part in range(3):
        piece = Slice(part)
        for port in range(MOST_SUBJECTS):
            mine = piece.listener(Address(part, "::", port))
            assert mine is not None
        facts.absorb(piece)
    case = Case(facts, samples.S, samples.S, {})
    case.settle()
    assert len(case.facts.listeners) == 3 * MOST_SUBJECTS
