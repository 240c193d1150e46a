"""Whole lives counted at once come to what the tracker comes to record by record."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tcptrace.lifecycle import beginning, bulk, continuing, findings, objects, picking, rows
from tcptrace.lifecycle.bulk import Bulk
from tcptrace.tcp import State
from tcptrace.wire.events import Kind
from unit import samples
from unit.lifecycle.histories import THOROUGH, crowds, hosts, replays, worlds
from unit.lifecycle.seen import check_counts
from unit.lifecycle.stream import Lives
from unit.lifecycle.tallies import new_tally
from unit.lifecycle.test_snapshot_properties import EVERYWHERE, Interleaving
from unit.lifecycle.test_tracker_properties import batches, garbage

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from random import Random

    from tcptrace.lifecycle.connection import Connection
    from tcptrace.lifecycle.tally import Buckets, Tally
    from tcptrace.wire.events import Record
    from unit.lifecycle.model.end import Host


@pytest.fixture(autouse=True, scope="module", params=["awake", "frozen", "slow"])
def _small_windows(request: pytest.FixtureRequest) -> Any:
    """Everything that can be is counted at once; every life is frozen after a window, or none.

    Or some of them are taken for slow ones: they are rebuilt, and are not frozen.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bulk, "FEWEST_RECORDS", 1)
        patch.setattr(bulk, "FEWEST_LIVES", 1)
        patch.setattr(beginning, "FEWEST_LIVES", 1)
        patch.setattr(findings, "FEWEST", 1)
        patch.setattr(continuing, "FEWEST_LIVES", 1)
        patch.setattr(rows, "_LEAST_SPARE", 0)
        if request.param == "slow":
            patch.setattr(picking, "SLOW_NS", 2 * samples.US)
            patch.setattr(picking, "MOST_A_WINDOW", 3)
            patch.setattr(objects, "SLOW_NS", 2 * samples.US)
            patch.setattr(objects, "MOST_SLOW", 4)
            patch.setattr(Way, "listens", True)
        if request.param != "awake":
            patch.setattr(objects, "MOST_WARM", 0)
            patch.setattr(objects, "REST_NS", -(1 << 70))
            patch.setattr(objects, "_STEPS", 1 << 30)
        yield


class _Counted(Lives):
    """Lives that nobody keeps."""

    def _closed(self, connection: Connection) -> None:
        pass

    def _ended(self, connection: Connection) -> None:
        pass

    def finish(self, now_ns: int) -> None:
        self.tracker.finish(now_ns)
        self.check_nothing_left()


NO_LOSSES: Final[Mapping[int, int]] = {}


class Way:
    """A tracker and its tally, fed in one of the two ways."""

    listens = False
    """Whether somebody wants to be told of slow lives."""

    def __init__(self, *, at_once: bool) -> None:
        self.tally = new_tally()
        self.lives = _Counted(self.tally)
        self._bulk = Bulk(self.lives.tracker, self.tally) if at_once else None
        if self._bulk is not None:
            self._bulk.leaves_slow = self.listens
            self.lives.tracker.registry.objects.keeps_slow = self.listens

    def feed(self, records: Sequence[Record]) -> None:
        if self._bulk is not None:
            self._bulk.feed(samples.batch(*records))
        else:
            self.lives.tracker.feed(records)
        self.lives.tracker.advance(records[-1].at_ns)

    def told(self) -> dict[str, object]:
        """Everything that is counted, as of now."""
        tally, tracker = self.tally, self.lives.tracker
        return {
            **_counted(tally),
            "sockets": {cell: list(by) for cell, by in tracker.counts.sockets.items()},
            "time waits": {
                one: tracker.counts.time_waits(one) for one in tracker.counts.namespaces
            },
            "open": tracker.open_count,
            "unexpected": tracker.unexpected,
            "listeners": [dataclasses.astuple(one) for one in tracker.listeners],
        }


def _counted(tally: Tally) -> dict[str, object]:
    return {
        "events": +tally.events,
        "figures": tally.figures,
        "transitions": tally.transitions,
        "durations": [_of(buckets) for buckets in tally.state_durations],
        "handshakes": {role: _of(buckets) for role, buckets in tally.handshakes.items()},
        "syn queue": _of(tally.syn_queue_wait),
        "accept": _of(tally.accept_wait),
        "waits": {at: (one.count, one.sum_ns, one.last_at_ns) for at, one in tally.waits.items()},
        "connects": tally.connects,
        "retransmits": (tally.syn_retransmits, tally.synack_retransmits),
        "resets": tally.resets,
        "partial": tally.partial,
        "heard": tally.heard,
    }


def _of(buckets: Buckets) -> tuple[object, ...]:
    return (buckets.counts, buckets.native, buckets.sum_ns)


def check_alike(
    records: Sequence[Record], sizes: Sequence[int], losses: Mapping[int, int] = NO_LOSSES
) -> Way:
    ways = Way(at_once=False), Way(at_once=True)
    feed_alike(*ways, records, sizes, losses)
    return ways[1]


def feed_alike(
    one: Way,
    other: Way,
    records: Sequence[Record],
    sizes: Sequence[int],
    losses: Mapping[int, int] = NO_LOSSES,
) -> None:
    """Feeds both ways.

    Args:
        losses: before which batches a loss is noticed, and how many records later than they begin.
    """
    at = number = 0
    while batch := records[at : at + sizes[number % len(sizes)]]:
        if number in losses:
            noticed_ns = records[min(at + losses[number], len(records) - 1)].at_ns
            one.lives.tracker.lose(noticed_ns)
            other.lives.tracker.lose(noticed_ns)
        at += len(batch)
        number += 1
        one.feed(batch)
        other.feed(batch)
        told, counted = one.told(), other.told()
        for name, value in told.items():
            assert counted[name] == value, name
        check_counts(other.lives.tracker)


_BORN_IN: dict[Kind, State] = {
    Kind.SYN_QUEUED: State.NEW_SYN_RECV,
    Kind.CHILD_CREATED: State.SYN_RECV,
    Kind.CONNECT_SENT: State.SYN_SENT,
    Kind.TIMEWAIT_ENTERED: State.TIME_WAIT,
}
windows = st.lists(st.integers(1, 60), min_size=1, max_size=3) | st.just([10_000])


@replays(0.2)
@given(world=worlds(), sizes=windows)
def test_legal_histories(world: Host, sizes: list[int]) -> None:
    other = check_alike(world.stream.records, sizes)
    other.lives.finish(world.stream.now_ns)


@replays(0.2)
@given(world=crowds(), sizes=windows)
def test_histories_at_listeners(world: Host, sizes: list[int]) -> None:
    other = check_alike(world.stream.records, sizes)
    other.lives.finish(world.stream.now_ns)


@THOROUGH
@given(
    world=hosts(),
    chance=st.randoms(use_true_random=False),
    share=st.sampled_from([0.02, 0.1, 0.5]),
    sizes=windows,
)
def test_lost_records(world: Host, chance: Random, share: float, sizes: list[int]) -> None:
    check_alike([one for one in world.stream.records if chance.random() > share], sizes)


@THOROUGH
@given(
    world=hosts(),
    sizes=windows,
    losses=st.dictionaries(st.integers(0, 5), st.integers(0, 60), min_size=1),
)
def test_losses_that_are_noticed(world: Host, sizes: list[int], losses: dict[int, int]) -> None:
    other = check_alike(world.stream.records, sizes, losses)
    other.lives.finish(world.stream.now_ns)


@THOROUGH
@given(
    world=hosts(),
    chance=st.randoms(use_true_random=False),
    share=st.sampled_from([0.1, 0.9]),
    sizes=windows,
)
def test_births_that_a_snapshot_saw_early(
    world: Host, chance: Random, share: float, sizes: list[int]
) -> None:
    records: list[Record] = []
    for record in world.stream.records:
        state = _BORN_IN.get(Kind(record.kind))
        if state is not None and chance.random() < share:
            records.append(
                record._replace(kind=Kind.SEEN, origin=0, old_state=state, new_state=state)
            )
        records.append(record)
    check_alike(records, sizes)


@replays(0.5)
@given(world=hosts(), chance=st.randoms(use_true_random=False), sizes=windows)
def test_a_snapshot_in_the_midst(world: Host, chance: Random, sizes: list[int]) -> None:
    snapshot = Interleaving(world, chance)
    during: list[Record] = []
    for at in range(snapshot.begin, snapshot.end + 1):
        during += snapshot.findings.get(at, ())
        during += snapshot.records[at : min(at + 1, snapshot.end)]
    ways = Way(at_once=False), Way(at_once=True)
    feed_alike(*ways, snapshot.records[: snapshot.begin], sizes)
    for way in ways:
        way.lives.tracker.begin_snapshot(world.stream.now_ns, {})
    feed_alike(*ways, during, sizes)
    for way in ways:
        way.lives.tracker.end_snapshot(EVERYWHERE)
    feed_alike(*ways, snapshot.records[snapshot.end :], sizes)
    healed = [way.lives.tracker.healed for way in ways]
    assert healed[0] == healed[1]


@settings(THOROUGH, max_examples=250)
@given(records=st.lists(garbage, max_size=60), sizes=batches)
def test_garbage_breaks_nothing(records: list[Record], sizes: list[int]) -> None:
    way = Way(at_once=True)
    at = 0
    for size in [*sizes, len(records)]:
        if batch := records[at : at + size]:
            way.feed(batch)
            check_counts(way.lives.tracker)
        at += size
    way.lives.finish(max((record.at_ns for record in records), default=0))
