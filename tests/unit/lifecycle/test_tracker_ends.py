"""How connections fail or end: connect(), RSTs, TIME_WAIT."""

from __future__ import annotations

import errno

import pytest

from tcptrace.lifecycle.registry import HOLD_NS
from tcptrace.tcp import State
from tcptrace.wire.events import Kind
from unit import samples
from unit.lifecycle.steps import (
    CHILD,
    CLIENT_OPENS,
    CONNECTING,
    SERVER_OPENS,
    close_at_once,
    close_second,
    connect,
    enter_timewait,
    kill_timewait,
    open_both,
    open_client,
    open_server,
    queue_syn,
    replace,
    stories,
    told_by,
)
from unit.lifecycle.stream import CLIENT, CURL, SERVER, Stream, story

S = State


class TestFailingConnects:
    def test_refused(self, stream: Stream) -> None:
        connect(stream)
        stream.tell(Kind.RESET_RECEIVED, CONNECTING, CLIENT, old_state=S.SYN_SENT)
        stream.goes(CONNECTING, CLIENT, S.SYN_SENT, S.CLOSE, error=errno.ECONNREFUSED)
        assert stories(stream) == ["client | SYN_SENT→CLOSE | remote refused | refused"]

    def test_timeout(self, stream: Stream) -> None:
        connect(stream)
        for retransmits in (1, 2):
            stream.wait(samples.S)
            stream.tell(
                Kind.SYN_RETRANSMITTED,
                CONNECTING,
                CLIENT,
                new_state=S.SYN_SENT,
                retransmits=retransmits,
            )
        stream.goes(CONNECTING, CLIENT, S.SYN_SENT, S.CLOSE, error=errno.ETIMEDOUT, retransmits=2)
        (life,) = told_by(stream)
        assert story(life) == "client | SYN_SENT→CLOSE | timeout | timeout"
        assert (life.syn_retransmits, life.retransmits, life.data_retransmits) == (2, 2, 0)

    @pytest.mark.parametrize(
        ("error", "told"),
        [
            (0, "local gave_up | gave_up"),
            (errno.ECONNABORTED, "local abort | aborted"),
            (errno.EHOSTUNREACH, "unreachable | unreachable"),
            (errno.ENETUNREACH, "unreachable | unreachable"),
        ],
    )
    def test_after_the_syn(self, stream: Stream, error: int, told: str) -> None:
        connect(stream)
        stream.goes(CONNECTING, CLIENT, S.SYN_SENT, S.CLOSE, error=error)
        assert stories(stream) == [f"client | SYN_SENT→CLOSE | {told}"]

    def test_before_the_syn(self, stream: Stream) -> None:
        """No free port: CONNECT_SENT never comes."""
        stream.goes(CONNECTING, CLIENT.portless, S.CLOSE, S.SYN_SENT, process=CURL)
        stream.goes(CONNECTING, CLIENT.portless, S.SYN_SENT, S.CLOSE)
        assert stories(stream) == ["client | SYN_SENT→CLOSE | local local_error | failed"]

    def test_the_filter_did_not_know_its_port(self, stream: Stream) -> None:
        """`port N` with a local N: SYN_SENT was filtered out."""
        stream.tell(Kind.CONNECT_SENT, CONNECTING, CLIENT, CURL)
        stream.goes(CONNECTING, CLIENT, S.SYN_SENT, S.ESTABLISHED)
        (life,) = told_by(stream)
        assert story(life) == CLIENT_OPENS + " | open"
        assert life.process == CURL

    def test_the_same_socket_connects_again(self, stream: Stream) -> None:
        connect(stream)
        stream.goes(CONNECTING, CLIENT, S.SYN_SENT, S.CLOSE)
        open_client(stream)
        assert stories(stream) == [
            "client | SYN_SENT→CLOSE | local gave_up | gave_up",
            CLIENT_OPENS + " | open",
        ]


class TestResets:
    def test_linger_0(self, stream: Stream) -> None:
        open_both(stream)
        close_at_once(stream, CONNECTING, CLIENT)
        stream.tell(Kind.RESET_RECEIVED, CHILD, SERVER, old_state=S.ESTABLISHED)
        stream.goes(CHILD, SERVER, S.ESTABLISHED, S.CLOSE, error=errno.ECONNRESET)
        assert stories(stream) == [
            CLIENT_OPENS + "→CLOSE | local rst_sent | reset",
            SERVER_OPENS + "→CLOSE | remote rst_received | reset",
        ]

    def test_linger_0_whose_rst_was_lost(self, stream: Stream) -> None:
        open_client(stream)
        stream.goes(CONNECTING, CLIENT, S.ESTABLISHED, S.CLOSE)
        assert stories(stream) == [CLIENT_OPENS + "→CLOSE | unknown"]

    def test_its_rst_comes_too_late(self, stream: Stream) -> None:
        open_client(stream)
        stream.goes(CONNECTING, CLIENT, S.ESTABLISHED, S.CLOSE)
        stream.wait(HOLD_NS)
        connect(stream, 0x41, CLIENT.other_side)
        stream.tell(Kind.RESET_SENT, CONNECTING, CLIENT, old_state=S.CLOSE)
        assert stories(stream)[0] == CLIENT_OPENS + "→CLOSE | unknown"

    def test_data_after_close(self, stream: Stream) -> None:
        """The kernel runs tcp_reset on itself, then sends the RST."""
        open_client(stream)
        stream.goes(CONNECTING, CLIENT, S.ESTABLISHED, S.FIN_WAIT1, S.FIN_WAIT2)
        stream.tell(Kind.RESET_RECEIVED, CONNECTING, CLIENT, old_state=S.FIN_WAIT2)
        stream.goes(CONNECTING, CLIENT, S.FIN_WAIT2, S.CLOSE, error=errno.ECONNRESET)
        stream.tell(Kind.RESET_SENT, CONNECTING, CLIENT, old_state=S.CLOSE)
        assert stories(stream) == [
            CLIENT_OPENS + "→FIN_WAIT1→FIN_WAIT2→CLOSE | local rst_sent | reset"
        ]

    def test_reset_after_the_peers_fin(self, stream: Stream) -> None:
        open_client(stream)
        stream.goes(CONNECTING, CLIENT, S.ESTABLISHED, S.CLOSE_WAIT)
        close_at_once(stream, CONNECTING, CLIENT, S.CLOSE_WAIT)
        assert stories(stream) == [CLIENT_OPENS + "→CLOSE_WAIT→CLOSE | remote rst_sent | reset"]

    def test_tcp_abort(self, stream: Stream) -> None:
        open_client(stream)
        stream.tell(Kind.RESET_SENT, CONNECTING, CLIENT, old_state=S.ESTABLISHED)
        stream.goes(CONNECTING, CLIENT, S.ESTABLISHED, S.CLOSE, error=errno.ECONNABORTED)
        assert stories(stream) == [CLIENT_OPENS + "→CLOSE | local abort | aborted"]

    def test_keepalive_gives_up(self, stream: Stream) -> None:
        """It sends a RST, but the timeout is why."""
        open_client(stream)
        stream.tell(Kind.RESET_SENT, CONNECTING, CLIENT, old_state=S.ESTABLISHED)
        stream.goes(CONNECTING, CLIENT, S.ESTABLISHED, S.CLOSE, error=errno.ETIMEDOUT)
        assert stories(stream) == [CLIENT_OPENS + "→CLOSE | timeout | timeout"]

    def test_data_times_out(self, stream: Stream) -> None:
        open_client(stream)
        stream.goes(
            CONNECTING, CLIENT, S.ESTABLISHED, S.CLOSE, error=errno.ETIMEDOUT, retransmits=15
        )
        (life,) = told_by(stream)
        assert story(life) == CLIENT_OPENS + "→CLOSE | timeout | timeout"
        assert life.data_retransmits == 15

    def test_the_last_fin_times_out(self, stream: Stream) -> None:
        open_client(stream)
        stream.goes(CONNECTING, CLIENT, S.ESTABLISHED, S.CLOSE_WAIT, S.LAST_ACK)
        stream.goes(CONNECTING, CLIENT, S.LAST_ACK, S.CLOSE, error=errno.ETIMEDOUT)
        assert stories(stream) == [
            CLIENT_OPENS + "→CLOSE_WAIT→LAST_ACK→CLOSE | remote timeout | timeout"
        ]


class TestTimeWait:
    def test_reused_after_a_connect_from_its_port_that_failed(self, stream: Stream) -> None:
        """That one never took the ports."""
        open_client(stream)
        enter_timewait(stream)
        stream.goes(CHILD, CLIENT, S.CLOSE, S.SYN_SENT, S.CLOSE, process=CURL)
        kill_timewait(stream, released=True)
        connect(stream)
        assert [life.timewait_end for life in told_by(stream)] == ["reused", None, None]

    def test_reused_by_a_syn(self, stream: Stream) -> None:
        open_server(stream)
        enter_timewait(stream, CHILD, SERVER)
        stream.wait(samples.S)
        kill_timewait(stream, SERVER, released=True)
        queue_syn(stream)
        assert stories(stream) == [
            SERVER_OPENS + "→FIN_WAIT1→FIN_WAIT2→TIME_WAIT→CLOSE | local fin | closed | reused",
            "server | NEW_SYN_RECV | open",
        ]

    @pytest.mark.parametrize("is_bound", [False, True])
    def test_reused_by_connect(self, stream: Stream, *, is_bound: bool) -> None:
        """Bound before connect() or not: SYN_SENT comes before the TIME_WAIT socket goes."""
        open_client(stream)
        enter_timewait(stream)
        stream.wait(2 * samples.S)
        before = CLIENT if is_bound else CLIENT.portless
        stream.goes(0x41, before, S.CLOSE, S.SYN_SENT, process=CURL)
        kill_timewait(stream, released=True)
        stream.tell(Kind.CONNECT_SENT, 0x41, CLIENT, CURL)
        assert stories(stream) == [
            CLIENT_OPENS + "→FIN_WAIT1→FIN_WAIT2→TIME_WAIT→CLOSE | local fin | closed | reused",
            "client | SYN_SENT | open",
        ]

    def test_killed(self, stream: Stream) -> None:
        open_client(stream)
        enter_timewait(stream)
        kill_timewait(stream, released=True)
        assert stories(stream) == [
            CLIENT_OPENS + "→FIN_WAIT1→FIN_WAIT2→TIME_WAIT→CLOSE | local fin | closed | killed"
        ]

    def test_the_next_use_of_its_ports_is_another_peers(self, stream: Stream) -> None:
        """connect() from the same port meets the server's old TIME_WAIT socket first."""
        open_both(stream)
        enter_timewait(stream, CHILD, SERVER)
        close_second(stream, CONNECTING, CLIENT)
        stream.wait(samples.S)
        connect(stream)
        kill_timewait(stream, SERVER, released=True)
        queue_syn(stream)
        client, server, next_client, next_server = told_by(stream)
        assert (client.peer_id, server.peer_id) == (server.id, client.id)
        assert (next_client.peer_id, next_server.peer_id) == (next_server.id, next_client.id)

    def test_the_peers_fin_never_comes(self, stream: Stream) -> None:
        open_client(stream)
        stream.goes(CONNECTING, CLIENT, S.ESTABLISHED, S.FIN_WAIT1, S.FIN_WAIT2)
        replace(stream, S.FIN_WAIT2, S.FIN_WAIT2)
        stream.wait(60 * samples.S)
        kill_timewait(stream, released=False, substate=S.FIN_WAIT2)
        assert stories(stream) == [
            CLIENT_OPENS + "→FIN_WAIT1→FIN_WAIT2→CLOSE | local timeout | timeout"
        ]

    def test_reset_instead_of_the_peers_fin(self, stream: Stream) -> None:
        """Received, or sent in answer to data: the records don't say."""
        open_client(stream)
        stream.goes(CONNECTING, CLIENT, S.ESTABLISHED, S.FIN_WAIT1, S.FIN_WAIT2)
        replace(stream, S.FIN_WAIT2, S.FIN_WAIT2)
        kill_timewait(stream, released=True, substate=S.FIN_WAIT2)
        assert stories(stream) == [CLIENT_OPENS + "→FIN_WAIT1→FIN_WAIT2→CLOSE | local | reset"]

    def test_the_peers_fin_was_missed(self, stream: Stream) -> None:
        """The TIME_WAIT socket itself knows better at its end."""
        open_client(stream)
        stream.goes(CONNECTING, CLIENT, S.ESTABLISHED, S.FIN_WAIT1, S.FIN_WAIT2)
        replace(stream, S.FIN_WAIT2, S.FIN_WAIT2)
        kill_timewait(stream, released=False)
        (life,) = told_by(stream)
        assert story(life) == (
            CLIENT_OPENS + "→FIN_WAIT1→FIN_WAIT2→TIME_WAIT→CLOSE | local fin | closed | timer | gap"
        )
        assert life.timewait_at_ns is None
        assert [span.duration_ns for span in life.spans[-3:]] == [None, None, None]

    def test_the_full_sockets_address_is_used_again(self, stream: Stream) -> None:
        open_client(stream)
        enter_timewait(stream)
        connect(stream, ends=CLIENT._replace(local=samples.endpoint("10.0.0.2", 40_001)))
        kill_timewait(stream, released=False)
        assert stories(stream) == [
            CLIENT_OPENS + "→FIN_WAIT1→FIN_WAIT2→TIME_WAIT→CLOSE | local fin | closed | timer",
            "client | SYN_SENT | open",
        ]
