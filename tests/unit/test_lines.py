from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

from bench.stream import AT_ONCE, BEGAN_NS, EACH_NS, connections

from tcptrace.lifecycle.names import Names
from tcptrace.lifecycle.summary import Summary
from tcptrace.lifecycle.tracker import Tracker
from tcptrace.lines import Lines
from tcptrace.sinks.jsonl import JsonPrinter
from tcptrace.sinks.units import WallClock
from tcptrace.wire.layout import RECORD_SIZE
from unit import samples

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tcptrace.wire.events import Record

MS = samples.MS
CONNECTIONS = 100


class Trace:
    """Lines, and how many records the tracker got."""

    def __init__(self) -> None:
        self.stream = io.BytesIO()
        self.names = Names()
        printer = JsonPrinter(self.stream, WallClock(samples.head()), names=self.names)
        self.lines = Lines(printer)
        self.summary = Summary()
        self.fed = 0
        tracker = Tracker(self.summary.add, lambda life: self.lines.show(life, 0))
        feed = tracker.feed

        def count(records: Iterable[Record]) -> None:
            taken = list(records)
            self.fed += len(taken)
            feed(taken)

        tracker.feed = count  # type: ignore[method-assign]
        self.lines.follow(tracker, self.summary)

    def printed(self) -> list[Any]:
        self.lines.flush()
        return [json.loads(line) for line in self.stream.getvalue().splitlines()]


def test_the_tracker_gets_hardly_any_of_many() -> None:
    trace = Trace()
    batch = connections(CONNECTIONS)
    trace.lines.feed(batch, 0)
    trace.lines.catch_up(0)
    assert trace.fed < len(batch) // RECORD_SIZE // 10
    lives = trace.printed()
    assert len(lives) == CONNECTIONS, "the servers'; clients are in TIME_WAIT"
    assert [life["ended_at_ns"] for life in lives] == sorted(life["ended_at_ns"] for life in lives)
    assert trace.summary.connection_count == trace.summary.pairs == CONNECTIONS


def test_few_records_are_told_of_at_once() -> None:
    trace = Trace()
    trace.lines.feed(connections(2), 0)
    assert len(trace.printed()) == 2


def test_many_wait_for_more_but_not_for_long() -> None:
    trace = Trace()
    parts = [connections(10)[: 10 * AT_ONCE * RECORD_SIZE]] * 12
    for number, part in enumerate(parts):
        assert trace.printed() == []
        trace.lines.feed(part, BEGAN_NS + number * 50 * MS)
        if number == 10:
            break
    assert trace.printed() != []


def test_they_wait_no_longer_once_no_more_come() -> None:
    trace = Trace()
    trace.lines.feed(connections(20), 0)
    assert trace.printed() == []
    trace.lines.feed(b"", 50 * MS)
    assert len(trace.printed()) == 20


def test_a_name_that_comes_late_is_in_the_next_lines() -> None:
    trace = Trace()
    for name in (None, "blue"):
        if name is not None:
            trace.names.namespaces.learn(1, name)
        trace.lines.feed(connections(CONNECTIONS), 0)
        trace.lines.catch_up(CONNECTIONS * EACH_NS)
    names = [life["netns_name"] for life in trace.printed()]
    assert set(names[:CONNECTIONS]) == {None}
    assert names[-1] == "blue"
