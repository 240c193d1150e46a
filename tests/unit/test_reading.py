from __future__ import annotations

import pytest

from tcptrace.reading import batches, last_ns
from tcptrace.stopping import Limits, Stop
from tcptrace.wire.layout import RECORD_SIZE, STACK_SIZE
from unit import samples
from unit.sources import FakeSource


def test_what_is_left_in_a_source_may_be_older_than_the_time_before_the_read() -> None:
    """A read takes only so many: a time is told of whose records have been taken."""
    early = samples.batch(samples.record(at_ns=samples.START - 2), samples.record(at_ns=7))
    late = samples.batch(samples.record(at_ns=samples.START + 60 * samples.S))
    told = list(batches(FakeSource(early, b"", late), Stop(Limits())))
    assert told == [
        (7, early),
        (samples.START + samples.S, b""),
        (samples.START + 2 * samples.S, late),
    ]


def test_what_comes_after_the_end_is_not_waited_for() -> None:
    """Where records come faster than they are taken, a trace would go on beyond its duration."""
    stop = Stop(Limits())
    stop.asked = True
    held = samples.batch(samples.record(at_ns=samples.START - 1))
    later = samples.batch(samples.record(at_ns=samples.START + samples.S))
    told = [batch for _, batch in batches(FakeSource(held, *[later] * 9), stop)]
    assert told == [held, later]


@pytest.mark.parametrize("stacks", [False, True])
def test_the_last_record_of_whole_ones(stacks: bool) -> None:
    record = samples.batch(samples.record(at_ns=5)), samples.batch(samples.record(at_ns=6))
    stack = bytes(STACK_SIZE if stacks else 0)
    assert last_ns(b"".join(one + stack for one in record), RECORD_SIZE + len(stack)) == 6
