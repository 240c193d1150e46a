"""Whole lives, partial ones, both ends on one host, namespaces: records in, lives out."""

from __future__ import annotations

import socket

import pytest

from tcptrace.lifecycle.connection import Outcome, Partial, Role
from tcptrace.tcp import State
from tcptrace.wire.decode import Stacked
from tcptrace.wire.events import Kind, Stage
from unit import samples
from unit.lifecycle.steps import (
    CHILD,
    CLIENT_OPENS,
    CLOSED_SECOND,
    CONNECTING,
    LISTENER,
    SERVER_OPENS,
    TIMEWAIT,
    accept,
    close_at_once,
    close_second,
    connect,
    drop_request,
    drop_syn,
    enter_timewait,
    kill_timewait,
    listen,
    make_child,
    open_both,
    open_client,
    open_server,
    queue_syn,
    replace,
    stories,
    told_by,
)
from unit.lifecycle.stream import CLIENT, CURL, LISTENING, NGINX, SERVER, Ends, Lives, Stream, story

S = State


class TestWholeLives:
    def test_client_closes_first(self, stream: Stream) -> None:
        open_both(stream)
        enter_timewait(stream)
        close_second(stream)
        stream.wait(60 * samples.S)
        kill_timewait(stream, released=False)
        client, server = told_by(stream)
        assert story(client) == (
            CLIENT_OPENS + "→FIN_WAIT1→FIN_WAIT2→TIME_WAIT→CLOSE | local fin | closed | timer"
        )
        assert story(server) == SERVER_OPENS + CLOSED_SECOND
        assert (client.peer_id, server.peer_id) == (server.id, client.id)
        assert (client.process, client.listening_process) == (CURL, None)
        assert (server.process, server.listening_process) == (NGINX, NGINX)
        assert client.spans[-2].duration_ns is not None
        assert client.spans[-2].duration_ns > 60 * samples.S

    def test_the_fin_comes_while_the_file_is_open(self, stream: Stream) -> None:
        open_client(stream)
        stream.goes(CONNECTING, CLIENT, S.ESTABLISHED, S.FIN_WAIT1, S.FIN_WAIT2)
        replace(stream, S.FIN_WAIT2, S.TIME_WAIT)
        assert stories(stream) == [
            CLIENT_OPENS + "→FIN_WAIT1→FIN_WAIT2→TIME_WAIT | local fin | closed"
        ]

    def test_server_closes_first(self, stream: Stream) -> None:
        open_both(stream)
        enter_timewait(stream, CHILD, SERVER)
        close_second(stream, CONNECTING, CLIENT)
        assert stories(stream) == [
            CLIENT_OPENS + CLOSED_SECOND,
            SERVER_OPENS + "→FIN_WAIT1→FIN_WAIT2→TIME_WAIT | local fin | closed",
        ]

    def test_times_follow_each_other(self, stream: Stream) -> None:
        open_both(stream)
        _, server = told_by(stream)
        assert server.request_at_ns == server.syn_at_ns == server.spans[0].at_ns
        assert server.queued_at_ns == server.spans[1].at_ns
        assert server.established_at_ns == server.spans[2].at_ns
        assert server.accept_wait_ns == 2 * samples.US
        assert server.syn_queue_wait_ns == 2 * samples.US

    def test_both_close_at_once(self, stream: Stream) -> None:
        open_client(stream)
        stream.goes(CONNECTING, CLIENT, S.ESTABLISHED, S.FIN_WAIT1, S.CLOSING)
        replace(stream, S.CLOSING, S.TIME_WAIT)
        assert stories(stream) == [
            CLIENT_OPENS + "→FIN_WAIT1→CLOSING→TIME_WAIT | both fin | closed"
        ]

    def test_both_open_at_once(self, stream: Stream) -> None:
        connect(stream)
        connect(stream, 0x41, SERVER)
        for sock, ends in ((CONNECTING, CLIENT), (0x41, SERVER)):
            stream.goes(sock, ends, S.SYN_SENT, S.SYN_RECV, S.ESTABLISHED)
        one, two = told_by(stream)
        assert story(one) == story(two) == "client | SYN_SENT→SYN_RECV→ESTABLISHED | open"
        assert (one.peer_id, two.peer_id) == (two.id, one.id)

    def test_self_connect_is_nobodys_peer(self, stream: Stream) -> None:
        itself = CLIENT._replace(remote=CLIENT.local)
        connect(stream, ends=itself)
        stream.goes(CONNECTING, itself, S.SYN_SENT, S.SYN_RECV, S.ESTABLISHED)
        (life,) = told_by(stream)
        assert life.peer_id is None

    def test_no_room_for_another_timewait_socket(self, stream: Stream) -> None:
        open_client(stream)
        stream.goes(CONNECTING, CLIENT, S.ESTABLISHED, S.FIN_WAIT1, S.FIN_WAIT2, S.CLOSE)
        assert stories(stream) == [CLIENT_OPENS + "→FIN_WAIT1→FIN_WAIT2→CLOSE | local fin | closed"]

    def test_v4_mapped(self, stream: Stream) -> None:
        """The request is an IPv4 one, its child an IPv6 one: one life of both."""
        queue_syn(stream)
        make_child(stream, SERVER._replace(family=socket.AF_INET6))
        (life,) = told_by(stream)
        assert story(life) == "server | NEW_SYN_RECV→SYN_RECV | open"
        assert life.family == socket.AF_INET6
        assert life.family_name == "ipv4"

    def test_stacks_go_with_their_transition(self, stream: Stream) -> None:
        open_client(stream)
        lives = Lives()
        stacks = [(number, number + 1) for number in range(len(stream.records))]
        lives.tracker.feed_stacked(map(Stacked, stream.records, stacks))
        lives.finish(stream.now_ns)
        assert [span.stack for span in lives.ended[0].spans] == [(0, 1), (2, 3)]

    def test_closed_is_told_with_time_wait_and_ended_after_it(self, stream: Stream) -> None:
        open_client(stream)
        enter_timewait(stream)
        lives = Lives()
        lives.tracker.feed(stream.records)
        assert (len(lives.closed), len(lives.ended)) == (1, 0)
        assert lives.closed[0].gone_at_ns == lives.closed[0].timewait_at_ns
        stream.records.clear()
        kill_timewait(stream, released=False)
        lives.tracker.feed(stream.records)
        assert (len(lives.closed), len(lives.ended)) == (1, 1)
        assert lives.ended[0].ended_at_ns == stream.now_ns


class TestNamespaces:
    def test_peers_are_found_across_them(self, stream: Stream) -> None:
        connect(stream)
        queue_syn(stream, SERVER._replace(netns=7))
        client, server = told_by(stream)
        assert (client.peer_id, server.peer_id) == (server.id, client.id)
        assert (client.netns, server.netns) == (CLIENT.netns, 7)

    @pytest.mark.parametrize("loopback", ["127.0.0.1", "::1"])
    def test_but_not_on_loopback(self, stream: Stream, loopback: str) -> None:
        """Each namespace has its own."""
        here = Ends(samples.endpoint(loopback, 40_000), samples.endpoint(loopback, 8080))
        connect(stream, ends=here)
        queue_syn(stream, here.other_side._replace(netns=7))
        queue_syn(stream, here.other_side, 0x21)
        client, stranger, server = told_by(stream)
        assert stranger.peer_id is None
        assert (client.peer_id, server.peer_id) == (server.id, client.id)

    def test_the_same_ends_in_two_namespaces_are_two_lives(self, stream: Stream) -> None:
        connect(stream)
        connect(stream, 0x41, CLIENT._replace(netns=7))
        stream.goes(CONNECTING, CLIENT, S.SYN_SENT, S.ESTABLISHED)
        assert stories(stream) == [CLIENT_OPENS + " | open", "client | SYN_SENT | open"]


class TestPartialLives:
    def test_began_before_the_trace(self, stream: Stream) -> None:
        stream.goes(CHILD, SERVER, S.ESTABLISHED, S.CLOSE_WAIT, S.LAST_ACK, S.CLOSE)
        (life,) = told_by(stream)
        assert story(life) == "unknown | ESTABLISHED" + CLOSED_SECOND + " | began_before"
        assert life.spans[0].at_ns is None
        assert life.spans[0].duration_ns is None
        assert life.spans[1].duration_ns == samples.US
        assert life.syn_at_ns is None

    def test_accepted_from_before_the_trace(self, stream: Stream) -> None:
        accept(stream)
        (life,) = told_by(stream)
        assert story(life) == "server | ESTABLISHED | open | began_before"
        assert life.process == NGINX

    def test_time_wait_of_an_unseen_life(self, stream: Stream) -> None:
        replace(stream, S.FIN_WAIT2, S.TIME_WAIT)
        assert stories(stream) == ["unknown | FIN_WAIT2→TIME_WAIT | fin | closed | began_before"]

    def test_unseen_timewait_sockets_are_no_lives(self, stream: Stream) -> None:
        kill_timewait(stream, released=True)
        assert told_by(stream) == []

    def test_a_gap(self, stream: Stream) -> None:
        open_client(stream)
        stream.wait(samples.S)
        stream.goes(CONNECTING, CLIENT, S.CLOSE_WAIT, S.LAST_ACK, S.CLOSE)
        (life,) = told_by(stream)
        assert story(life) == CLIENT_OPENS + "→CLOSE_WAIT→LAST_ACK→CLOSE | fin | closed | gap"
        assert [span.at_ns is None for span in life.spans] == [False, False, True, False, False]
        assert [span.duration_ns is None for span in life.spans] == [False, True, True, False, True]

    def test_its_end_was_lost(self, stream: Stream) -> None:
        open_client(stream)
        stream.goes(CONNECTING, CLIENT, S.ESTABLISHED, S.FIN_WAIT1)
        connect(stream, ends=CLIENT._replace(local=samples.endpoint("10.0.0.2", 40_001)))
        lost, _ = told_by(stream)
        assert story(lost) == CLIENT_OPENS + "→FIN_WAIT1 | local | unknown | end_lost"
        assert lost.ended_at_ns is None

    def test_the_end_of_time_wait_was_lost(self, stream: Stream) -> None:
        """What was told when it closed stays true."""
        open_client(stream)
        enter_timewait(stream)
        connect(stream, TIMEWAIT, CLIENT._replace(local=samples.endpoint("10.0.0.2", 40_001)))
        lost, _ = told_by(stream)
        assert story(lost) == (
            CLIENT_OPENS + "→FIN_WAIT1→FIN_WAIT2→TIME_WAIT | local fin | closed | end_lost"
        )

    def test_a_lost_birth_does_not_join_two_lives(self, stream: Stream) -> None:
        """The object is the same, its ends are others: the first life's end and the second's
        begin were both lost."""
        open_server(stream)
        stranger = SERVER._replace(remote=samples.endpoint("10.0.0.3", 50_000))
        close_second(stream, CHILD, stranger)
        assert stories(stream) == [
            SERVER_OPENS + " | unknown | end_lost",
            "unknown | ESTABLISHED" + CLOSED_SECOND + " | began_before",
        ]

    def test_a_lost_request_does_not_join_two_lives(self, stream: Stream) -> None:
        queue_syn(stream)
        stranger = SERVER._replace(remote=samples.endpoint("10.0.0.3", 50_000))
        make_child(stream, stranger)
        one, two = told_by(stream)
        assert story(one) == "server | NEW_SYN_RECV | unknown | end_lost"
        assert story(two) == "server | NEW_SYN_RECV→SYN_RECV | open | began_before"

    def test_a_transition_that_tcp_does_not_have_is_counted(self, stream: Stream) -> None:
        stream.goes(CHILD, SERVER, S.ESTABLISHED, S.LAST_ACK)
        lives = Lives.of(stream.records, stream.now_ns)
        assert lives.tracker.unexpected == 1

    def test_unknown_kinds_and_states_are_counted(self, stream: Stream) -> None:
        stream.goes(CHILD, SERVER, S.ESTABLISHED, S.CLOSE_WAIT)
        (record,) = stream.records
        strange = [
            record._replace(kind=99),
            record._replace(old_state=0),
            record._replace(new_state=77),
            record._replace(kind=Kind.TIMEWAIT_ENTERED, new_state=S.ESTABLISHED),
        ]
        lives = Lives.of(strange, stream.now_ns)
        assert lives.tracker.unexpected == len(strange)
        assert not lives.ended


class TestListeners:
    def test_requests_of_a_closed_listener_count_on_it(self, stream: Stream) -> None:
        listen(stream)
        queue_syn(stream)
        stream.goes(LISTENER, LISTENING, S.LISTEN, S.CLOSE)
        drop_request(stream, Stage.LISTENER_CLOSED)
        (listener,) = Lives.of(stream.records, stream.now_ns).tracker.listeners
        assert listener.drops == {Stage.LISTENER_CLOSED: 1}
        assert listener.closed_at_ns is not None

    def test_two_traces_end_alike_however_batched(self, stream: Stream) -> None:
        """advance() between any two records, or never, tells the same lives."""
        open_both(stream)
        close_at_once(stream, CONNECTING, CLIENT)
        lives = Lives()
        lives.tracker.feed(stream.records)
        lives.finish(stream.now_ns)
        assert [story(life) for life in lives.ended] == [
            story(life) for life in Lives.of(stream.records, stream.now_ns).ended
        ]


def test_open_count_is_of_lives_not_of_objects(stream: Stream) -> None:
    open_client(stream)
    stream.goes(CONNECTING, CLIENT, S.ESTABLISHED, S.FIN_WAIT1, S.FIN_WAIT2)
    stream.tell(
        Kind.TIMEWAIT_ENTERED,
        TIMEWAIT,
        CLIENT,
        origin=CONNECTING,
        old_state=S.FIN_WAIT2,
        new_state=S.FIN_WAIT2,
    )
    drop_syn(stream)
    lives = Lives()
    lives.tracker.feed(stream.records)
    assert lives.tracker.open_count == 2


def test_a_life_still_open_says_so(stream: Stream) -> None:
    open_client(stream)
    lives = Lives.of(stream.records, stream.now_ns)
    (life,) = lives.closed
    assert life.outcome is Outcome.OPEN
    assert life.role is Role.CLIENT
    assert life.ended_at_ns is None
    assert Partial.END_LOST not in life.partial


def test_losses_mark_every_life_that_is_not_over(stream: Stream) -> None:
    """One that was closed but is held, one that knocks, one that is open; not one that is over."""
    open_client(stream)
    stream.goes(CONNECTING, CLIENT, S.ESTABLISHED, S.CLOSE_WAIT, S.LAST_ACK, S.CLOSE)
    over = len(stream.records)
    open_client(stream)
    stream.goes(CONNECTING, CLIENT, S.ESTABLISHED, S.CLOSE)
    connect(stream, 0x41, CLIENT._replace(netns=7))
    drop_syn(stream)
    lives = Lives()
    lives.tracker.feed(stream.records[:over])
    lives.tracker.feed(stream.records[over:])
    lives.tracker.lose(stream.now_ns)
    lives.finish(stream.now_ns)
    by_birth = sorted(lives.ended, key=lambda life: life.id)
    assert [Partial.GAP in life.partial for life in by_birth] == [False, True, True, True]


def test_losses_mark_lives_told_of_afterwards_that_began_before(stream: Stream) -> None:
    """What is still in the ring when a loss is noticed is older than that."""
    open_client(stream)
    noticed_ns = stream.now_ns
    stream.wait(samples.MS)
    connect(stream, 0x41, CLIENT._replace(netns=7))
    lives = Lives()
    lives.tracker.lose(noticed_ns)
    lives.tracker.feed(stream.records)
    lives.finish(stream.now_ns)
    by_birth = sorted(lives.ended, key=lambda life: life.id)
    assert [Partial.GAP in life.partial for life in by_birth] == [True, False]
