"""What an observer hears, counted."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from tcptrace.lifecycle import tally as tally_module
from tcptrace.lifecycle.connection import Partial, Role
from tcptrace.lifecycle.counts import MOST_NAMESPACES, OTHER_NETNS
from tcptrace.lifecycle.observer import Direction, Observer
from tcptrace.lifecycle.tally import CONNECT_OUTCOMES, Buckets, Tally
from tcptrace.tcp import State
from tcptrace.wire.events import Kind, Stage
from unit import samples
from unit.lifecycle.steps import (
    CHILD,
    CONNECTING,
    LISTENER,
    REQUEST,
    close_at_once,
    close_second,
    connect,
    drop_request,
    enter_timewait,
    kill_timewait,
    listen,
    make_child,
    open_both,
    open_client,
    queue_syn,
)
from unit.lifecycle.stream import CLIENT, HERE, LISTENING, SERVER, Lives, Stream
from unit.lifecycle.tallies import new_tally

if TYPE_CHECKING:
    import pytest

S = State


def tally_of(stream: Stream) -> Tally:
    tally = new_tally()
    lives = Lives(tally)
    lives.tracker.feed(stream.records)
    lives.tracker.advance(stream.now_ns + samples.S)
    return tally


def test_a_duration_is_counted_up_to_its_bound() -> None:
    buckets = Buckets((10, 20))
    for value in (0, 10, 11, 20, 21, 10**9):
        buckets.add(value)
    assert buckets.cumulative == [2, 4, 6]
    assert buckets.sum_ns == 62 + 10**9


def test_transitions_and_how_long_states_lasted(stream: Stream) -> None:
    open_both(stream)
    stream.wait(samples.S)
    enter_timewait(stream)
    close_second(stream)
    stream.wait(60 * samples.S)
    kill_timewait(stream, released=False)
    stream.goes(LISTENER, LISTENING, S.LISTEN, S.CLOSE)
    tally = tally_of(stream)
    assert tally.transitions == {
        (S.CLOSE, S.LISTEN): 1,
        (S.LISTEN, S.CLOSE): 1,
        (S.CLOSE, S.SYN_SENT): 1,
        (S.SYN_SENT, S.ESTABLISHED): 1,
        (S.LISTEN, S.NEW_SYN_RECV): 1,
        (S.NEW_SYN_RECV, S.SYN_RECV): 1,
        (S.SYN_RECV, S.ESTABLISHED): 1,
        (S.ESTABLISHED, S.FIN_WAIT1): 1,
        (S.ESTABLISHED, S.CLOSE_WAIT): 1,
        (S.FIN_WAIT1, S.FIN_WAIT2): 1,
        (S.FIN_WAIT2, S.TIME_WAIT): 1,
        (S.CLOSE_WAIT, S.LAST_ACK): 1,
        (S.LAST_ACK, S.CLOSE): 1,
        (S.TIME_WAIT, S.CLOSE): 1,
    }
    assert tally.state_durations[S.ESTABLISHED].cumulative == [0, 0, 2]
    assert tally.state_durations[S.FIN_WAIT1].cumulative == [1, 1, 1]
    assert tally.state_durations[S.TIME_WAIT].cumulative == [0, 0, 1]
    assert tally.state_durations[S.LISTEN].cumulative == [0, 0, 1]
    assert tally.state_durations[S.CLOSE].cumulative == [0, 0, 0]


def test_handshakes_and_waits(stream: Stream) -> None:
    open_both(stream)
    tally = tally_of(stream)
    for role in (Role.CLIENT, Role.SERVER):
        assert tally.handshakes[role].cumulative == [1, 1, 1]
    assert tally.syn_queue_wait.cumulative == [1, 1, 1]
    assert tally.accept_wait.cumulative == [1, 1, 1]
    ((address, waits),) = tally.waits.items()
    assert address == (HERE, "0.0.0.0", 8080)  # noqa: S104 - an address in a table
    assert (waits.count, waits.sum_ns) == (1, tally.accept_wait.sum_ns)
    assert tally.accept_wait.sum_ns == 2 * samples.US
    assert tally.connects == {(HERE, "established"): 1}


def test_an_accept_at_an_unknown_listener(stream: Stream) -> None:
    stream.tell(Kind.ACCEPTED, CHILD, SERVER, new_state=S.ESTABLISHED)
    tally = tally_of(stream)
    assert tally.accept_wait.cumulative == [0, 0, 0]
    assert not tally.waits


class TestConnects:
    def test_each_failure_once(self, stream: Stream) -> None:
        for error in (errno.ECONNREFUSED, errno.ETIMEDOUT, errno.EHOSTUNREACH, 0):
            connect(stream)
            stream.goes(CONNECTING, CLIENT, S.SYN_SENT, S.CLOSE, error=error)
        stream.goes(CONNECTING, CLIENT.portless, S.CLOSE, S.SYN_SENT, S.CLOSE)
        tally = tally_of(stream)
        assert tally.connects == {
            (HERE, outcome): 1
            for outcome in ("refused", "timeout", "unreachable", "gave_up", "failed")
        }
        assert {outcome for _, outcome in tally.connects} <= set(CONNECT_OUTCOMES)

    def test_what_was_established_does_not_fail_later(self, stream: Stream) -> None:
        open_client(stream)
        close_at_once(stream, CONNECTING, CLIENT)
        assert tally_of(stream).connects == {(HERE, "established"): 1}

    def test_established_unseen(self, stream: Stream) -> None:
        connect(stream)
        close_second(stream, CONNECTING, CLIENT)
        assert tally_of(stream).connects == {(HERE, "established"): 1}

    def test_a_lost_end_is_no_outcome(self, stream: Stream) -> None:
        connect(stream)
        listen(stream, CONNECTING)
        assert tally_of(stream).connects == {}


def test_segments_sent_again(stream: Stream) -> None:
    connect(stream)
    queue_syn(stream)
    stream.tell(Kind.SYN_RETRANSMITTED, CONNECTING, CLIENT, new_state=S.SYN_SENT)
    stream.tell(Kind.SYN_RETRANSMITTED, 0x99, CLIENT, new_state=S.SYN_RECV)
    stream.tell(Kind.SYNACK_RETRANSMITTED, REQUEST, SERVER, origin=LISTENER)
    tally = tally_of(stream)
    assert tally.syn_retransmits == {(HERE, "ipv4"): 1}
    assert tally.synack_retransmits == {(HERE, "ipv4"): 2}


def test_resets_of_known_sockets_and_others(stream: Stream) -> None:
    open_client(stream)
    stream.tell(Kind.RESET_RECEIVED, CONNECTING, CLIENT, old_state=S.ESTABLISHED)
    stream.tell(Kind.RESET_SENT, 0x99, SERVER, old_state=S.CLOSE)
    stream.tell(Kind.RESET_SENT, 0x99, SERVER, old_state=S.CLOSE)
    stream.records[-1] = stream.records[-1]._replace(old_state=0)
    assert tally_of(stream).resets == {
        (HERE, Direction.RECEIVED, S.ESTABLISHED): 1,
        (HERE, Direction.SENT, S.CLOSE): 1,
    }


def test_partial_lives_when_they_are_over(stream: Stream) -> None:
    stream.goes(CHILD, SERVER, S.ESTABLISHED, S.LAST_ACK, S.CLOSE)
    make_child(stream)
    drop_request(stream, Stage.REQUEST_EXPIRED)
    assert tally_of(stream).partial == {Partial.BEGAN_BEFORE: 2}


def test_events_by_kind(stream: Stream) -> None:
    open_both(stream)
    assert tally_of(stream).events == {
        Kind.STATE_CHANGED: 4,
        Kind.CONNECT_SENT: 1,
        Kind.SYN_QUEUED: 1,
        Kind.CHILD_CREATED: 1,
        Kind.ACCEPTED: 1,
    }


def test_a_namespace_that_is_gone(stream: Stream) -> None:
    open_both(stream)
    stream.tell(Kind.SYN_RETRANSMITTED, CONNECTING, CLIENT, new_state=S.SYN_SENT)
    stream.tell(Kind.RESET_SENT, CONNECTING, CLIENT, old_state=S.ESTABLISHED)
    tally = tally_of(stream)
    tally.forget(HERE + 1)
    assert tally.connects
    tally.forget(HERE)
    for counts in (tally.connects, tally.syn_retransmits, tally.resets, tally.namespaces):
        assert not counts
    assert tally.waits


def test_beyond_the_limit_namespaces_are_counted_together() -> None:
    tally = new_tally()
    for netns in range(1, MOST_NAMESPACES + 3):
        tally.syn_retransmitted(netns, "ipv4")
        tally.reset(netns, Direction.SENT, S.CLOSE)
    assert tally.namespaces == set(range(1, MOST_NAMESPACES + 1))
    assert tally.heard == {OTHER_NETNS, *tally.namespaces}
    assert tally.syn_retransmits[OTHER_NETNS, "ipv4"] == 2
    assert tally.resets[OTHER_NETNS, Direction.SENT, S.CLOSE] == 2
    tally.forget(1)
    tally.syn_retransmitted(MOST_NAMESPACES + 1, "ipv4")
    assert tally.syn_retransmits[MOST_NAMESPACES + 1, "ipv4"] == 1


def test_waits_of_no_more_listeners_than_the_limit(
    stream: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_both(stream)
    monkeypatch.setattr(tally_module, "MOST_WAITS", 0)
    tally = tally_of(stream)
    assert not tally.waits
    assert tally.accept_wait.cumulative == [1, 1, 1]


def test_an_observer_need_not_care(stream: Stream) -> None:
    open_both(stream)
    stream.tell(Kind.SYNACK_RETRANSMITTED, REQUEST, SERVER, origin=LISTENER)
    stream.tell(Kind.SYN_RETRANSMITTED, CONNECTING, CLIENT, new_state=S.SYN_SENT)
    close_at_once(stream, CONNECTING, CLIENT)
    lives = Lives(Observer())
    lives.tracker.feed(stream.records)
    lives.finish(stream.now_ns)


def test_without_one_nothing_is_counted(stream: Stream) -> None:
    open_both(stream)
    lives = Lives()
    lives.tracker.feed(stream.records)
    assert not lives.tracker.counts.sockets


def test_counts_of_a_namespace_are_forgotten_once_it_is_empty(stream: Stream) -> None:
    open_client(stream)
    lives = Lives(new_tally())
    lives.tracker.feed(stream.records)
    lives.tracker.counts.forget(HERE)
    assert lives.tracker.counts.namespaces == [HERE]
    lives.finish(stream.now_ns)
    lives.tracker.counts.forget(HERE)
    assert lives.tracker.counts.namespaces == []
