"""Whatever the records: legal histories give exactly the lives that were played; damaged ones
crash nothing, leak nothing and invent nothing."""

from __future__ import annotations

import dataclasses
import itertools
import socket
from collections import defaultdict
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tcptrace.lifecycle.connection import Connection, Outcome, Partial, Process
from tcptrace.tcp import State
from tcptrace.wire.events import Flag, Kind, Record, Stage
from unit import samples
from unit.lifecycle.histories import ADDRESSES, SEEN, THOROUGH, crowds, hosts, replays, worlds
from unit.lifecycle.model.plan import Acceptance, Chain, Closing, Opening, TimeWaitEnd, Use
from unit.lifecycle.model.world import World
from unit.lifecycle.seen import check_counts
from unit.lifecycle.stream import HERE, Ends, Lives
from unit.lifecycle.tallies import new_tally

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

    from unit.lifecycle.model.crowd import Crowd
    from unit.lifecycle.model.end import Host

S = State


def told_by(
    records: Sequence[Record], batch_sizes: Sequence[int], now_ns: int
) -> tuple[list[Connection], Lives]:
    """Feeds batches as a session does; the lives must not depend on their sizes."""
    lives = Lives()
    at = 0
    for size in itertools.cycle(batch_sizes):
        batch = records[at : at + size]
        if not batch:
            break
        lives.tracker.feed(batch)
        lives.tracker.advance(batch[-1].at_ns)
        at += size
    lives.finish(now_ns)
    return sorted(lives.ended, key=lambda life: life.id), lives


def _differences(told: Connection, played: Connection) -> list[str]:
    return [
        f"{played.role} {played.id}: {name.name} {one!r}, not {other!r}"
        for name in dataclasses.fields(Connection)
        if (one := getattr(told, name.name)) != (other := getattr(played, name.name))
    ]


batches = st.lists(st.integers(1, 200), min_size=1, max_size=5)


def check_legal(world: Host, batch_sizes: Sequence[int]) -> None:
    told, lives = told_by(world.stream.records, batch_sizes, world.stream.now_ns)
    played = sorted(world.lives, key=lambda life: life.id)
    assert [life.id for life in told] == [life.id for life in played]
    assert [*itertools.chain(*map(_differences, told, played))] == []
    assert lives.tracker.unexpected == 0
    by_time = sorted(lives.tracker.listeners, key=lambda listener: listener.opened_at_ns or 0)
    assert by_time == sorted(world.listeners, key=lambda listener: listener.opened_at_ns or 0)


@pytest.mark.parametrize("opening", Opening)
def test_every_kind_of_connection(opening: Opening) -> None:
    """Each twice on the same ports, with each closing: what chance may leave out."""
    local, remote, family = ADDRESSES[0]
    client = Ends(local._replace(port=40_000), remote._replace(port=8080), family)
    for closing, acceptance, end, is_orphan, is_bound in itertools.product(
        Closing, Acceptance, TimeWaitEnd, (False, True), (False, True)
    ):
        use = Use(opening, closing, acceptance, end, is_orphan, is_bound, 2, *SEEN)
        check_legal(World([Chain(client, client.other_side, (use, use), (1000,), 0)]), [7])


@replays(0.4)
@given(world=worlds(), batch_sizes=batches)
def test_legal_histories_give_the_lives_that_were_played(
    world: World, batch_sizes: list[int]
) -> None:
    check_legal(world, batch_sizes)


@replays(0.6)
@given(world=crowds(), batch_sizes=batches)
def test_legal_histories_at_listeners_with_both_queues(
    world: Crowd, batch_sizes: list[int]
) -> None:
    """Who is dropped, at which stage, who gets a cookie, who waits how long: the queues say."""
    check_legal(world, batch_sizes)


# What a record of a kind may be told as: the state that it enters, at its time; and the states that
# it only tells that something was in.
ENTERED = {
    Kind.CONNECT_SENT: S.SYN_SENT,
    Kind.SYN_QUEUED: S.NEW_SYN_RECV,
    Kind.CHILD_CREATED: S.SYN_RECV,
    Kind.CHILD_DROPPED: S.CLOSE,
    Kind.REQUEST_DROPPED: S.CLOSE,
    Kind.TIMEWAIT_STATE_CHANGED: S.TIME_WAIT,
    Kind.TIMEWAIT_KILLED: S.CLOSE,
}
FOUND_IN = {
    Kind.ACK_DROPPED: S.NEW_SYN_RECV,
    Kind.REQUEST_DROPPED: S.NEW_SYN_RECV,
    Kind.SYNACK_RETRANSMITTED: S.NEW_SYN_RECV,
    Kind.CHILD_CREATED: S.NEW_SYN_RECV,
}


class Evidence:
    """What the records said, to convict a tracker that invents."""

    def __init__(self, records: Sequence[Record]) -> None:
        self.entered: dict[tuple[int, int | None], list[Record]] = defaultdict(list)
        self.found_in: dict[int, list[Record]] = defaultdict(list)
        for record in records:
            kind = Kind(record.kind)
            changes = kind in (Kind.STATE_CHANGED, Kind.TIMEWAIT_ENTERED)
            entered = record.new_state if changes else ENTERED.get(kind)
            self.entered[record.at_ns, entered].append(record)
            self.found_in[FOUND_IN.get(kind, record.old_state)].append(record)
            if kind in (Kind.ACCEPTED, Kind.TIMEWAIT_KILLED, Kind.SEEN):
                self.found_in[record.new_state].append(record)

    def convict(self, life: Connection) -> None:
        for span in life.spans:
            if span.at_ns is None:
                witnesses = self.found_in[span.state]
            else:
                witnesses = self.entered[span.at_ns, span.state]
            assert any(_is_about(record, life) for record in witnesses), (span, life)
            assert span.duration_ns is None or span.duration_ns >= 0
            assert span.at_ns is not None or span.duration_ns is None


def _is_about(record: Record, life: Connection) -> bool:
    """Whether a record has a life's ends; connect() may not have chosen its port at one of them."""
    if (record.netns, record.remote, record.remote_port) != (life.netns, *life.remote):
        return False
    is_local = (record.local, record.local_port) == life.local
    return is_local or not record.local_port or not life.local.port


def check_whatever(records: Sequence[Record], advance_every: int) -> list[Connection]:
    """Feeds anything; nothing may break, stay behind, grow without bounds or be invented."""
    lives = Lives(new_tally())
    registry = lives.tracker._registry
    objects: set[int] = set()
    for number, record in enumerate(records):
        lives.tracker.feed([record])
        if number % advance_every == 0:
            lives.tracker.advance(record.at_ns)
        if number % (2 * advance_every) == 0:
            lives.tracker.begin_snapshot(record.at_ns, {record.origin: Process(1, b"x")})
        if number % (3 * advance_every) == 0:
            lives.tracker.end_snapshot({0, 1, HERE})
        check_counts(lives.tracker)
        objects |= {record.sock, record.origin}
        assert len(registry.objects) <= len(objects)
        assert len(registry._held) <= len(objects)
        assert not registry._lives.keys() & registry._held.keys()
        assert not any(map(registry.objects.frozen.get, registry._held))
        assert len(registry.left or ()) <= 4 * (number + 1)
        assert len(registry._ends) <= 2 * lives.tracker.open_count
    lives.finish(max((record.at_ns for record in records), default=0))
    evidence = Evidence(records)
    for life in lives.ended:
        evidence.convict(life)
        has_lost_end = Partial.END_LOST in life.partial
        if has_lost_end and all(span.state is not S.TIME_WAIT for span in life.spans):
            assert life.outcome is Outcome.UNKNOWN
    ids = [life.id for life in lives.ended]
    assert len(set(ids)) == len(ids)
    return lives.ended


@THOROUGH
@given(world=hosts(), chance=st.randoms(use_true_random=False), every=st.integers(1, 30))
def test_damaged_histories(world: Host, chance: Random, every: int) -> None:
    """Some records lost, some twice, some late, some far too late."""
    records = [record for record in world.stream.records if chance.random() > 0.1]
    records += chance.sample(records, len(records) // 10)
    distance = chance.choice([0, 3, len(records)])
    places = {id(record): number for number, record in enumerate(records)}
    records.sort(key=lambda record: places[id(record)] + chance.uniform(0, distance))
    check_whatever(records, every)


@THOROUGH
@given(
    world=worlds(most_uses=1),
    lost=st.randoms(use_true_random=False),
    share=st.sampled_from([0.02, 0.5]),
)
def test_lost_records_never_join_two_lives(world: Host, lost: Random, share: float) -> None:
    """Though objects' addresses are used again by others, whose births were lost as well."""
    records = [record for record in world.stream.records if lost.random() > share]
    for told in check_whatever(records, 1):
        times = [span.at_ns for span in told.spans if span.at_ns is not None]
        assert not times or any(_covers(played, times) for played in world.lives), told


def _covers(played: Connection, times_ns: list[int]) -> bool:
    last_ns = played.ended_at_ns or times_ns[-1]
    return all((played.began_ns or 0) <= at_ns <= last_ns for at_ns in times_ns)


ids = st.integers(0, 4)
places = st.sampled_from(
    [
        *(samples.endpoint(address, 0).address for address in ("10.0.0.1", "127.0.0.1", "::1")),
        bytes(16),
    ]
)
garbage = st.builds(
    Record,
    at_ns=st.integers(samples.START, samples.START + samples.S) | st.integers(0, 2**64 - 1),
    sock=ids,
    origin=ids,
    local=places,
    remote=places,
    comm=st.binary(min_size=16, max_size=16),
    netns=st.integers(0, 1),
    pid=st.integers(0, 2**32 - 1),
    local_port=st.integers(0, 2),
    remote_port=st.integers(0, 2),
    kind=st.sampled_from(Kind).map(int),
    family=st.sampled_from([socket.AF_INET, socket.AF_INET6, 0]).map(int),
    old_state=st.integers(0, 13),
    new_state=st.integers(0, 13),
    accept_queue_len=st.integers(0, 2**32 - 1),
    accept_queue_limit=st.integers(0, 3),
    syn_queue_len=st.integers(0, 3),
    retransmits=st.integers(0, 3),
    error=st.sampled_from([0, 103, 104, 110, 111, 113, 65535]),
    stage=st.sampled_from(Stage).map(int) | st.just(200),
    flags=st.sampled_from(Flag).map(int) | st.integers(0, 255),
    cgroup=st.integers(0, 2**32 - 1),
)


@settings(THOROUGH, max_examples=250)
@given(records=st.lists(garbage, max_size=60), every=st.integers(1, 30))
def test_garbage(records: list[Record], every: int) -> None:
    check_whatever(records, every)


@settings(THOROUGH, max_examples=150)
@given(
    records=st.lists(
        garbage.map(
            lambda r: r._replace(
                local_port=1, remote_port=2, netns=1, local=bytes(16), remote=bytes(16)
            )
        ),
        max_size=60,
    ),
    every=st.integers(1, 30),
)
def test_garbage_about_one_connection(records: list[Record], every: int) -> None:
    """All ends are alike, so that every record finds a life."""
    check_whatever(records, every)
