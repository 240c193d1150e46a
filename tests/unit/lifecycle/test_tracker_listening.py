"""What happens at a listener: requests, dropped SYNs, cookies, Fast Open, children."""

from __future__ import annotations

import errno

import pytest

from tcptrace.tcp import State
from tcptrace.wire.events import Flag, Kind, Stage
from unit import samples
from unit.lifecycle.steps import (
    CHILD,
    CLOSED_SECOND,
    LISTENER,
    REQUEST,
    SERVER_OPENS,
    accept,
    close_at_once,
    close_second,
    connect,
    drop_ack,
    drop_request,
    drop_syn,
    enter_timewait,
    listen,
    make_child,
    open_server,
    queue_syn,
    stories,
    told_by,
)
from unit.lifecycle.stream import CURL, LISTENING, NGINX, SERVER, Lives, Stream, story

S = State


class TestRequests:
    def test_expired(self, stream: Stream) -> None:
        queue_syn(stream)
        for retransmits in (1, 2):
            stream.wait(samples.S)
            stream.tell(
                Kind.SYNACK_RETRANSMITTED,
                REQUEST,
                SERVER,
                origin=LISTENER,
                new_state=S.NEW_SYN_RECV,
                retransmits=retransmits,
            )
        drop_request(stream, Stage.REQUEST_EXPIRED)
        (life,) = told_by(stream)
        assert story(life) == "server | NEW_SYN_RECV→CLOSE | expired | expired"
        assert life.synack_retransmits == 2

    @pytest.mark.parametrize(
        ("stage", "told"),
        [
            (Stage.REQUEST_RESET, "remote rst_received | half_open_reset"),
            (Stage.LISTENER_CLOSED, "local listener_closed | never_accepted"),
        ],
    )
    def test_dropped(self, stream: Stream, stage: Stage, told: str) -> None:
        queue_syn(stream)
        drop_request(stream, stage)
        assert stories(stream) == [f"server | NEW_SYN_RECV→CLOSE | {told}"]

    def test_final_ack_dropped_then_taken(self, stream: Stream) -> None:
        queue_syn(stream)
        drop_ack(stream)
        make_child(stream)
        (life,) = told_by(stream)
        assert story(life) == "server | NEW_SYN_RECV→SYN_RECV | open"
        assert life.ack_drops == 1
        assert [moment.kind for moment in life.moments] == [
            Kind.SYN_QUEUED,
            Kind.ACK_DROPPED,
            Kind.CHILD_CREATED,
        ]

    def test_abort_on_overflow(self, stream: Stream) -> None:
        listen(stream)
        queue_syn(stream)
        drop_ack(stream, Stage.ABORT_ON_OVERFLOW)
        stream.tell(Kind.RESET_SENT, REQUEST, SERVER, origin=LISTENER, old_state=S.NEW_SYN_RECV)
        drop_request(stream, Stage.REQUEST_RESET)
        lives = Lives.of(stream.records, stream.now_ns)
        assert [story(life) for life in lives.ended] == [
            "server | NEW_SYN_RECV→CLOSE | local rst_sent | reset"
        ]
        (listener,) = lives.tracker.listeners
        assert listener.drops == {Stage.ABORT_ON_OVERFLOW: 1}

    def test_requests_address_is_used_again_at_once(self, stream: Stream) -> None:
        queue_syn(stream)
        make_child(stream)
        stranger = SERVER._replace(remote=samples.endpoint("10.0.0.3", 40_000))
        queue_syn(stream, stranger)
        stream.goes(CHILD, SERVER, S.SYN_RECV, S.ESTABLISHED)
        assert stories(stream) == [SERVER_OPENS + " | open", "server | NEW_SYN_RECV | open"]

    def test_a_request_from_before_the_trace(self, stream: Stream) -> None:
        drop_ack(stream)
        make_child(stream)
        assert stories(stream) == ["server | NEW_SYN_RECV→SYN_RECV | open | began_before"]


class TestDroppedSyns:
    def test_then_admitted(self, stream: Stream) -> None:
        listen(stream)
        drop_syn(stream)
        first = stream.now_ns
        stream.wait(samples.S)
        queue_syn(stream)
        (life,) = told_by(stream)
        assert story(life) == "server | NEW_SYN_RECV | open"
        assert life.syn_drops == 1
        assert life.syn_at_ns == first
        assert life.request_at_ns == stream.now_ns

    def test_for_ever(self, stream: Stream) -> None:
        listen(stream)
        connect(stream)
        for pause in (0, 1, 2):
            stream.wait(pause * samples.S)
            drop_syn(stream)
        last = stream.now_ns
        lives = Lives()
        lives.tracker.feed(stream.records)
        lives.tracker.advance(last + 4 * samples.S)
        assert not lives.ended
        lives.tracker.advance(last + 10 * samples.S)
        (life,) = lives.ended
        assert story(life) == "server | dropped | syn_dropped"
        assert (life.syn_drops, life.ended_at_ns) == (3, last)
        assert life.listening_process == NGINX
        lives.finish(last + 10 * samples.S)
        assert life.peer_id == lives.ended[1].id
        assert lives.ended[1].peer_id == life.id

    def test_at_the_end_of_the_trace(self, stream: Stream) -> None:
        drop_syn(stream)
        assert stories(stream) == ["server | dropped | syn_dropped"]


class TestCookiesAndFastOpen:
    @staticmethod
    def send_cookie(stream: Stream) -> None:
        stream.tell(Kind.SYN_COOKIE_SENT, 0, SERVER, origin=LISTENER)

    def test_cookie(self, stream: Stream) -> None:
        listen(stream)
        self.send_cookie(stream)
        sent = stream.now_ns
        make_child(stream, flags=Flag.COOKIE)
        stream.goes(CHILD, SERVER, S.SYN_RECV, S.ESTABLISHED)
        lives = Lives.of(stream.records, stream.now_ns)
        (life,) = lives.ended
        assert story(life) == "server | SYN_RECV→ESTABLISHED | open"
        assert life.cookie
        assert life.syn_at_ns == sent
        assert life.request_at_ns is None
        assert life.listening_process == NGINX
        assert lives.tracker.listeners[0].cookies_sent == 1

    def test_a_cookie_alone_is_no_life(self, stream: Stream) -> None:
        connect(stream)
        self.send_cookie(stream)
        (client,) = told_by(stream)
        assert client.peer_id is None

    def test_a_cookie_from_before_the_trace(self, stream: Stream) -> None:
        make_child(stream, flags=Flag.COOKIE)
        assert stories(stream) == ["server | SYN_RECV | open | began_before"]

    def test_final_ack_with_a_cookie_dropped_then_taken(self, stream: Stream) -> None:
        """Its request is made for the ACK and gone with it: nothing may stay in its place."""
        self.send_cookie(stream)
        drop_ack(stream)
        make_child(stream, flags=Flag.COOKIE)
        (life,) = told_by(stream)
        assert story(life) == "server | SYN_RECV | open"
        assert life.ack_drops == 1

    def test_final_ack_with_a_cookie_dropped_for_ever(self, stream: Stream) -> None:
        self.send_cookie(stream)
        drop_ack(stream)
        assert stories(stream) == ["server | dropped | syn_dropped"]

    def test_final_ack_with_a_cookie_from_before_the_trace_dropped(self, stream: Stream) -> None:
        drop_ack(stream, flags=Flag.COOKIE)
        (life,) = told_by(stream)
        assert story(life) == "server | dropped | syn_dropped | began_before"
        assert life.cookie
        assert life.syn_at_ns is None

    @pytest.mark.parametrize("flag", [Flag.COOKIE, Flag.FASTOPEN])
    def test_its_listener_is_known(self, stream: Stream, flag: Flag) -> None:
        listen(stream)
        stream.tell(Kind.CHILD_CREATED, CHILD, SERVER, origin=LISTENER, flags=flag)
        stream.goes(CHILD, SERVER, S.SYN_RECV, S.ESTABLISHED)
        stream.goes(LISTENER, LISTENING, S.LISTEN, S.CLOSE)
        close_at_once(stream, CHILD, SERVER)
        (life,) = told_by(stream)
        assert life.listening_process == NGINX
        assert story(life).startswith("server | SYN_RECV→ESTABLISHED→CLOSE | local listener_closed")

    def test_fast_open(self, stream: Stream) -> None:
        make_child(stream, flags=Flag.FASTOPEN)
        accept(stream, S.SYN_RECV)
        stream.goes(CHILD, SERVER, S.SYN_RECV, S.ESTABLISHED)
        (life,) = told_by(stream)
        assert story(life) == "server | SYN_RECV→ESTABLISHED | open"
        assert life.fastopen
        assert life.syn_at_ns == life.queued_at_ns
        assert life.process == NGINX

    def test_fast_opens_syn_ack_is_sent_again(self, stream: Stream) -> None:
        """By the child, in the name of its request."""
        make_child(stream, flags=Flag.FASTOPEN)
        stream.tell(Kind.SYNACK_RETRANSMITTED, REQUEST, SERVER, origin=CHILD, retransmits=1)
        (life,) = told_by(stream)
        assert life.synack_retransmits == 1


class TestChildren:
    def test_listener_closed_with_children_queued(self, stream: Stream) -> None:
        listen(stream)
        queue_syn(stream)
        make_child(stream)
        stream.goes(CHILD, SERVER, S.SYN_RECV, S.ESTABLISHED)
        stream.goes(LISTENER, LISTENING, S.LISTEN, S.CLOSE)
        close_at_once(stream, CHILD, SERVER)
        (life,) = told_by(stream)
        assert story(life) == SERVER_OPENS + "→CLOSE | local listener_closed | never_accepted"
        assert life.process is None

    def test_listener_closed_just_before_it_was_queued(self, stream: Stream) -> None:
        listen(stream)
        queue_syn(stream)
        stream.goes(LISTENER, LISTENING, S.LISTEN, S.CLOSE)
        make_child(stream)
        close_at_once(stream, CHILD, SERVER, S.SYN_RECV)
        stream.tell(Kind.CHILD_DROPPED, CHILD, SERVER)
        lives = Lives.of(stream.records, stream.now_ns)
        assert [story(life) for life in lives.ended] == [
            "server | NEW_SYN_RECV→SYN_RECV→CLOSE | local listener_closed | never_accepted"
        ]
        assert len(lives.tracker.listeners) == 1

    def test_the_same_without_its_rst(self, stream: Stream) -> None:
        queue_syn(stream)
        make_child(stream)
        stream.goes(CHILD, SERVER, S.SYN_RECV, S.CLOSE)
        stream.tell(Kind.CHILD_DROPPED, CHILD, SERVER)
        assert stories(stream) == [
            "server | NEW_SYN_RECV→SYN_RECV→CLOSE | local listener_closed | never_accepted"
        ]

    def test_reset_while_queued_then_accepted(self, stream: Stream) -> None:
        """The life ends with the RST, however soon accept() hands it out after that."""
        queue_syn(stream)
        make_child(stream)
        stream.goes(CHILD, SERVER, S.SYN_RECV, S.ESTABLISHED)
        stream.tell(Kind.RESET_RECEIVED, CHILD, SERVER, old_state=S.ESTABLISHED)
        stream.goes(CHILD, SERVER, S.ESTABLISHED, S.CLOSE, error=errno.ECONNRESET)
        accept(stream, S.CLOSE)
        (life,) = told_by(stream)
        assert story(life) == SERVER_OPENS + "→CLOSE | remote rst_received | reset"
        assert life.process is None
        assert life.accept_wait_ns is None

    def test_accepting_what_was_reset_long_ago_is_no_birth(self, stream: Stream) -> None:
        accept(stream, S.CLOSE)
        assert told_by(stream) == []

    def test_the_first_accept_counts(self, stream: Stream) -> None:
        """A task that changes its CPU in between is seen by both hooks."""
        open_server(stream)
        first = stream.now_ns
        stream.tell(Kind.ACCEPTED, CHILD, SERVER, CURL, new_state=S.ESTABLISHED, flags=Flag.GRAFTED)
        (life,) = told_by(stream)
        assert (life.accepted_at_ns, life.process) == (first, NGINX)

    def test_a_child_that_fails_in_the_making_is_no_life(self, stream: Stream) -> None:
        """No memory, or another CPU's child is there: SYN_RECV → CLOSE before any other record."""
        queue_syn(stream)
        stream.goes(CHILD, SERVER, S.SYN_RECV, S.CLOSE)
        drop_ack(stream)
        assert stories(stream) == ["server | NEW_SYN_RECV | open"]

    @pytest.mark.parametrize("order", ["WLd", "LWd", "LdW"])
    @pytest.mark.parametrize("by_tracepoint", [False, True])
    def test_two_cpus_make_a_child_each(
        self, stream: Stream, order: str, *, by_tracepoint: bool
    ) -> None:
        """One is dropped; the life is the request's, whichever record comes first."""
        winner, loser = CHILD, 0x31
        connect(stream)
        queue_syn(stream)
        for step in order:
            if step == "W":
                stream.tell(Kind.CHILD_CREATED, winner, SERVER, origin=REQUEST)
            elif step == "d":
                stream.tell(Kind.CHILD_DROPPED, loser, SERVER)
            else:
                if by_tracepoint:
                    stream.goes(loser, SERVER, S.SYN_RECV, S.CLOSE)
                stream.tell(Kind.CHILD_CREATED, loser, SERVER, origin=REQUEST)
        stream.goes(winner, SERVER, S.SYN_RECV, S.ESTABLISHED)
        close_second(stream, winner)
        client, server = told_by(stream)
        assert story(server) == SERVER_OPENS + CLOSED_SECOND
        assert (client.peer_id, server.peer_id) == (server.id, client.id)

    def test_the_winner_goes_on_before_the_loser_is_dropped(self, stream: Stream) -> None:
        queue_syn(stream)
        for child in (0x31, CHILD):
            stream.tell(Kind.CHILD_CREATED, child, SERVER, origin=REQUEST)
        stream.goes(CHILD, SERVER, S.SYN_RECV, S.ESTABLISHED)
        accept(stream)
        stream.tell(Kind.CHILD_DROPPED, 0x31, SERVER)
        enter_timewait(stream, CHILD, SERVER)
        assert stories(stream) == [
            SERVER_OPENS + "→FIN_WAIT1→FIN_WAIT2→TIME_WAIT | local fin | closed"
        ]

    def test_the_next_request_at_the_same_address(self, stream: Stream) -> None:
        """Its own records were lost; the life before it, between the same ends, is in TIME_WAIT."""
        open_server(stream)
        enter_timewait(stream, CHILD, SERVER)
        stream.tell(Kind.CHILD_CREATED, 0x31, SERVER, origin=REQUEST)
        stream.goes(0x31, SERVER, S.SYN_RECV, S.ESTABLISHED)
        first, second = told_by(stream)
        assert story(first).startswith(SERVER_OPENS + "→FIN_WAIT1→FIN_WAIT2→TIME_WAIT")
        assert story(second).startswith("server | NEW_SYN_RECV→SYN_RECV→ESTABLISHED")
