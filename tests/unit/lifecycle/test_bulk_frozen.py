"""Lives that go on are frozen as they begin, go on frozen, and are found frozen, many at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tcptrace.lifecycle.connection import Partial, Process
from tcptrace.tcp import State
from tcptrace.wire.events import Kind
from unit import samples
from unit.lifecycle.steps import CHILD, connect, queue_syn
from unit.lifecycle.stream import CLIENT, HERE, SERVER, Ends, Stream
from unit.lifecycle.test_bulk import Counting

if TYPE_CHECKING:
    from tcptrace.wire.events import Record

S = State
NUMBER = 80


def ends_of(number: int) -> Ends:
    return CLIENT._replace(local=CLIENT.local._replace(port=40_000 + number))


def sock_of(number: int) -> int:
    return 0x1000 + number


def open_all(stream: Stream) -> None:
    for number in range(NUMBER):
        connect(stream, sock_of(number), ends_of(number))
        stream.goes(sock_of(number), ends_of(number), S.SYN_SENT, S.ESTABLISHED)


def close_all(stream: Stream) -> None:
    for number in range(NUMBER):
        states = (S.ESTABLISHED, S.CLOSE_WAIT, S.LAST_ACK, S.CLOSE)
        stream.goes(sock_of(number), ends_of(number), *states)


def found(stream: Stream, number: int, state: State, origin: int = 0) -> Record:
    stream.tell(
        Kind.SEEN,
        sock_of(number),
        ends_of(number),
        origin=origin,
        old_state=state,
        new_state=state,
    )
    return stream.records.pop()


@pytest.fixture
def opened(stream: Stream) -> Counting:
    """NUMBER clients' lives that are established, and frozen."""
    counting = Counting()
    open_all(stream)
    assert counting.window(stream.records) == []
    frozen = counting.tracker.registry.objects.frozen
    assert all(frozen.get(sock_of(number)) for number in range(NUMBER))
    stream.records.clear()
    stream.wait(samples.S)
    return counting


def test_a_life_that_comes_to_where_another_goes_on(stream: Stream) -> None:
    """A child was dropped: its life is in its request again, whose object was another's since."""
    counting = Counting()
    queue_syn(stream, sock=sock_of(0))
    stream.tell(Kind.CHILD_CREATED, CHILD, SERVER, origin=sock_of(0))
    counting.window(stream.records)
    stream.records.clear()
    open_all(stream)
    counting.window(stream.records)
    stream.records.clear()
    stream.tell(Kind.CHILD_DROPPED, CHILD, SERVER)
    for number in range(NUMBER):
        stream.goes(sock_of(number), ends_of(number), S.ESTABLISHED, S.CLOSE_WAIT)
    counting.window(stream.records)
    stream.records.clear()
    registry = counting.tracker.registry
    assert not [sock for sock, _ in registry.objects.frozen.each() if sock in registry.awake]
    for number in range(NUMBER):
        stream.goes(sock_of(number), ends_of(number), S.CLOSE_WAIT, S.LAST_ACK, S.CLOSE)
    counting.window(stream.records)
    assert counting.tracker.open_count == 0


def established(counting: Counting) -> int:
    counts = counting.tracker.counts.by_state(HERE)
    assert counts is not None
    return counts[S.ESTABLISHED]


def test_they_are_what_the_tracker_would_have(opened: Counting) -> None:
    stream = Stream()
    open_all(stream)
    alone = Counting()
    for record in stream.records:
        alone.tracker.feed([record])
    for number in range(NUMBER):
        one = opened.tracker.registry.in_object(sock_of(number))
        other = alone.tracker.registry.in_object(sock_of(number))
        assert one is not None
        assert other is not None
        assert one.connection == other.connection
        assert (one.ends, one.keys, one.counted) == (other.ends, other.keys, other.counted)
    assert established(opened) == NUMBER


def test_they_close_without_being_thawed(opened: Counting, stream: Stream) -> None:
    close_all(stream)
    assert opened.window(stream.records) == []
    assert opened.tracker.open_count == established(opened) == 0
    assert opened.tally.transitions[S.LAST_ACK, S.CLOSE] == NUMBER
    lasted = opened.tally.state_durations[S.ESTABLISHED]
    assert lasted.count == NUMBER
    assert lasted.sum_ns > NUMBER * samples.S
    assert not opened.tracker.registry.objects.ends.frozen
    assert not opened.tracker.registry.objects.freezer


def test_they_wait_for_close_frozen(opened: Counting, stream: Stream) -> None:
    for number in range(NUMBER):
        stream.goes(sock_of(number), ends_of(number), S.ESTABLISHED, S.CLOSE_WAIT)
    assert opened.window(stream.records) == []
    (place,) = (place for _, place in opened.tracker.counts.places())
    assert list(place.close_waits.values()) == [record.at_ns for record in stream.records]
    stream.records.clear()
    for number in range(NUMBER):
        stream.goes(sock_of(number), ends_of(number), S.CLOSE_WAIT, S.LAST_ACK, S.CLOSE)
    assert opened.window(stream.records) == []
    assert not place.close_waits


def test_who_lacks_a_record_takes_the_long_way(opened: Counting, stream: Stream) -> None:
    opened.tracker.lose(stream.now_ns)
    close_all(stream)
    assert opened.window(stream.records) == stream.records
    assert opened.tally.partial[Partial.GAP] == NUMBER


def test_others_between_the_same_ends_take_the_long_way(opened: Counting, stream: Stream) -> None:
    for number in range(NUMBER):
        connect(stream, sock_of(number) + 0x1000, ends_of(number))
        stream.goes(sock_of(number) + 0x1000, ends_of(number), S.SYN_SENT, S.ESTABLISHED)
    assert opened.window(stream.records) == stream.records


def test_of_few_alike_the_tracker_has_each(stream: Stream) -> None:
    counting = Counting()
    open_all(stream)
    records = [
        record._replace(pid=record.sock) if record.pid else record for record in stream.records
    ]
    assert counting.window(records) == records
    assert counting.tracker.open_count == NUMBER


class TestSnapshots:
    def test_what_is_as_known_is_found_at_once(self, opened: Counting, stream: Stream) -> None:
        opened.tracker.begin_snapshot(stream.now_ns, {})
        findings = [found(stream, number, S.ESTABLISHED) for number in range(NUMBER)]
        assert opened.window(findings) == []
        stream.wait(10 * samples.S)
        opened.tracker.end_snapshot({HERE})
        assert opened.tracker.healed == 0
        assert opened.tally.events[Kind.SEEN] == NUMBER
        opened.tracker.begin_snapshot(stream.now_ns, {})
        opened.tracker.end_snapshot({HERE})
        assert opened.tracker.healed == NUMBER

    def test_what_is_not_takes_the_long_way(self, opened: Counting, stream: Stream) -> None:
        opened.tracker.begin_snapshot(stream.now_ns, {})
        findings = [found(stream, number, S.CLOSE_WAIT) for number in range(NUMBER)]
        assert opened.window(findings) == findings
        opened.tracker.end_snapshot({HERE})
        assert opened.tracker.corrected == NUMBER

    def test_whose_other_records_come_meanwhile(self, opened: Counting, stream: Stream) -> None:
        opened.tracker.begin_snapshot(stream.now_ns, {})
        findings = [found(stream, number, S.ESTABLISHED) for number in range(NUMBER)]
        stream.goes(sock_of(0), ends_of(0), S.ESTABLISHED, S.CLOSE_WAIT)
        assert opened.window([*findings, *stream.records]) == [findings[0], *stream.records]

    def test_an_owner_that_is_news(self, stream: Stream) -> None:
        counting = Counting()
        nobodys = [found(stream, number, S.ESTABLISHED, origin=7) for number in range(NUMBER)]
        for owners in ({}, {7: Process(1, b"web")}):
            counting.tracker.begin_snapshot(stream.now_ns, owners)
            assert counting.window(nobodys) == nobodys
            counting.tracker.end_snapshot({HERE})
        life = counting.tracker.registry.in_object(sock_of(3))
        assert life is not None
        assert life.connection.process == Process(1, b"web")
