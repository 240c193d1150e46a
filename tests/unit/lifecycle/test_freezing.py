"""Frozen lives are what they were: nobody can tell which are frozen, whatever happens."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcptrace.lifecycle import freezing, objects
from tcptrace.lifecycle.connection import Connection, Partial
from tcptrace.lifecycle.freezing import Freezer
from tcptrace.lifecycle.life import Life
from tcptrace.lifecycle.objects import Objects
from tcptrace.lifecycle.registry import Registry
from tcptrace.tcp import State
from unit import samples
from unit.lifecycle import test_snapshot_properties as snapshots
from unit.lifecycle import test_tracker_properties as properties
from unit.lifecycle.histories import HISTORY, hosts, replays
from unit.lifecycle.model.end import Object
from unit.lifecycle.seen import counted, finding
from unit.lifecycle.stream import CLIENT, HERE, Ends, Lives, Stream
from unit.lifecycle.tallies import new_tally

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from random import Random

    from tcptrace.wire.events import Record
    from unit.lifecycle.model.end import Host

S = State
FIRST_SOCK = 0x1000


@pytest.fixture(scope="class")  # each function's own; hypothesis takes no narrower one
def frozen() -> Iterator[list[Life]]:
    """Every life that can be is frozen after each batch; gives those that were."""
    were: list[Life] = []
    freeze, make_room = Objects._freeze, Registry.make_room

    def freeze_and_look(self: Objects, sock: int, life: Life) -> bool:
        is_frozen = freeze(self, sock, life)
        item = self.frozen.get(sock)
        assert (item is not None) == (sock not in self.lives) == is_frozen
        if item is not None:
            assert self.freezer.thaw(sock, item) == life
            were.append(life)
        return is_frozen

    def make_room_and_rest(self: Registry, now_ns: int) -> None:
        make_room(self, now_ns)
        if self.left is None:
            self.objects.rest(now_ns)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(objects, "MOST_WARM", 0)
        patch.setattr(objects, "REST_NS", -(1 << 70))
        patch.setattr(objects, "_STEPS", 1 << 30)
        patch.setattr(Objects, "_freeze", freeze_and_look)
        patch.setattr(Registry, "make_room", make_room_and_rest)
        yield were


def inner(test: Any) -> Any:
    """What hypothesis calls with each example."""
    return test.hypothesis.inner_test


@replays(0.1)
@given(world=hosts(), batch_sizes=properties.batches)
@pytest.mark.usefixtures("frozen")
def test_legal_histories(world: Host, batch_sizes: Sequence[int]) -> None:
    properties.check_legal(world, batch_sizes)


@replays(0.1)
@given(world=hosts(), chance=snapshots.CHANCE, every=st.integers(1, 30))
@pytest.mark.usefixtures("frozen")
def test_damaged_histories_with_findings(world: Host, chance: Random, every: int) -> None:
    inner(snapshots.test_damaged_histories_with_findings)(world, chance, every)


@replays(0.05)
@given(records=st.lists(properties.garbage, max_size=60), every=st.integers(1, 30))
@pytest.mark.usefixtures("frozen")
def test_garbage(records: list[Record], every: int) -> None:
    properties.check_whatever(records, every)


@replays(0.1)
@given(world=hosts(), chance=snapshots.CHANCE)
@pytest.mark.usefixtures("frozen")
def test_a_snapshot_in_the_midst(world: Host, chance: Random) -> None:
    inner(snapshots.test_what_is_known_is_whole_with_a_snapshot_in_the_midst)(world, chance)


@replays(0.1)
@given(
    world=hosts(),
    chance=snapshots.CHANCE,
    lost=st.sampled_from([0.02, 0.1, 0.5]),
    most=snapshots.LIMITS,
)
@pytest.mark.usefixtures("frozen")
def test_losses_and_snapshots(world: Host, chance: Random, lost: float, most: int) -> None:
    snapshots.heal_twice(world, chance, lost, most, snapshots.moments_of(world, chance))
    snapshots.Healed(world, chance, most).play(lost, lost)


def test_what_is_frozen_is_thawed_as_it_was(frozen: list[Life]) -> None:
    """In every state; `frozen` looks at each."""
    frozen.clear()
    properties.check_legal(HISTORY, [1])
    assert {life.connection.state for life in frozen} >= set(S) - {S.CLOSE, S.LISTEN, S.CLOSING}


def test_each_field_is_kept() -> None:
    of_connection = {*freezing.CONNECTION_NUMBERS, *freezing.CONNECTION_SHAPE}
    of_connection |= {"netns", "local", "remote", "spans", "moments"}
    assert {one.name for one in dataclasses.fields(Connection)} == of_connection
    of_life = {*freezing.LIFE_NUMBERS, *freezing.LIFE_SHAPE}
    of_life |= {"connection", "sock", "other", "ends", "keys", "seen_in"}
    assert {one.name for one in dataclasses.fields(Life)} == of_life


def ends_of(number: int) -> Ends:
    return CLIENT._replace(remote=CLIENT.remote._replace(port=1 + number))


class Established:
    """Connections of which nothing more is told."""

    def __init__(self, count: int) -> None:
        self.stream, self.lives = Stream(), Lives(new_tally())
        self.tracker = self.lives.tracker
        for number in range(count):
            self.stream.goes(FIRST_SOCK + number, ends_of(number), S.SYN_RECV, S.ESTABLISHED)
        self.tracker.feed(self.stream.records)

    @property
    def frozen(self) -> int:
        """How many of them are frozen."""
        return len(self.tracker.registry.objects.frozen)

    def finding(self, number: int, state: State) -> Record:
        return finding(FIRST_SOCK + number, Object(ends_of(number), state), self.stream.now_ns)


@pytest.mark.usefixtures("frozen")
def test_a_loss_marks_frozen_lives_without_thawing_them() -> None:
    host = Established(3)
    assert host.frozen == 3
    host.tracker.lose(host.stream.now_ns)
    assert host.frozen == 3
    host.lives.finish(host.stream.now_ns)
    assert [life.partial for life in host.lives.ended] == [{Partial.BEGAN_BEFORE, Partial.GAP}] * 3


@pytest.mark.usefixtures("frozen")
def test_a_snapshot_thaws_only_those_of_which_it_tells_something_new() -> None:
    host = Established(4)
    tracker, now_ns = host.tracker, host.stream.now_ns + 2 * samples.S
    tracker.begin_snapshot(now_ns, {})
    tracker.feed([host.finding(number, S.ESTABLISHED) for number in range(2)])
    assert host.frozen == 4
    tracker.feed([host.finding(2, S.CLOSE_WAIT)._replace(at_ns=now_ns)])
    assert host.frozen == 3
    tracker.end_snapshot({HERE})
    assert tracker.corrected == 1
    assert tracker.healed == 1
    assert host.frozen == 3  # the corrected one again
    assert counted(tracker) == {(HERE, "ipv4", S.ESTABLISHED): 2, (HERE, "ipv4", S.CLOSE_WAIT): 1}


def test_few_lives_are_left_as_they_are() -> None:
    host = Established(3)
    host.tracker.advance(host.stream.now_ns + 100 * samples.S)
    assert host.frozen == 0


def test_no_more_at_a_time_than_a_few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects, "MOST_WARM", 10)
    monkeypatch.setattr(objects, "_STEPS", 5)
    host = Established(200)
    host.tracker.advance(host.stream.now_ns)  # none of them rests yet
    now_ns = host.stream.now_ns + 2 * objects.REST_NS
    numbers = [host.frozen]
    for _ in range(50):
        host.tracker.advance(now_ns)
        numbers.append(host.frozen)
    assert numbers[:4] == [0, 5, 10, 15]
    assert numbers[-1] == 190


def test_shapes_are_shared_and_given_back() -> None:
    freezer = Freezer()
    lives = [
        Life(one, ends=(one.netns, *one.local, *one.remote))
        for one in (samples.client(), samples.server())
    ]
    frozen = [freezer.freeze(life) or b"" for life in (*lives, *lives)]
    assert len(freezer) == 2
    for one in frozen:
        freezer.release(one)
    assert len(freezer) == 0
