"""A listener closes, and another one of its reuseport group goes on with what it held."""

from __future__ import annotations

import errno

import pytest

from tcptrace.lifecycle.connection import Process
from tcptrace.tcp import State
from tcptrace.wire.events import Kind, Stage
from unit import samples
from unit.lifecycle.steps import (
    CHILD,
    LISTENER,
    REQUEST,
    SERVER_OPENS,
    accept,
    listen,
    make_child,
    queue_syn,
    stories,
)
from unit.lifecycle.stream import LISTENING, SERVER, Lives, Stream, story

S = State
HEIR, CLONE = 0x11, 0x21
HEIRS_PROCESS = Process(99, b"heir")


def _close_listener(stream: Stream, queued: int = 0) -> None:
    """Another one listens before that."""
    stream.goes(HEIR, LISTENING, S.CLOSE, S.LISTEN, process=HEIRS_PROCESS, accept_queue_limit=5)
    stream.goes(LISTENER, LISTENING, S.LISTEN, S.CLOSE, accept_queue_len=queued)


def _migrate(stream: Stream, sock: int, state: State) -> None:
    stream.tell(Kind.MIGRATED, sock, SERVER, origin=HEIR, new_state=state, accept_queue_limit=5)


class TestChild:
    def test_is_accepted_elsewhere(self, stream: Stream) -> None:
        listen(stream)
        queue_syn(stream)
        make_child(stream)
        stream.goes(CHILD, SERVER, S.SYN_RECV, S.ESTABLISHED)
        _close_listener(stream, queued=1)
        _migrate(stream, CHILD, S.ESTABLISHED)
        accept(stream)
        lives = Lives.of(stream.records, stream.now_ns)
        (life,) = lives.ended
        assert story(life) == SERVER_OPENS + " | open"
        assert life.listening_process == HEIRS_PROCESS
        assert [listener.drops for listener in lives.tracker.listeners] == [{}, {}]

    def test_of_two_one_is_lost(self, stream: Stream) -> None:
        listen(stream)
        queue_syn(stream)
        make_child(stream)
        stream.goes(CHILD, SERVER, S.SYN_RECV, S.ESTABLISHED)
        _close_listener(stream, queued=2)
        _migrate(stream, CHILD, S.ESTABLISHED)
        lives = Lives.of(stream.records, stream.now_ns)
        assert lives.tracker.listeners[0].drops == {Stage.LISTENER_CLOSED: 1}

    def test_from_before_the_trace(self, stream: Stream) -> None:
        """Nothing is known of it: nothing is told."""
        _migrate(stream, CHILD, S.ESTABLISHED)
        assert stories(stream) == []


class TestRequest:
    def test_its_ack_makes_the_child_there(self, stream: Stream) -> None:
        listen(stream)
        queue_syn(stream)
        _close_listener(stream)
        _migrate(stream, REQUEST, S.NEW_SYN_RECV)
        make_child(stream)
        stream.goes(CHILD, SERVER, S.SYN_RECV, S.ESTABLISHED)
        accept(stream)
        assert stories(stream) == [SERVER_OPENS + " | open"]

    def test_its_timer_goes_on_in_a_clone(self, stream: Stream) -> None:
        listen(stream)
        queue_syn(stream)
        _close_listener(stream)
        stream.wait(samples.S)
        _migrate(stream, REQUEST, S.NEW_SYN_RECV)
        self._send_synack_again(stream)
        stream.tell(Kind.REQUEST_DROPPED, CLONE, SERVER, origin=HEIR, stage=Stage.REQUEST_EXPIRED)
        lives = Lives.of(stream.records, stream.now_ns)
        (life,) = lives.ended
        assert story(life) == "server | NEW_SYN_RECV→CLOSE | expired | expired"
        assert life.synack_retransmits == 1
        assert [listener.drops for listener in lives.tracker.listeners] == [
            {},
            {Stage.REQUEST_EXPIRED: 1},
        ]

    def test_without_the_move_a_clone_is_another(self, stream: Stream) -> None:
        """Only a life that is known to have moved may go on in an object that nobody told of."""
        listen(stream)
        queue_syn(stream)
        self._send_synack_again(stream)
        assert len(stories(stream)) == 2

    @staticmethod
    def _send_synack_again(stream: Stream) -> None:
        stream.tell(
            Kind.SYNACK_RETRANSMITTED,
            CLONE,
            SERVER,
            origin=HEIR,
            new_state=S.NEW_SYN_RECV,
            retransmits=1,
        )


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (errno.ECONNABORTED, "local abort | aborted"),
        (errno.EHOSTUNREACH, "unreachable | unreachable"),
    ],
)
def test_a_request_that_ends_by_no_rst(stream: Stream, error: int, told: str) -> None:
    """ss -K; an ICMP error."""
    queue_syn(stream)
    stream.tell(
        Kind.REQUEST_DROPPED,
        REQUEST,
        SERVER,
        origin=LISTENER,
        stage=Stage.REQUEST_RESET,
        error=error,
    )
    assert stories(stream) == [f"server | NEW_SYN_RECV→CLOSE | {told}"]
