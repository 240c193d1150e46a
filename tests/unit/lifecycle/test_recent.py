from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tcptrace.lifecycle.connection import Outcome
from tcptrace.lifecycle.observer import Observer, Observers
from tcptrace.lifecycle.recent import KEPT_NS, MOST_DROPS, MOST_FAILED, MOST_SLOW, Recent
from tcptrace.lifecycle.tracker import Tracker
from tcptrace.tcp import State
from tcptrace.wire.events import Kind, Stage
from unit import samples
from unit.lifecycle.steps import (
    CONNECTING,
    accept,
    close_second,
    connect,
    drop_ack,
    drop_request,
    drop_syn,
    listen,
    make_child,
    open_both,
    queue_syn,
)
from unit.lifecycle.stream import CLIENT, NGINX, SERVER, Ends, Stream

if TYPE_CHECKING:
    from tcptrace.lifecycle.connection import Connection

S = State


@pytest.fixture
def recent() -> Recent:
    return Recent()


def told(recent: Recent, stream: Stream) -> Recent:
    """What it tells of these records, and a minute later."""
    tracker = Tracker(lambda _life: None, lambda _life: None, recent)
    tracker.feed(stream.records)
    tracker.advance(stream.now_ns + 120 * samples.S)
    return recent


def peer(number: int) -> Ends:
    return SERVER._replace(remote=SERVER.remote._replace(port=number))


def test_drops_tell_who_where_and_whose(recent: Recent, stream: Stream) -> None:
    listen(stream)
    drop_syn(stream)
    queue_syn(stream)
    drop_ack(stream)
    drop_request(stream, Stage.REQUEST_EXPIRED)
    told(recent, stream)
    stages = [drop.stage for drop in recent.drops]
    assert stages == [
        Stage.SYN_ACCEPT_QUEUE_FULL,
        Stage.ACK_ACCEPT_QUEUE_FULL,
        Stage.REQUEST_EXPIRED,
    ]
    assert recent.drop_count == 3
    drop = recent.drops[1]
    assert (drop.listener.process, drop.peer) == (NGINX, SERVER.remote)
    assert (drop.record.accept_queue_len, drop.record.accept_queue_limit) == (6, 5)


def test_a_request_that_its_peer_reset_is_no_drop(recent: Recent, stream: Stream) -> None:
    listen(stream)
    queue_syn(stream)
    drop_request(stream, Stage.REQUEST_RESET)
    told(recent, stream)
    assert not recent.drops
    assert recent.failed_count == {Outcome.HALF_OPEN_RESET: 1}


def test_drops_are_bounded(recent: Recent, stream: Stream) -> None:
    listen(stream)
    for _ in range(MOST_DROPS + 50):
        drop_syn(stream)
    told(recent, stream)
    assert (len(recent.drops), recent.drop_count) == (MOST_DROPS, MOST_DROPS + 50)


def test_handshakes_that_failed(recent: Recent, stream: Stream) -> None:
    listen(stream)
    connect(stream)
    stream.goes(CONNECTING, CLIENT, S.SYN_SENT, S.CLOSE, error=111)
    queue_syn(stream)
    drop_request(stream, Stage.REQUEST_EXPIRED)
    told(recent, stream)
    assert [life.outcome for life in recent.failed] == [Outcome.REFUSED, Outcome.EXPIRED]
    assert recent.failed_count == {Outcome.REFUSED: 1, Outcome.EXPIRED: 1}


def test_what_was_established_has_not_failed(recent: Recent, stream: Stream) -> None:
    open_both(stream)
    close_second(stream)
    stream.goes(CONNECTING, CLIENT, S.ESTABLISHED, S.CLOSE, error=104)
    told(recent, stream)
    assert not recent.failed


def test_one_that_was_open_before_the_trace_has_not_failed(recent: Recent, stream: Stream) -> None:
    stream.goes(CONNECTING, CLIENT, S.ESTABLISHED, S.CLOSE, error=110)
    stream.goes(CONNECTING + 1, peer(7), S.SYN_RECV, S.ESTABLISHED)
    told(recent, stream)
    assert not recent.failed


def test_failed_ones_are_bounded(recent: Recent, stream: Stream) -> None:
    for number in range(MOST_FAILED + 20):
        ends = CLIENT._replace(local=CLIENT.local._replace(port=1000 + number))
        connect(stream, CONNECTING, ends)
        stream.goes(CONNECTING, ends, S.SYN_SENT, S.CLOSE, error=111)
    told(recent, stream)
    assert len(recent.failed) == MOST_FAILED
    assert recent.failed_count.total() == MOST_FAILED + 20
    assert recent.find(recent.failed[-1].id) is recent.failed[-1]
    assert recent.find(1) is None


def slow_server(stream: Stream, number: int, wait_ns: int) -> None:
    ends = peer(number)
    queue_syn(stream, ends)
    make_child(stream, ends)
    stream.goes(0x30, ends, S.SYN_RECV, S.ESTABLISHED)
    stream.wait(wait_ns)
    stream.tell(Kind.ACCEPTED, 0x30, ends, NGINX, new_state=S.ESTABLISHED)
    close_second(stream, ends=ends)


def waits_ms(lives: list[Connection]) -> list[int]:
    return [(life.accept_wait_ns or 0) // samples.MS for life in lives]


def test_the_slowest_of_a_minute(recent: Recent, stream: Stream) -> None:
    stream.now_ns = 60 * samples.S * 100
    listen(stream)
    for number in range(60):
        slow_server(stream, 1000 + number, 100 * samples.MS + (number * 7 % 60) * samples.MS)
    slow_server(stream, 99, 5 * samples.MS)
    told(recent, stream)
    assert waits_ms(recent.slow) == [159 - place for place in range(MOST_SLOW)]


def test_a_slow_life_is_told_once_and_as_it_is_now(recent: Recent, stream: Stream) -> None:
    stream.now_ns = 60 * samples.S * 100 - 250 * samples.MS
    listen(stream)
    queue_syn(stream)
    stream.wait(200 * samples.MS)
    make_child(stream)
    stream.goes(0x30, SERVER, S.SYN_RECV, S.ESTABLISHED)
    stream.wait(3 * samples.S)
    accept(stream)
    told(recent, stream)
    (life,) = recent.slow
    assert (life.handshake_ns or 0) // samples.MS == 200
    assert waits_ms([life]) == [3000]


def test_what_is_older_than_fifteen_minutes_is_forgotten(recent: Recent, stream: Stream) -> None:
    listen(stream)
    drop_syn(stream)
    slow_server(stream, 7, samples.S)
    connect(stream)
    stream.goes(CONNECTING, CLIENT, S.SYN_SENT, S.CLOSE, error=111)
    told(recent, stream)
    recent.take((), {}, {}, stream.now_ns + samples.S)
    assert len(recent.drops) == len(recent.slow) == 1
    assert len(recent.failed) == 2
    recent.take((), {}, {}, stream.now_ns + KEPT_NS + 120 * samples.S)
    assert not any((recent.drops, recent.slow, recent.failed))


def test_rates_of_transitions(recent: Recent) -> None:
    step = (S.SYN_SENT, S.ESTABLISHED)
    for second in range(20):
        recent.take((), {}, {step: second * 10}, samples.START + second * samples.S)
    assert recent.transitions == {step: 10.0}
    recent.take((), {}, {step: 190}, samples.START + 20 * samples.S)
    assert recent.transitions == {step: 8.0}


def test_two_observers_hear_the_same() -> None:
    heard: list[tuple[str, object]] = []

    class One(Observer):
        def queued(self, connection: Connection) -> None:
            heard.append(("one", connection))

    class Two(One):
        def queued(self, connection: Connection) -> None:
            heard.append(("two", connection))

        def over(self, connection: Connection) -> None:
            heard.append(("over", connection))

    both = Observers(One(), Two())
    life = samples.server()
    both.queued(life)
    both.over(life)
    both.established(life)
    assert heard == [("one", life), ("two", life), ("over", life)]
