"""Which lives are counted at once, and which take the long way."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

from tcptrace.lifecycle import objects
from tcptrace.lifecycle.bulk import Bulk
from tcptrace.lifecycle.connection import Partial, Role
from tcptrace.lifecycle.shapes import MOST_RECORDS, outline_of
from tcptrace.lifecycle.tracker import Tracker
from tcptrace.tcp import State
from tcptrace.wire.events import Flag, Kind
from unit import samples
from unit.lifecycle.steps import (
    CHILD,
    CONNECTING,
    LISTENER,
    REQUEST,
    close_at_once,
    close_second,
    connect,
    drop_syn,
    enter_timewait,
    kill_timewait,
    listen,
    open_both,
    open_client,
    open_server,
    queue_syn,
)
from unit.lifecycle.stream import CLIENT, HERE, SERVER, Ends, Stream
from unit.lifecycle.tallies import new_tally

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tcptrace.wire.events import Record

S = State


class Counting:
    """A tracker that is fed in windows; notes what of them it is given one by one."""

    def __init__(self) -> None:
        self.tally = new_tally()
        self.tracker = Tracker(lambda _life: None, lambda _life: None, self.tally)
        self.given: list[Record] = []
        feed = self.tracker.feed

        def noting(records: Iterable[Record]) -> None:
            records = list(records)
            self.given += records
            feed(records)

        self.tracker.feed = noting  # type: ignore[method-assign]
        self._bulk = Bulk(self.tracker, self.tally)

    def window(self, records: Iterable[Record]) -> list[Record]:
        """Feeds one; returns what took the long way."""
        self.given.clear()
        self._bulk.feed(samples.batch(*records))
        return list(self.given)


@pytest.fixture
def counting() -> Counting:
    """It knows the listener."""
    counting = Counting()
    stream = Stream()
    listen(stream)
    counting.window(stream.records)
    return counting


def servers(stream: Stream, number: int) -> None:
    """One after the other, in the same objects."""
    for _ in range(number):
        open_server(stream)
        close_second(stream)


def leave_for_timewait(stream: Stream, sock: int, timewait: int, ends: Ends) -> None:
    stream.tell(
        Kind.TIMEWAIT_ENTERED,
        timewait,
        ends,
        origin=sock,
        old_state=S.FIN_WAIT2,
        new_state=S.TIME_WAIT,
    )
    stream.goes(sock, ends, S.FIN_WAIT2, S.CLOSE)


def test_whole_lives_do_not_reach_the_tracker(counting: Counting, stream: Stream) -> None:
    servers(stream, 20)
    assert counting.window(stream.records) == []
    assert counting.tally.transitions[S.LAST_ACK, S.CLOSE] == 20
    assert counting.tally.syn_queue_wait.count == counting.tally.accept_wait.count == 20
    (waits,) = counting.tally.waits.values()
    assert (waits.count, waits.sum_ns) == (20, counting.tally.accept_wait.sum_ns)
    assert counting.tally.events[Kind.CHILD_CREATED] == 20
    assert counting.tracker.open_count == 0
    assert counting.tracker.counts.by_state(HERE) is not None


def test_who_goes_on_in_time_wait_becomes_the_trackers(counting: Counting, stream: Stream) -> None:
    for number in range(20):
        ends = CLIENT._replace(local=CLIENT.local._replace(port=40_000 + number))
        connect(stream, CONNECTING, ends)
        stream.goes(CONNECTING, ends, S.SYN_SENT, S.ESTABLISHED, S.FIN_WAIT1, S.FIN_WAIT2)
        leave_for_timewait(stream, CONNECTING, 0x1000 + number, ends)
    assert counting.window(stream.records) == []
    assert counting.tracker.counts.time_waits(HERE)[Role.CLIENT] == 20
    assert counting.tally.connects.total() == 20
    counting.tracker.begin_snapshot(stream.now_ns, {})
    counting.tracker.end_snapshot({HERE})
    assert counting.tracker.open_count == 20, "they were told of a moment ago"


def test_a_life_that_goes_on_takes_the_long_way(counting: Counting, stream: Stream) -> None:
    servers(stream, 20)
    open_server(stream)
    open_ones = stream.records[-4:]
    assert counting.window(stream.records) == open_ones
    assert counting.tracker.open_count == 1


def test_a_life_that_began_before_takes_the_long_way(counting: Counting, stream: Stream) -> None:
    open_server(stream)
    begun = len(stream.records)
    close_second(stream)
    ended = len(stream.records)
    servers(stream, 20)
    counting.window(stream.records[:begun])
    assert counting.window(stream.records[begun:]) == stream.records[begun:ended]
    assert counting.tally.transitions[S.LAST_ACK, S.CLOSE] == 21
    assert not counting.tally.partial


def test_an_object_that_others_use_since_has_lost_its_end(
    counting: Counting, stream: Stream
) -> None:
    open_server(stream)
    begun = len(stream.records)
    servers(stream, 20)
    counting.window(stream.records[:begun])
    assert counting.window(stream.records[begun:]) == []
    assert counting.tally.partial == Counter({Partial.END_LOST: 1})
    assert counting.tracker.open_count == 0


def test_a_peer_that_was_refused_before_takes_the_long_way(
    counting: Counting, stream: Stream
) -> None:
    drop_syn(stream)
    counting.window(stream.records)
    before = len(stream.records)
    servers(stream, 20)
    given = counting.window(stream.records[before:])
    assert given[:1] == stream.records[before : before + 1]
    assert counting.tracker.open_count == 0


def test_a_reset_life_takes_the_long_way(counting: Counting, stream: Stream) -> None:
    for _ in range(20):
        open_server(stream)
        close_at_once(stream, CHILD, SERVER)
    assert counting.window(stream.records) == stream.records
    assert counting.tally.resets.total() == 20


def test_listeners_divide_a_window(counting: Counting, stream: Stream) -> None:
    servers(stream, 20)
    middle = len(stream.records)
    listen(stream, 0x99)
    servers(stream, 20)
    assert counting.window(stream.records) == stream.records[middle : middle + 1]


def test_a_listener_that_is_not_known_yet_is_met_the_long_way(stream: Stream) -> None:
    counting = Counting()
    servers(stream, 20)
    assert counting.window(stream.records) == stream.records
    assert counting.window(stream.records) == []


def test_a_snapshot_takes_the_long_way(counting: Counting, stream: Stream) -> None:
    servers(stream, 20)
    counting.tracker.begin_snapshot(stream.now_ns, {})
    assert counting.window(stream.records) == stream.records


def test_a_loss_in_a_life_takes_the_long_way(counting: Counting, stream: Stream) -> None:
    servers(stream, 20)
    made = next(one for one in stream.records if one.kind == Kind.CHILD_CREATED)
    rest = [one for one in stream.records if one is not made]
    given = counting.window(rest)
    assert 0 < len(given) < 16
    assert counting.tally.partial.total() > 0


def test_who_closes_in_syn_recv_takes_the_long_way(counting: Counting, stream: Stream) -> None:
    """By Fast Open accept() may return it before the final ACK, and close() come before that."""
    for number in range(20):
        ends = SERVER._replace(remote=SERVER.remote._replace(port=40_000 + number))
        child, timewait = 0x5000 + number, 0x9000 + number
        stream.tell(
            Kind.CHILD_CREATED,
            child,
            ends,
            origin=LISTENER,
            new_state=S.SYN_RECV,
            flags=Flag.FASTOPEN,
        )
        stream.tell(Kind.ACCEPTED, child, ends, new_state=S.SYN_RECV)
        stream.goes(child, ends, S.SYN_RECV, S.FIN_WAIT1, S.FIN_WAIT2)
        leave_for_timewait(stream, child, timewait, ends)
    assert counting.window(stream.records) == stream.records
    assert counting.tracker.counts.time_waits(HERE)[Role.SERVER] == 20


def test_a_connect_never_seen_established_is_told_of_at_its_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two SYNs crossed, and it was closed in SYN_RECV: its TIME_WAIT's end is the first news."""
    monkeypatch.setattr(objects, "MOST_WARM", 0)
    counting, stream = Counting(), Stream()
    for number in range(20):
        ends = CLIENT._replace(local=CLIENT.local._replace(port=10_000 + number))
        sock, timewait = 0x100_0000 + number, 0x200_0000 + number
        connect(stream, sock, ends)
        stream.goes(sock, ends, S.SYN_SENT, S.SYN_RECV, S.FIN_WAIT1, S.FIN_WAIT2)
        leave_for_timewait(stream, sock, timewait, ends)
    counting.tracker.feed(stream.records)
    stream.wait(10 * samples.S)
    counting.tracker.advance(stream.now_ns)
    frozen = list(counting.tracker.registry.objects.frozen.oldest_first())
    assert len(frozen) == 20
    begun = len(stream.records)
    for sock in frozen:
        ends = CLIENT._replace(local=CLIENT.local._replace(port=sock - 0x200_0000 + 10_000))
        stream.tell(Kind.TIMEWAIT_KILLED, sock, ends, new_state=S.TIME_WAIT)
    counting.window(stream.records[begun:])
    assert counting.tally.connects.total() == len(frozen)


def test_what_a_snapshot_saw_a_moment_early_makes_way(counting: Counting, stream: Stream) -> None:
    stream.tell(
        Kind.SEEN,
        REQUEST,
        SERVER,
        origin=LISTENER,
        old_state=S.NEW_SYN_RECV,
        new_state=S.NEW_SYN_RECV,
    )
    seen = len(stream.records)
    servers(stream, 20)
    counting.window(stream.records[:seen])
    assert counting.window(stream.records[seen:]) == []
    assert not counting.tally.partial
    assert counting.tracker.open_count == 0


def test_times_that_no_kernel_tells_take_the_long_way(counting: Counting, stream: Stream) -> None:
    servers(stream, 20)
    late = [record._replace(at_ns=record.at_ns + (1 << 63)) for record in stream.records]
    assert counting.window(late) == late


class TestOutlines:
    def test_of_a_server(self, stream: Stream) -> None:
        open_server(stream)
        close_second(stream)
        outline = outline_of(samples.batch(*stream.records))
        assert outline is not None
        assert outline.role is Role.SERVER
        assert outline.handshake == (0, 2)
        assert outline.syn_queue_wait == (0, 1)
        assert outline.accept_wait == (1, 3)
        assert outline.changes[0] == (S.LISTEN, None, S.NEW_SYN_RECV)
        assert outline.changes[-1] == (S.LAST_ACK, (5, 6), S.CLOSE)
        assert not outline.is_resting

    def test_of_a_client_in_time_wait(self, stream: Stream) -> None:
        open_client(stream)
        enter_timewait(stream)
        outline = outline_of(samples.batch(*stream.records))
        assert outline is not None
        assert outline.is_resting
        assert outline.is_connected
        assert (outline.handshake, outline.timewait) == ((1, 2), len(stream.records) - 1)

    def test_of_one_after_its_time_wait(self, stream: Stream) -> None:
        open_client(stream)
        enter_timewait(stream)
        kill_timewait(stream, released=False)
        outline = outline_of(samples.batch(*stream.records))
        assert outline is not None
        assert not outline.is_resting
        assert outline.changes[-1][2] is S.CLOSE

    @pytest.mark.parametrize("released", [True, False])
    def test_none_of_what_is_held(self, stream: Stream, released: bool) -> None:
        """What comes within the next milliseconds may still change it."""
        open_client(stream)
        if released:
            enter_timewait(stream)
            kill_timewait(stream, released=True)
        else:
            stream.goes(CONNECTING, CLIENT, S.ESTABLISHED, S.CLOSE)
        assert outline_of(samples.batch(*stream.records)) is None

    def test_none_of_what_has_a_long_story(self, stream: Stream) -> None:
        open_client(stream)
        stream.goes(CONNECTING, CLIENT, *([S.ESTABLISHED, S.CLOSE_WAIT] * MOST_RECORDS))
        assert outline_of(samples.batch(*stream.records)) is None

    def test_none_of_a_failed_connect(self, stream: Stream) -> None:
        connect(stream)
        stream.goes(CONNECTING, CLIENT, S.SYN_SENT, S.CLOSE, error=111)
        assert outline_of(samples.batch(*stream.records)) is None

    def test_none_of_an_open_life(self, stream: Stream) -> None:
        open_both(stream)
        queue_syn(stream, sock=REQUEST + 1)
        stream.wait(samples.S)
        assert outline_of(samples.batch(*stream.records)) is None
