"""Lines written by columns are those that are written life by life, byte for byte."""

from __future__ import annotations

import dataclasses
import io
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tcptrace.lifecycle import plain
from tcptrace.lifecycle.names import Names
from tcptrace.lifecycle.summary import Summary
from tcptrace.lifecycle.tracker import Tracker
from tcptrace.lines import Lines
from tcptrace.sinks.jsonl import JsonPrinter
from tcptrace.sinks.units import WallClock
from unit import samples
from unit.lifecycle.histories import THOROUGH, crowds, hosts, replays, worlds
from unit.lifecycle.test_bulk_properties import windows
from unit.lifecycle.test_tracker_properties import batches, garbage

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

    from tcptrace.lifecycle.connection import Connection
    from tcptrace.lifecycle.histogram import Histogram
    from tcptrace.wire.events import Record
    from unit.lifecycle.model.end import Host


@pytest.fixture(autouse=True, scope="module")
def _small_windows() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plain, "FEWEST_RECORDS", 1)
        patch.setattr(plain, "FEWEST_LIVES", 1)
        yield


class Way:
    """A trace's output, in one of the two ways."""

    def __init__(self, *, at_once: bool) -> None:
        self._stream = io.BytesIO()
        self.summary = Summary()
        self.tracker = Tracker(self.summary.add, self._ended)
        printer = JsonPrinter(self._stream, WallClock(samples.head()), names=Names())
        self._lines = Lines(printer) if at_once else None
        self._printer = self._lines or printer
        if self._lines is not None:
            self._lines.follow(self.tracker, self.summary)

    def _ended(self, connection: Connection) -> None:
        self._printer.show(connection, 0)

    def feed(self, records: Sequence[Record]) -> None:
        if self._lines is not None:
            self._lines.feed(samples.batch(*records), 0)
            self._lines.catch_up(records[-1].at_ns)
        else:
            self.tracker.feed(records)
            self.tracker.advance(records[-1].at_ns)

    def finish(self, now_ns: int) -> None:
        self.tracker.finish(now_ns)

    def take(self) -> str:
        """What was printed since."""
        self._printer.flush()
        text = self._stream.getvalue().decode()
        self._stream.seek(0)
        self._stream.truncate()
        return text

    def told(self) -> dict[str, object]:
        """What else it came to."""
        summary = dict(vars(self.summary))
        for name in ("syn_queue_wait", "accept_wait"):
            summary[name] = _of(summary[name])
        handshakes = {role: _of(one) for role, one in summary.pop("handshakes").items()}
        outcomes = {role: +counter for role, counter in summary.pop("outcomes").items()}
        return {
            **summary,
            "handshakes": handshakes,
            "outcomes": outcomes,
            "open": self.tracker.open_count,
            "unexpected": self.tracker.unexpected,
            "listeners": [dataclasses.astuple(one) for one in self.tracker.listeners],
        }


def _of(histogram: Histogram) -> tuple[object, ...]:
    return (histogram.count, histogram.max, histogram._buckets)


def check_alike(records: Sequence[Record], sizes: Sequence[int], now_ns: int) -> None:
    one, other = Way(at_once=False), Way(at_once=True)
    at = number = 0
    while batch := records[at : at + sizes[number % len(sizes)]]:
        at += len(batch)
        number += 1
        one.feed(batch)
        other.feed(batch)
        assert other.take() == one.take()
        assert other.told() == one.told()
    one.finish(now_ns)
    other.finish(now_ns)
    # What is still open has no order but that in which it came into its objects.
    assert sorted(other.take().splitlines()) == sorted(one.take().splitlines())
    assert other.told() == one.told()


@replays(0.1)
@given(world=worlds(), sizes=windows)
def test_legal_histories(world: Host, sizes: list[int]) -> None:
    check_alike(world.stream.records, sizes, world.stream.now_ns)


@replays(0.1)
@given(world=crowds(), sizes=windows)
def test_histories_at_listeners(world: Host, sizes: list[int]) -> None:
    check_alike(world.stream.records, sizes, world.stream.now_ns)


@replays(0.1)
@given(
    world=hosts(),
    chance=st.randoms(use_true_random=False),
    share=st.sampled_from([0.02, 0.1, 0.5]),
    sizes=windows,
)
def test_lost_records(world: Host, chance: Random, share: float, sizes: list[int]) -> None:
    left = [one for one in world.stream.records if chance.random() > share]
    check_alike(left, sizes, world.stream.now_ns)


@settings(THOROUGH, max_examples=150)
@given(records=st.lists(garbage, max_size=60), sizes=batches)
def test_garbage(records: list[Record], sizes: list[int]) -> None:
    check_alike(records, [*sizes, 60], max((record.at_ns for record in records), default=0))
