"""What a snapshot finds, and what it doesn't find any more."""

from __future__ import annotations

import pytest

from tcptrace.lifecycle.connection import Partial, Process, Role
from tcptrace.lifecycle.registry import HOLD_NS
from tcptrace.tcp import State
from tcptrace.wire.events import Kind, Stage
from unit import samples
from unit.lifecycle.seen import counted
from unit.lifecycle.steps import (
    CHILD,
    CLIENT_OPENS,
    CLOSED_SECOND,
    CONNECTING,
    LISTENER,
    REQUEST,
    SERVER_OPENS,
    TIMEWAIT,
    close_second,
    connect,
    drop_request,
    enter_timewait,
    kill_timewait,
    listen,
    make_child,
    open_client,
    open_server,
    queue_syn,
    replace,
)
from unit.lifecycle.stream import CLIENT, HERE, LISTENING, NGINX, SERVER, Ends, Lives, Stream, story
from unit.lifecycle.tallies import new_tally

S = State
INODE = 77


class Watched:
    """A tracker that is fed as its stream is told, and takes snapshots."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.lives = Lives(new_tally())
        self.tracker = self.lives.tracker
        self._fed = 0

    def feed(self) -> None:
        self.tracker.feed(self.stream.records[self._fed :])
        self._fed = len(self.stream.records)

    def begin(self) -> None:
        self.feed()
        self.tracker.begin_snapshot(self.stream.now_ns, {INODE: NGINX})

    def end(self, *netns: int) -> None:
        self.feed()
        self.tracker.end_snapshot(set(netns or (HERE,)))

    def see(self, sock: int, state: State, ends: Ends = CLIENT, inode: int = 0) -> None:
        self.stream.tell(Kind.SEEN, sock, ends, origin=inode, old_state=state, new_state=state)

    def see_timewait(self, state: State = S.TIME_WAIT, sock: int = TIMEWAIT) -> None:
        self.stream.tell(Kind.SEEN, sock, CLIENT, old_state=S.TIME_WAIT, new_state=state)

    @property
    def counts(self) -> dict[State, int]:
        self.feed()
        return {state: count for (_, _, state), count in counted(self.tracker).items()}

    @property
    def stories(self) -> list[str]:
        self.feed()
        self.lives.finish(self.stream.now_ns)
        return [story(life) for life in sorted(self.lives.ended, key=lambda life: life.id)]


@pytest.fixture
def watched(stream: Stream) -> Watched:
    return Watched(stream)


class TestFromBeforeTheTrace:
    def test_a_full_socket(self, watched: Watched) -> None:
        watched.begin()
        watched.see(CHILD, S.ESTABLISHED, SERVER, INODE)
        watched.end()
        assert watched.counts == {S.ESTABLISHED: 1}
        close_second(watched.stream)
        assert watched.stories == [
            "unknown | ESTABLISHED" + CLOSED_SECOND + " | began_before",
        ]
        (life,) = watched.lives.ended
        assert life.process == NGINX
        assert life.spans[0].at_ns is None
        assert life.spans[0].duration_ns is None

    def test_a_request_then_its_child(self, watched: Watched) -> None:
        watched.begin()
        watched.stream.tell(Kind.SEEN, LISTENER, LISTENING, origin=INODE, old_state=S.LISTEN)
        watched.see(REQUEST, S.NEW_SYN_RECV, SERVER, LISTENER)
        watched.end()
        assert watched.counts == {S.LISTEN: 1, S.NEW_SYN_RECV: 1}
        make_child(watched.stream)
        assert watched.stories == ["server | NEW_SYN_RECV→SYN_RECV | open | began_before"]
        assert watched.lives.ended[0].listening_process == NGINX

    def test_a_request_that_is_dropped(self, watched: Watched) -> None:
        watched.see(REQUEST, S.NEW_SYN_RECV, SERVER, LISTENER)
        drop_request(watched.stream, Stage.REQUEST_EXPIRED)
        assert watched.stories == ["server | NEW_SYN_RECV→CLOSE | expired | expired | began_before"]

    def test_a_timewait_socket(self, watched: Watched) -> None:
        watched.begin()
        watched.see_timewait()
        seen_ns = watched.stream.now_ns
        watched.end()
        assert watched.counts == {S.TIME_WAIT: 1}
        assert watched.tracker.counts.entered_ns(HERE, S.TIME_WAIT) == [seen_ns]
        assert watched.tracker.counts.time_waits(HERE)[Role.UNKNOWN] == 1
        assert not watched.lives.closed
        kill_timewait(watched.stream, released=False)
        assert watched.stories == [
            "unknown | TIME_WAIT→CLOSE | fin | closed | timer | began_before"
        ]

    def test_a_timewait_socket_whose_ports_are_used_again(self, watched: Watched) -> None:
        watched.see_timewait()
        kill_timewait(watched.stream, released=True)
        connect(watched.stream)
        assert watched.stories == [
            "unknown | TIME_WAIT→CLOSE | fin | closed | reused | began_before",
            "client | SYN_SENT | open",
        ]

    def test_a_timewait_socket_that_stands_in(self, watched: Watched) -> None:
        watched.see_timewait(S.FIN_WAIT2)
        assert watched.counts == {S.FIN_WAIT2: 1}
        watched.stream.tell(Kind.TIMEWAIT_STATE_CHANGED, TIMEWAIT, CLIENT, new_state=S.TIME_WAIT)
        assert watched.counts == {S.TIME_WAIT: 1}
        kill_timewait(watched.stream, released=False)
        assert watched.stories == [
            "unknown | FIN_WAIT2→TIME_WAIT→CLOSE | fin | closed | timer | began_before"
        ]

    def test_both_ends_find_each_other(self, watched: Watched) -> None:
        watched.see(CONNECTING, S.ESTABLISHED)
        watched.see(CHILD, S.ESTABLISHED, SERVER)
        assert len(watched.stories) == 2
        one, other = watched.lives.ended
        assert (one.peer_id, other.peer_id) == (other.id, one.id)

    @pytest.mark.parametrize("state", [0, 13, 200])
    def test_no_such_state(self, watched: Watched, state: int) -> None:
        watched.tracker.feed([samples.record(kind=Kind.SEEN)._replace(old_state=state)])
        assert watched.tracker.unexpected == 1
        assert watched.counts == {}

    def test_no_such_timewait_state(self, watched: Watched) -> None:
        watched.see_timewait(S.ESTABLISHED)
        assert watched.counts == {}
        assert watched.tracker.unexpected == 1

    def test_what_has_closed_is_nothing(self, watched: Watched) -> None:
        watched.see(CHILD, S.CLOSE, SERVER)
        assert watched.stories == []
        assert watched.tracker.unexpected == 0


class TestKnownOnes:
    def test_nothing_changes_while_states_agree(self, watched: Watched) -> None:
        open_client(watched.stream)
        watched.stream.wait(samples.S)
        watched.begin()
        watched.see(CONNECTING, S.ESTABLISHED)
        watched.end()
        assert watched.stories == [CLIENT_OPENS + " | open"]
        assert watched.tracker.snapshots == 1

    def test_another_state_means_a_gap(self, watched: Watched) -> None:
        open_client(watched.stream)
        watched.stream.wait(samples.S)
        watched.begin()
        watched.see(CONNECTING, S.CLOSE_WAIT)
        seen_ns = watched.stream.now_ns
        watched.end()
        assert watched.counts == {S.CLOSE_WAIT: 1}
        assert watched.tracker.counts.entered_ns(HERE, S.CLOSE_WAIT) == [seen_ns]
        assert watched.tracker.unexpected == 0
        assert watched.stories == [CLIENT_OPENS + "→CLOSE_WAIT | open | gap"]
        assert (watched.tracker.corrected, watched.tracker.found) == (1, 0)

    def test_a_late_finding_of_the_state_before(self, watched: Watched) -> None:
        """The state is stored after its record."""
        open_client(watched.stream)
        watched.begin()
        watched.stream.goes(CONNECTING, CLIENT, S.ESTABLISHED, S.FIN_WAIT1)
        watched.see(CONNECTING, S.ESTABLISHED)
        watched.end()
        assert watched.counts == {S.FIN_WAIT1: 1}
        assert watched.stories == [CLIENT_OPENS + "→FIN_WAIT1 | local fin | open"]

    def test_a_transition_after_the_finding(self, watched: Watched) -> None:
        """TIME_WAIT is stored before its record."""
        open_client(watched.stream)
        watched.stream.goes(CONNECTING, CLIENT, S.ESTABLISHED, S.FIN_WAIT1, S.FIN_WAIT2)
        replace(watched.stream, S.FIN_WAIT2, S.FIN_WAIT2)
        watched.begin()
        watched.see_timewait()
        watched.stream.tell(Kind.TIMEWAIT_STATE_CHANGED, TIMEWAIT, CLIENT, new_state=S.TIME_WAIT)
        watched.end()
        assert watched.counts == {S.TIME_WAIT: 1}
        (life,) = watched.lives.closed
        assert not life.partial
        assert life.timewait_at_ns == watched.stream.now_ns

    def test_a_lost_fin_at_a_timewait_socket(self, watched: Watched) -> None:
        open_client(watched.stream)
        watched.stream.goes(CONNECTING, CLIENT, S.ESTABLISHED, S.FIN_WAIT1, S.FIN_WAIT2)
        replace(watched.stream, S.FIN_WAIT2, S.FIN_WAIT2)
        watched.stream.wait(samples.S)
        watched.begin()
        watched.see_timewait()
        watched.end()
        assert watched.counts == {S.TIME_WAIT: 1}
        (life,) = watched.lives.closed
        assert life.partial == {Partial.GAP}

    def test_the_full_socket_beside_its_timewait_socket(self, watched: Watched) -> None:
        open_client(watched.stream)
        watched.stream.goes(CONNECTING, CLIENT, S.ESTABLISHED, S.FIN_WAIT1, S.FIN_WAIT2)
        watched.begin()
        watched.stream.tell(
            Kind.TIMEWAIT_ENTERED,
            TIMEWAIT,
            CLIENT,
            origin=CONNECTING,
            old_state=S.FIN_WAIT2,
            new_state=S.FIN_WAIT2,
        )
        watched.see(CONNECTING, S.FIN_WAIT2)
        watched.stream.goes(CONNECTING, CLIENT, S.FIN_WAIT2, S.CLOSE)
        watched.see(CONNECTING, S.FIN_WAIT2)
        watched.end()
        assert watched.counts == {S.FIN_WAIT2: 1}
        assert watched.stories == [CLIENT_OPENS + "→FIN_WAIT1→FIN_WAIT2 | local fin | open"]

    def test_the_full_sockets_address_in_its_next_use(self, watched: Watched) -> None:
        """Its CLOSE was lost, and the next connection's birth: on the same ports, as it happens."""
        open_client(watched.stream)
        watched.stream.goes(CONNECTING, CLIENT, S.ESTABLISHED, S.FIN_WAIT1, S.FIN_WAIT2)
        replace(watched.stream, S.FIN_WAIT2, S.TIME_WAIT)
        del watched.stream.records[-1]
        watched.stream.wait(60 * samples.S)
        watched.begin()
        watched.see(CONNECTING, S.ESTABLISHED)
        watched.end()
        assert watched.counts == {S.ESTABLISHED: 1}
        assert watched.tracker.healed == 1

    @pytest.mark.parametrize("found", [CHILD, 0x31])
    def test_two_children_race(self, watched: Watched, found: int) -> None:
        queue_syn(watched.stream)
        watched.begin()
        for child in (0x31, CHILD):
            watched.stream.tell(Kind.CHILD_CREATED, child, SERVER, origin=REQUEST)
        watched.see(found, S.SYN_RECV, SERVER)
        watched.see(REQUEST, S.NEW_SYN_RECV, SERVER, LISTENER)
        assert watched.counts == {S.LISTEN: 1, S.SYN_RECV: 1}
        watched.stream.tell(Kind.CHILD_DROPPED, 0x31, SERVER)
        watched.stream.goes(CHILD, SERVER, S.SYN_RECV, S.ESTABLISHED)
        watched.end()
        assert watched.stories == [SERVER_OPENS + " | open"]

    def test_which_child_went_on_was_lost(self, watched: Watched) -> None:
        queue_syn(watched.stream)
        for child in (0x31, CHILD):
            watched.stream.tell(Kind.CHILD_CREATED, child, SERVER, origin=REQUEST)
        watched.stream.wait(2 * samples.S)
        watched.begin()
        watched.see(CHILD, S.ESTABLISHED, SERVER)
        watched.end()
        close_second(watched.stream, CHILD)
        assert watched.stories == [SERVER_OPENS + CLOSED_SECOND + " | gap"]

    def test_another_connection_in_the_object(self, watched: Watched) -> None:
        open_client(watched.stream)
        watched.stream.wait(samples.S)
        watched.begin()
        stranger = CLIENT._replace(remote=samples.endpoint("10.0.0.9", 443))
        watched.see(CONNECTING, S.ESTABLISHED, stranger)
        watched.end()
        assert watched.stories == [
            CLIENT_OPENS + " | unknown | end_lost",
            "unknown | ESTABLISHED | open | began_before",
        ]


class TestRaces:
    def test_a_request_is_found_before_it_is_told(self, watched: Watched) -> None:
        connect(watched.stream)
        watched.begin()
        watched.see(REQUEST, S.NEW_SYN_RECV, SERVER, LISTENER)
        assert watched.counts == {S.SYN_SENT: 1, S.NEW_SYN_RECV: 1}
        queue_syn(watched.stream)
        assert watched.counts == {S.LISTEN: 1, S.SYN_SENT: 1, S.NEW_SYN_RECV: 1}
        watched.end()
        assert watched.stories == ["client | SYN_SENT | open", "server | NEW_SYN_RECV | open"]
        client, server = watched.lives.ended
        assert (client.peer_id, server.peer_id) == (server.id, client.id)

    def test_a_child_is_found_before_it_is_told(self, watched: Watched) -> None:
        queue_syn(watched.stream)
        watched.begin()
        watched.see(CHILD, S.SYN_RECV, SERVER)
        make_child(watched.stream)
        watched.stream.goes(CHILD, SERVER, S.SYN_RECV, S.ESTABLISHED)
        watched.end()
        assert watched.counts == {S.LISTEN: 1, S.ESTABLISHED: 1}
        assert watched.stories == [SERVER_OPENS + " | open"]

    def test_a_connect_whose_state_was_filtered_out(self, watched: Watched) -> None:
        watched.see(CONNECTING, S.SYN_SENT)
        watched.stream.tell(Kind.CONNECT_SENT, CONNECTING, CLIENT)
        assert watched.stories == ["client | SYN_SENT | open"]

    def test_what_more_was_told_of_is_no_phantom(self, watched: Watched) -> None:
        watched.see(CHILD, S.SYN_RECV, SERVER)
        watched.stream.goes(CHILD, SERVER, S.SYN_RECV, S.ESTABLISHED)
        make_child(watched.stream)
        assert watched.stories == [
            "unknown | SYN_RECV→ESTABLISHED | unknown | began_before, end_lost",
            "server | NEW_SYN_RECV→SYN_RECV | open | began_before",
        ]

    @pytest.mark.parametrize("state", [S.ESTABLISHED, S.LAST_ACK])
    def test_found_just_after_its_close(self, watched: Watched, state: State) -> None:
        open_server(watched.stream)
        watched.begin()
        close_second(watched.stream)
        watched.see(CHILD, state, SERVER)
        watched.end()
        assert watched.stories == [SERVER_OPENS + CLOSED_SECOND]

    def test_found_while_it_is_held(self, watched: Watched) -> None:
        open_client(watched.stream)
        watched.stream.goes(CONNECTING, CLIENT, S.ESTABLISHED, S.CLOSE)
        watched.see(CONNECTING, S.ESTABLISHED)
        watched.stream.wait(HOLD_NS)
        watched.see(CONNECTING, S.ESTABLISHED)
        assert watched.stories == [
            CLIENT_OPENS + "→CLOSE | unknown",
            "unknown | ESTABLISHED | open | began_before",
        ]


class TestHealing:
    def test_what_is_found_no_more_is_over(self, watched: Watched) -> None:
        open_client(watched.stream)
        watched.stream.wait(2 * samples.S)
        watched.begin()
        watched.end()
        assert watched.tracker.healed == 1
        assert watched.counts == {}
        (life,) = watched.lives.ended
        assert story(life) == CLIENT_OPENS + " | unknown | end_lost"
        assert life.ended_at_ns is None

    def test_a_timewait_socket_stays_closed(self, watched: Watched) -> None:
        watched.see_timewait()
        watched.stream.wait(2 * samples.S)
        watched.begin()
        watched.end()
        assert watched.stories == ["unknown | TIME_WAIT | fin | closed | began_before, end_lost"]

    def test_not_in_other_namespaces(self, watched: Watched) -> None:
        open_client(watched.stream)
        watched.stream.wait(2 * samples.S)
        watched.begin()
        watched.end(HERE + 1)
        assert watched.stories == [CLIENT_OPENS + " | open"]

    def test_not_what_was_told_of_just_before(self, watched: Watched) -> None:
        open_client(watched.stream)
        watched.stream.wait(samples.S // 2)
        watched.begin()
        watched.end()
        assert watched.tracker.healed == 0

    def test_not_if_records_were_lost_meanwhile(self, watched: Watched) -> None:
        """Findings may be among them."""
        open_client(watched.stream)
        watched.stream.wait(2 * samples.S)
        watched.begin()
        watched.tracker.lose(watched.stream.now_ns)
        watched.end()
        assert watched.stories == [CLIENT_OPENS + " | open | gap"]

    def test_not_before_a_snapshot_began(self, watched: Watched) -> None:
        open_client(watched.stream)
        watched.end()
        assert (watched.tracker.snapshots, watched.tracker.healed) == (0, 0)

    def test_what_no_record_told_of_is_counted_after_the_first(self, watched: Watched) -> None:
        for sock, found in ((0x51, 0), (0x52, 1)):
            watched.begin()
            watched.see(sock, S.ESTABLISHED)
            watched.end()
            assert watched.tracker.found == found

    def test_found_by_each_of_two(self, watched: Watched) -> None:
        for _ in range(2):
            watched.begin()
            watched.see(CHILD, S.ESTABLISHED, SERVER)
            watched.end()
            watched.stream.wait(60 * samples.S)
        assert watched.tracker.healed == 0
        assert watched.counts == {S.ESTABLISHED: 1}

    def test_timewait_entered_while_a_snapshot_is_taken(self, watched: Watched) -> None:
        """Its full socket was found, and closed before the finding came."""
        open_client(watched.stream)
        watched.stream.goes(CONNECTING, CLIENT, S.ESTABLISHED, S.FIN_WAIT1, S.FIN_WAIT2)
        watched.stream.wait(30 * samples.S)
        watched.begin()
        replace(watched.stream, S.FIN_WAIT2, S.FIN_WAIT2)
        watched.see(CONNECTING, S.FIN_WAIT2)
        watched.end()
        assert watched.tracker.healed == 0
        assert watched.counts == {S.FIN_WAIT2: 1}


class TestListeners:
    def see(self, watched: Watched, sock: int = LISTENER, ends: Ends = LISTENING) -> None:
        watched.stream.tell(
            Kind.SEEN,
            sock,
            ends,
            origin=INODE,
            old_state=S.LISTEN,
            new_state=S.LISTEN,
            accept_queue_len=3,
            accept_queue_limit=8,
            syn_queue_len=2,
        )

    def test_from_before_the_trace(self, watched: Watched) -> None:
        watched.begin()
        self.see(watched)
        watched.end()
        (listener,) = watched.tracker.listeners
        assert listener.local == LISTENING.local
        assert listener.process == NGINX
        assert (listener.accept_queue_limit, listener.accept_queue_peak) == (8, 3)
        assert watched.counts == {S.LISTEN: 1}

    def test_one_known_by_its_port_gets_its_address(self, watched: Watched) -> None:
        queue_syn(watched.stream)
        dual = LISTENING._replace(local=samples.endpoint("::", 8080))
        watched.begin()
        self.see(watched, ends=dual)
        watched.end()
        (listener,) = watched.tracker.listeners
        assert listener.local == dual.local
        assert counted(watched.tracker)[HERE, "ipv6", S.LISTEN] == 1
        assert counted(watched.tracker)[HERE, "ipv4", S.LISTEN] == 0

    def test_who_called_listen_is_known_better(self, watched: Watched) -> None:
        listen(watched.stream)
        watched.begin()
        watched.tracker.begin_snapshot(watched.stream.now_ns, {INODE: Process(1, b"other")})
        self.see(watched)
        watched.end()
        (listener,) = watched.tracker.listeners
        assert listener.process == NGINX

    def test_found_no_more(self, watched: Watched) -> None:
        listen(watched.stream)
        watched.stream.wait(2 * samples.S)
        watched.begin()
        watched.end()
        (listener,) = watched.tracker.listeners
        assert listener.closed_at_ns is None
        assert watched.counts == {}
        self.see(watched)
        assert watched.counts == {S.LISTEN: 1}
        assert len(watched.tracker.listeners) == 2

    def test_found_just_after_it_closed(self, watched: Watched) -> None:
        listen(watched.stream)
        watched.stream.goes(LISTENER, LISTENING, S.LISTEN, S.CLOSE)
        watched.begin()
        self.see(watched)
        watched.end()
        assert watched.counts == {}
        assert len(watched.tracker.listeners) == 1

    def test_another_port_in_the_object(self, watched: Watched) -> None:
        listen(watched.stream)
        watched.stream.wait(samples.S)
        self.see(watched, ends=LISTENING._replace(local=LISTENING.local._replace(port=81)))
        watched.feed()
        assert [listener.local.port for listener in watched.tracker.listeners] == [8080, 81]
        assert watched.counts == {S.LISTEN: 1}

    def test_a_connection_in_the_object(self, watched: Watched) -> None:
        listen(watched.stream)
        watched.see(LISTENER, S.ESTABLISHED)
        assert watched.counts == {S.LISTEN: 1}
        watched.stream.wait(samples.S)
        watched.see(LISTENER, S.ESTABLISHED)
        assert watched.counts == {S.ESTABLISHED: 1}

    def test_a_listener_where_a_connection_was(self, watched: Watched) -> None:
        enter = watched.stream
        open_client(enter)
        enter.wait(samples.S)
        self.see(watched, CONNECTING)
        assert watched.counts == {S.LISTEN: 1}

    def test_a_listener_where_a_connection_has_just_begun(self, watched: Watched) -> None:
        open_client(watched.stream)
        self.see(watched, CONNECTING)
        assert watched.counts == {S.ESTABLISHED: 1}


def test_many_leave_while_a_snapshot_is_taken(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tcptrace.lifecycle.registry.MOST_LEFT", 3)
    watched.begin()
    for _ in range(5):
        open_client(watched.stream)
        enter_timewait(watched.stream)
        kill_timewait(watched.stream, released=False)
    watched.feed()
    left = watched.tracker._registry.left
    assert left is not None
    assert len(left) <= 3
