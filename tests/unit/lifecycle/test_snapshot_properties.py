"""Snapshots at any moment of any history: they change nothing that was whole, and heal the rest."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import TYPE_CHECKING

from hypothesis import assume, given
from hypothesis import strategies as st

from tcptrace.lifecycle.connection import Partial
from tcptrace.lifecycle.folding import MOST_CONNECTIONS
from tcptrace.lifecycle.healing import Healing
from tcptrace.tcp import State
from tcptrace.wire.events import Kind, Record
from unit import samples
from unit.lifecycle.histories import THOROUGH, hosts, replays
from unit.lifecycle.seen import Count, counted, finding, findings, played, take_snapshot
from unit.lifecycle.stream import HERE, Lives
from unit.lifecycle.tallies import new_tally
from unit.lifecycle.test_tracker_properties import check_whatever

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

    from tcptrace.lifecycle.connection import Connection
    from unit.lifecycle.model.end import Host, Tables

S = State
EVERYWHERE = {HERE, 7}
CHANCE = st.randoms(use_true_random=False)
LIMITS = st.sampled_from([0, 1, 2, 5, MOST_CONNECTIONS])
"""Of the lives that are kept, once they are idle."""
LATE_NS = 2 * samples.S
"""Later than a snapshot's doubts about what was told just before."""


def is_told(tables: Tables) -> bool:
    """Whether a snapshot finds all that the records tell of, at this moment."""
    return tables.is_settled and all(found.is_hashed for found in tables.objects.values())


@THOROUGH
@given(world=hosts(), most=LIMITS)
def test_the_counts_are_the_kernels_after_each_record(world: Host, most: int) -> None:
    """However few lives are kept."""
    lives = Lives(new_tally(), most)
    for record, after in zip(world.stream.records, world.history[1:], strict=True):
        lives.tracker.feed([record])
        lives.tracker.advance(record.at_ns)
        if after.is_settled:
            assert counted(lives.tracker) == played(after.objects)
    lives.finish(world.stream.now_ns)


class Interleaving:
    """A snapshot that is taken while things happen.

    Every object that is there from its begin to its end is found, others perhaps. A finding is as
    true as at one moment, and comes up to some records later; that of a birth one record before.
    """

    def __init__(self, world: Host, chance: Random) -> None:
        self.records = world.stream.records
        self._history = world.history
        self._chance = chance
        self.begin = chance.randrange(len(self.records) + 1)
        self.end = min(len(self.records), self.begin + chance.randrange(12))
        self.findings: dict[int, list[Record]] = {}
        for sock in {sock for at in self._span for sock in self._history[at].objects}:
            self._find(sock)

    @property
    def _span(self) -> range:
        return range(self.begin, self.end + 1)

    def _is_there(self, sock: int, at: int) -> bool:
        tables = self._history[at]
        return sock in tables.objects and tables.objects[sock].is_hashed

    def _find(self, sock: int) -> None:
        moments = [at for at in self._span if self._is_there(sock, at)]
        is_always_there = len(moments) == len(self._span)
        if not moments or (not is_always_there and self._chance.random() < 0.2):
            return
        true_at = self._chance.choice(moments)
        told_at = min(self.end, true_at + self._chance.choice([0, 0, 1, 2, 3]))
        if self._time(told_at) - self._time(true_at) > samples.MS:
            told_at = true_at
        is_birth = true_at > self.begin and not self._is_there(sock, true_at - 1)
        birth = self.records[true_at - 1]
        if is_birth and birth.kind in (Kind.SYN_QUEUED, Kind.CHILD_CREATED) and birth.sock == sock:
            told_at -= told_at == true_at and self._chance.random() < 0.7
        found = self._history[true_at].objects[sock]
        self.findings.setdefault(told_at, []).append(finding(sock, found, self._time(told_at)))

    def _time(self, at: int) -> int:
        """Of the last record before this moment."""
        return self.records[at - 1].at_ns if at else self.records[0].at_ns - 1

    def feed(self, lives: Lives) -> None:
        tracker = lives.tracker
        for at in range(len(self.records) + 1):
            if at == self.begin:
                tracker.begin_snapshot(self._time(at), {})
            tracker.feed(self.findings.get(at, ()))
            if at == self.end:
                tracker.end_snapshot(EVERYWHERE)
            tracker.feed(self.records[at : at + 1])
            tracker.advance(self._time(at))


def _comparable(lives: Sequence[Connection]) -> list[str]:
    """Without their numbers, which a finding before a birth may have used up."""
    ordered = sorted(lives, key=lambda life: life.id)
    number: dict[int | None, int] = {life.id: at for at, life in enumerate(ordered)}
    for life in ordered:
        life.id, life.peer_id = number[life.id], number.get(life.peer_id, life.peer_id)
    return [str(life) for life in ordered]


@replays(0.5)
@given(world=hosts(), chance=CHANCE)
def test_what_is_known_is_whole_with_a_snapshot_in_the_midst(world: Host, chance: Random) -> None:
    snapshot = Interleaving(world, chance)
    assume(all(world.history[at].is_settled for at in range(snapshot.begin, snapshot.end + 1)))
    with_one, without = Lives(new_tally()), Lives(new_tally())
    snapshot.feed(with_one)
    for record in world.stream.records:
        without.tracker.feed([record])
        without.tracker.advance(record.at_ns)
    assert counted(with_one.tracker) == counted(without.tracker)
    for lives in (with_one, without):
        lives.finish(world.stream.now_ns)
    assert with_one.tracker.unexpected == 0
    assert with_one.tracker.healed == 0
    assert with_one.tracker.snapshots == 1
    assert _comparable(with_one.ended) == _comparable(without.ended)
    assert all(not life.partial for life in with_one.ended)


def later(records: Sequence[Record], by_ns: int) -> list[Record]:
    return [record._replace(at_ns=record.at_ns + by_ns) for record in records]


def moments_of(world: Host, chance: Random) -> tuple[int, int]:
    """Two at which a snapshot finds all that the records tell of."""
    told = [at for at, tables in enumerate(world.history) if is_told(tables)]
    first, second = sorted((chance.choice(told), chance.choice(told)))
    return first, second


def heal_twice(
    world: Host, chance: Random, share_lost: float, most: int, moments: tuple[int, int]
) -> None:
    """Feeds from one moment to another, with a snapshot at both."""
    begin, end = moments
    lives = Lives(new_tally(), most)
    tracker, records = lives.tracker, world.stream.records
    kept = [record for record in records[:begin] if chance.random() >= share_lost]
    tracker.feed(kept)
    now_ns = records[begin - 1].at_ns if begin else samples.START
    take_snapshot(tracker, world.history[begin].objects, now_ns + LATE_NS, EVERYWHERE)
    assert counted(tracker) == played(world.history[begin].objects)
    kept = [record for record in records[begin:end] if chance.random() >= share_lost]
    tracker.feed(later(kept, LATE_NS))
    now_ns = records[end - 1].at_ns if end else samples.START
    take_snapshot(tracker, world.history[end].objects, now_ns + 2 * LATE_NS, EVERYWHERE)
    assert counted(tracker) == played(world.history[end].objects)
    tracker.feed(later(records[end:], 2 * LATE_NS))
    lives.finish(world.stream.now_ns + 2 * LATE_NS)


@replays(0.4)
@given(world=hosts(), chance=CHANCE, share=st.sampled_from([0.0, 0.05, 0.3, 0.8]), most=LIMITS)
def test_a_snapshot_heals_what_losses_did(
    world: Host, chance: Random, share: float, most: int
) -> None:
    heal_twice(world, chance, share, most, moments_of(world, chance))


class Healed:
    """A host that loses records and takes snapshots at whatever moment, as `serve` does.

    Each loss is noticed at once; what is not called suspect is held against the kernel.
    """

    def __init__(self, world: Host, chance: Random, most: int) -> None:
        self.lives = Lives(new_tally(), most)
        self.healing = Healing()
        self._world = world
        self._chance = chance
        self._now_ns = samples.START

    def play(self, share_lost: float, share_snapshots: float) -> None:
        records, history = self._world.stream.records, self._world.history
        for record, before in zip(records, history, strict=False):
            self._look(before, record.at_ns, share_snapshots)
            self._now_ns = record.at_ns
            if self._chance.random() < share_lost:
                self.lives.tracker.lose(record.at_ns)
                self.healing.lose(record.at_ns)
            else:
                self.lives.tracker.feed([record])
            self.lives.tracker.advance(record.at_ns)
        self._look(history[-1], self._now_ns + LATE_NS, 1.0)
        self.lives.finish(self._world.stream.now_ns + LATE_NS)

    def _look(self, tables: Tables, until_ns: int, share_snapshots: float) -> None:
        """Anything may happen before that time, but no record comes."""
        if tables.is_settled:
            self._check(tables)
        if not is_told(tables):
            return
        at_ns = self._chance.randrange(self._now_ns, until_ns)
        due = self._chance.random() < share_snapshots
        if due or self.healing.is_due(at_ns):
            self._take_snapshot(tables, at_ns)
            self._check(tables)

    def _take_snapshot(self, tables: Tables, at_ns: int) -> None:
        """A walk over a namespace may fail in the midst, or be impossible."""
        tracker, chance = self.lives.tracker, self._chance
        covered = chance.choice([EVERYWHERE, EVERYWHERE, EVERYWHERE, {HERE}])
        objects = {
            sock: found
            for sock, found in tables.objects.items()
            if found.ends.netns in covered or chance.random() < 0.5
        }
        self.healing.begin(at_ns)
        take_snapshot(tracker, objects, at_ns, covered)
        self.healing.end(at_ns, covered, EVERYWHERE, is_whole=True)

    def _check(self, tables: Tables) -> None:
        sure = EVERYWHERE - self.healing.suspects(EVERYWHERE)
        assert _within(sure, counted(self.lives.tracker)) == _within(sure, played(tables.objects))


def _within(namespaces: set[int], count: Count) -> Count:
    return Counter({cell: number for cell, number in count.items() if cell[0] in namespaces})


@replays(0.4)
@given(
    world=hosts(),
    chance=CHANCE,
    lost=st.sampled_from([0.02, 0.1, 0.5]),
    snapshots=st.sampled_from([0.02, 0.1, 0.5]),
    most=LIMITS,
)
def test_what_is_called_healed_is_right(
    world: Host, chance: Random, lost: float, snapshots: float, most: int
) -> None:
    """However soon after a loss a snapshot is taken, and whatever goes on after it."""
    Healed(world, chance, most).play(lost, snapshots)


@THOROUGH
@given(world=hosts(), chance=CHANCE, share=st.sampled_from([0.0, 0.2]), most=LIMITS)
def test_a_start_in_the_middle_of_it(world: Host, chance: Random, share: float, most: int) -> None:
    """Nothing is known before the first snapshot; what is born later is whole if none is lost."""
    begin, end = moments_of(world, chance)
    lives = Lives(new_tally(), most)
    tracker, records = lives.tracker, world.stream.records
    now_ns = records[begin - 1].at_ns if begin else samples.START
    take_snapshot(tracker, world.history[begin].objects, now_ns, EVERYWHERE)
    assert counted(tracker) == played(world.history[begin].objects)
    kept = [record for record in records[begin:end] if chance.random() >= share]
    tracker.feed(kept)
    now_ns = records[end - 1].at_ns if end else samples.START
    take_snapshot(tracker, world.history[end].objects, now_ns + LATE_NS, EVERYWHERE)
    assert counted(tracker) == played(world.history[end].objects)
    lives.finish(now_ns + LATE_NS)
    if not share:
        for life in lives.ended:
            is_whole = life.began_ns is not None and life.spans and life.spans[0].at_ns is not None
            assert not is_whole or not life.partial - {
                Partial.BEGAN_BEFORE,
                Partial.END_LOST,
                Partial.FOLDED,
            }


@THOROUGH
@given(world=hosts(), chance=CHANCE, every=st.integers(1, 30))
def test_damaged_histories_with_findings(world: Host, chance: Random, every: int) -> None:
    """Some of both lost, some twice, some far too late."""
    records: list[Record] = []
    for record, tables in zip(world.stream.records, world.history, strict=False):
        if chance.random() < 0.1:
            records += findings(tables.objects, record.at_ns)
        records.append(record)
    records = [record for record in records if chance.random() > 0.1]
    records += chance.sample(records, len(records) // 10)
    distance = chance.choice([0, 3, len(records)])
    places = dict(zip(map(id, records), itertools.count(), strict=False))
    records.sort(key=lambda record: places[id(record)] + chance.uniform(0, distance))
    check_whatever(records, every)
