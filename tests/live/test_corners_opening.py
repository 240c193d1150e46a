"""Corner cases of how a connection begins: Fast Open, MPTCP, migration, cookies, crossing SYNs."""

from __future__ import annotations

import contextlib
import errno
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Final

from .corners import Check, Corner, Corners, CornerStage, Told, corner
from .lives import CLIENT_OPENING, CLOSED_SECOND, SERVER_OPENING
from .packets import ACK, send_segment, send_syn
from .sockets import (
    ESTABLISHED,
    LISTEN,
    LOOPBACK,
    SYN_RECV,
    TIME_WAIT,
    Attempt,
    accept,
    close_in_turn,
    counters,
    make,
    state_of,
    states_here,
)
from .waiting import until

if TYPE_CHECKING:
    from collections import Counter

    from .lives import Address

_SECOND_NS: Final = 1_000_000_000
_MPTCP: Final = 262
_QUESTION: Final = b"GET / HTTP/1.0\r\n\r\n"
_BY_THE_SYN: Final = ("SYN_RECV", "ESTABLISHED")


def test_is_told_as_it_was(corners: Corners, corner: Corner, attach: str) -> None:
    corners.check(corner, attach)


def _fast_listener(stage: CornerStage, limit: int, mode: int) -> socket.socket:
    stage.sysctl("ipv4.tcp_fastopen", mode)
    listener = stage.listen()
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_FASTOPEN, limit)
    return listener


def _fast_client(stage: CornerStage, *, waits: bool = False) -> socket.socket:
    """Connects with data in the SYN, if the server's cookie is known or none is asked for.

    Args:
        waits: for the handshake, which must be over before data can follow a cookie's request.
    """
    client = make(stage.address)
    client.bind((LOOPBACK, 0))
    client.settimeout(None if waits else 0)
    assert client.sendto(_QUESTION, socket.MSG_FASTOPEN, stage.server) == len(_QUESTION)
    client.settimeout(60)
    stage.source = client.getsockname()[:2]
    return client


def _end(client: socket.socket, server: socket.socket) -> None:
    assert server.recv(len(_QUESTION), socket.MSG_WAITALL) == _QUESTION
    close_in_turn(client, server)


@corner(
    "TCP Fast Open with a cookie",
    kernel="The first SYN asks for a cookie and is a usual one; the second brings the cookie and"
    " data, and makes a child in SYN_RECV at once, without a request in the SYN queue.",
    told="The second life begins in SYN_RECV and says `fastopen`; no drop, and no SYN"
    " counted as queued.",
)
def fastopen_with_cookie(stage: CornerStage) -> Check:
    with _fast_listener(stage, 5, 3) as listener:
        sources: list[Address] = []
        for _ in range(2):
            client = _fast_client(stage, waits=True)
            sources.append(stage.source)
            _end(client, accept(listener))
        counted = counters()

    def check(told: Told) -> None:
        assert counted["TCPFastOpenCookieReqd"] == 1
        assert counted["TCPFastOpenActive"] == counted["TCPFastOpenPassive"] == 1
        openings = (SERVER_OPENING, _BY_THE_SYN)
        for source, opening, is_fast in zip(sources, openings, (False, True), strict=True):
            stage.source = source
            clients_life, servers_life = told.lives.with_end(source).pair()
            assert clients_life.account() == stage.client_closed_first()
            assert servers_life.account() == stage.server_closed_second(opening)
            assert servers_life.told["fastopen"] is is_fast
        assert told.scrape.total("tcptrace_listener_syns_total", netns=told.netns) == 1
        assert told.accepts == 2

    return check


@corner(
    "TCP Fast Open without cookies, accepted in SYN_RECV",
    kernel="tcp_fastopen=0x207: the SYN's data makes a child; accept() returns it before the final"
    " ACK has come, and close() may send its FIN in SYN_RECV.",
    told="Accepted before it is established; a server that closes at once goes SYN_RECV →"
    " FIN_WAIT1.",
    waits=True,
)
def fastopen_accepted_in_syn_recv(stage: CornerStage) -> Check:
    stage.namespace.delay("lo", 200)
    with _fast_listener(stage, 5, 0x207) as listener:
        clients = [_fast_client(stage)]
        slow = stage.source
        servers = [accept(listener)]
        states = [state_of(servers[0])]
        until(lambda: state_of(servers[0]) == 1, "the final ACK")
        clients.append(_fast_client(stage))
        hasty = stage.source
        servers.append(accept(listener))
        states.append(state_of(servers[1]))
        assert servers[1].recv(len(_QUESTION), socket.MSG_WAITALL) == _QUESTION
        close_in_turn(servers[1], clients[1])
        _end(clients[0], servers[0])
        counted = counters()

    def check(told: Told) -> None:
        assert states == [3, 3]  # SYN_RECV
        assert counted["TCPFastOpenPassive"] == 2
        stage.source = slow
        _, servers_life = told.lives.with_end(slow).pair()
        assert servers_life.account() == stage.server_closed_second(_BY_THE_SYN)
        assert servers_life.told["fastopen"]
        accepted_ns = servers_life.told["accepted_at_ns"]
        assert servers_life.entered_ns("SYN_RECV") <= accepted_ns
        assert accepted_ns < servers_life.entered_ns("ESTABLISHED")
        assert servers_life.told["accept_wait_ns"] < 0.25 * _SECOND_NS
        stage.source = hasty
        _, servers_life = told.lives.with_end(hasty).pair()
        assert servers_life.account() == stage.server_closed_first(("SYN_RECV",))

    return check


@corner(
    "TCP Fast Open, queue limit reached",
    kernel="More children in SYN_RECV than TCP_FASTOPEN allows: the SYN's data is ignored and a"
    " usual request made (TCPFastOpenListenOverflow).",
    told="The one beyond the limit is an ordinary life; no drop, as the kernel counts none.",
    waits=True,
)
def fastopen_queue_limit(stage: CornerStage) -> Check:
    stage.namespace.delay("lo", 200)
    with _fast_listener(stage, 1, 0x207) as listener:
        clients = [_fast_client(stage), _fast_client(stage)]
        sources = [client.getsockname()[:2] for client in clients]
        servers = {}
        for _ in clients:
            server = accept(listener)
            servers[server.getpeername()] = server
        for client, source in zip(clients, sources, strict=True):
            _end(client, servers[source])
        counted = counters()

    def check(told: Told) -> None:
        assert counted["TCPFastOpenPassive"] == counted["TCPFastOpenListenOverflow"] == 1
        assert not told.drops
        for source, opening in zip(sources, (_BY_THE_SYN, SERVER_OPENING), strict=True):
            stage.source = source
            _, servers_life = told.lives.with_end(source).pair()
            assert servers_life.account() == stage.server_closed_second(opening)

    return check


def _mptcp(address: Address) -> socket.socket:
    end = socket.socket(socket.AF_INET, socket.SOCK_STREAM, _MPTCP)
    end.settimeout(60)
    end.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    end.bind(address)
    return end


def _nothing(told: Told) -> None:
    assert not len(told.lives)


@corner(
    "MPTCP, with a second subflow (MP_JOIN)",
    kernel="The application's socket has protocol 262 and states of its own; each subflow is a TCP"
    " socket. The second one's child joins the first's connection, and accept() never returns it."
    " Debian's 5.10 has no MPTCP.",
    told="One life for each end of each subflow, none for the socket of protocol 262; the second"
    " subflow has no accept().",
    waits=True,
)
def mptcp_with_two_subflows(stage: CornerStage) -> Check:
    try:
        _mptcp((LOOPBACK, 0)).close()
    except OSError as refused:
        assert refused.errno == errno.EPROTONOSUPPORT  # noqa: PT017 - any other is a failure
        return _nothing
    stage.namespace.ip("mptcp", "limits", "set", "subflow", "1", "add_addr_accepted", "1")
    stage.namespace.ip("mptcp", "endpoint", "add", "127.9.9.9", "dev", "lo", "subflow")
    with _mptcp(stage.server) as listener:
        listener.listen(16)
        client = _mptcp((LOOPBACK, 0))
        client.connect(stage.server)
        stage.source = client.getsockname()[:2]
        server = accept(listener)
        for _ in range(3):
            client.sendall(_QUESTION)
            server.recv(len(_QUESTION), socket.MSG_WAITALL)
            server.sendall(b"!")
            client.recv(1)
        until(lambda: states_here()[ESTABLISHED] == 4, "the second subflow")
        counted = counters("MPTcpExt")
        close_in_turn(client, server)
        until(lambda: not set(states_here()) - {LISTEN, TIME_WAIT}, "the subflows to close")

    def check(told: Told) -> None:
        assert counted["MPJoinAckRx"] == 1
        pairs = told.lives.pairs()
        assert len(pairs) == 2
        (first, firsts_server), (second, seconds_server) = pairs
        assert first.local == stage.source
        assert second.local[0] == "127.9.9.9"
        assert first.process == stage.process
        assert firsts_server.process == stage.process
        assert seconds_server.process is None
        assert seconds_server.told["accept_wait_ns"] is None
        for clients_life, servers_life in pairs:
            assert clients_life.states[:2] == CLIENT_OPENING
            assert servers_life.states[:3] == SERVER_OPENING
            assert not clients_life.partial
            assert not servers_life.partial
            assert {clients_life.outcome, servers_life.outcome} <= {"closed", "reset"}
        assert told.accepts == 1

    return check


def _reuseport(stage: CornerStage) -> socket.socket:
    listener = make(stage.address)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listener.bind(stage.server)
    listener.listen(16)
    return listener


def _migrate(stage: CornerStage) -> bool:
    """Lets connections migrate, where the kernel knows how: 5.10.262 has the sysctl alone."""
    with contextlib.suppress(FileNotFoundError):
        stage.sysctl("ipv4.tcp_migrate_req", 1)
    return " reuseport_migrate_sock\n" in Path("/proc/kallsyms").read_text()


def _check_migrated(stage: CornerStage, told: Told, counted: Counter[str]) -> None:
    clients_life, servers_life = told.lives.pair()
    assert counted["TCPMigrateReqSuccess"] == 1
    assert clients_life.account() == stage.client_closed_first()
    assert servers_life.account() == stage.server_closed_second()
    assert not told.drops


@corner(
    "SO_REUSEPORT, tcp_migrate_req=1: listener closed with a child that waits for accept()",
    kernel="The child moves to another listener's accept queue (TCPMigrateReqSuccess). Before"
    " 5.14 it is reset.",
    told="One whole life, accepted from the other listener; no `listener_closed` drop.",
)
def child_migrates(stage: CornerStage) -> Check:
    migrates = _migrate(stage)
    first = _reuseport(stage)
    client = stage.connect()
    until(lambda: states_here()[ESTABLISHED] == 2, "the child")
    with _reuseport(stage) as second:
        first.close()
        if migrates:
            server = accept(second)
            close_in_turn(client, server)
    client.close()
    counted = counters()

    def check(told: Told) -> None:
        if not migrates:
            _, servers_life = told.lives.pair()
            assert servers_life.outcome == "never_accepted"
            assert told.drops == {"listener_closed": 1}
            return
        _check_migrated(stage, told, counted)
        assert told.accepts == 1

    return check


@corner(
    "The same with a request: its final ACK comes after the close",
    kernel="The final ACK makes the child on another listener.",
    told="One whole life, accepted from the other listener.",
    waits=True,
)
def request_migrates_with_its_ack(stage: CornerStage) -> Check:
    migrates = _migrate(stage)
    stage.namespace.delay("lo", 200)
    first = _reuseport(stage)
    attempt = Attempt(stage.server)
    stage.source = attempt.source
    until(lambda: states_here()[SYN_RECV] == 1, "the request")
    with _reuseport(stage) as second:
        first.close()
        if migrates:
            assert attempt.outcome() == 0
            server = accept(second)
            close_in_turn(attempt.socket, server)
        else:
            until(lambda: not states_here()[SYN_RECV], "the request to go")
    attempt.socket.close()
    counted = counters()

    def check(told: Told) -> None:
        if not migrates:
            _, servers_life = told.lives.pair()
            assert servers_life.outcome == "never_accepted"
            return
        _check_migrated(stage, told, counted)

    return check


@corner(
    "The same with a request whose SYN-ACK is sent again after the close",
    kernel="The timer clones the request onto another listener, where it expires.",
    told="One life that expires, on the other listener; the closed one loses nothing.",
    waits=True,
)
def request_migrates_with_its_timer(stage: CornerStage) -> Check:
    migrates = _migrate(stage)
    stage.sysctl("ipv4.tcp_synack_retries", 1)
    stage.address, stage.source = "10.9.4.1", ("10.9.4.2", 1234)
    stage.namespace.add_hole(stage.address)
    first = _reuseport(stage)
    send_syn(stage.source, stage.server)
    until(lambda: states_here()[SYN_RECV] == 1, "the request")
    with _reuseport(stage) as second:
        first.close()
        until(lambda: not states_here()[SYN_RECV], "the request's last timer")
        assert second.fileno() >= 0
    counted = counters()

    def check(told: Told) -> None:
        life = told.lives.only()
        if not migrates:
            assert life.outcome == "never_accepted"
            return
        assert counted["TCPMigrateReqSuccess"] == 1
        assert life.account() == stage.accepted(
            ("NEW_SYN_RECV", "CLOSE"), " expired", "expired", process=None, synack_retransmits=1
        )
        assert told.drops == {"request_expired": 1}

    return check


@corner(
    "Simultaneous open",
    kernel="Both SYNs cross: each end goes SYN_SENT → SYN_RECV → ESTABLISHED on one socket; no"
    " listener has a part in it.",
    told="Two clients that name each other.",
    waits=True,
)
def simultaneous_open(stage: CornerStage) -> Check:
    stage.namespace.delay("lo", 150)
    ends = [make(LOOPBACK) for _ in range(2)]
    for number, end in enumerate(ends):
        end.bind((LOOPBACK, 8101 + number))
        end.settimeout(0)
    for end, other in zip(ends, reversed(ends), strict=True):
        assert end.connect_ex(other.getsockname()) == errno.EINPROGRESS
    until(lambda: [state_of(end) for end in ends] == [1, 1], "both to be established")
    for end in ends:
        end.settimeout(60)
    close_in_turn(ends[0], ends[1])
    until(lambda: not set(states_here()) - {TIME_WAIT}, "the end")

    def check(told: Told) -> None:
        one, two = told.lives
        opening = ("SYN_SENT", "SYN_RECV", "ESTABLISHED")
        assert (one.peer, two.peer) == (two.id, one.id)
        first, second = sorted((one, two), key=lambda life: life.local)
        stage.source = (LOOPBACK, 8101)
        stage.address, stage.port = LOOPBACK, 8102
        assert first.account() == stage.client_closed_first(opening)
        stage.source = (LOOPBACK, 8102)
        stage.address, stage.port = LOOPBACK, 8101
        assert second.account() == stage.client((*opening, *CLOSED_SECOND), "remote fin", "closed")
        assert not told.drops

    return check


@corner(
    "A socket connected to itself",
    kernel="connect() to the socket's own address and port: SYN_SENT → SYN_RECV → ESTABLISHED, and"
    " FIN_WAIT1 → CLOSING → TIME_WAIT.",
    told="One client without a peer, closed by both ends at once.",
)
def self_connect(stage: CornerStage) -> Check:
    end = make(LOOPBACK)
    end.bind((LOOPBACK, 8103))
    end.connect((LOOPBACK, 8103))
    stage.source = (LOOPBACK, 8103)
    stage.address, stage.port = stage.source
    end.close()

    def check(told: Told) -> None:
        life = told.lives.only()
        states = ("SYN_SENT", "SYN_RECV", "ESTABLISHED", "FIN_WAIT1", "CLOSING", "TIME_WAIT")
        assert life.account() == stage.client(states, "both fin", "closed", time_wait="open")
        assert life.peer is None

    return check


@corner(
    "SYN cookies when the SYN queue is full (tcp_syncookies=1)",
    kernel="With room in the accept queue the SYN is answered with a cookie, whose ACK makes a"
    " child.",
    told="The strangers' requests, and a life that begins in SYN_RECV and says `cookie`;"
    " sent and valid as TcpExt.",
)
def cookie_when_full(stage: CornerStage) -> Check:
    stage.sysctl("ipv4.tcp_syncookies", 1)
    stage.sysctl("ipv4.tcp_synack_retries", 5)
    stage.address = "10.9.5.1"
    stage.namespace.add_hole(stage.address)
    with stage.listen(backlog=1) as listener:
        # The SYN queue of listen(1) is full with two requests; on some older kernels with one.
        for number in range(2):
            send_syn((f"10.9.5.{2 + number}", 1234), stage.server)
        until(lambda: states_here()[SYN_RECV] + counters()["SyncookiesSent"] == 2, "both SYNs")
        requests = states_here()[SYN_RECV]
        _end_with_question(stage.connect(), accept(listener))
        counted = counters()

    def check(told: Told) -> None:
        assert counted["SyncookiesRecv"] == 1
        assert counted["SyncookiesSent"] == counted["TCPReqQFullDoCookies"] == 3 - requests
        clients_life, servers_life = told.lives.with_end(stage.source).pair()
        assert servers_life.account() == stage.server_closed_second(_BY_THE_SYN)
        assert servers_life.told["cookie"]
        assert clients_life.told["closed"] == {"by": "local", "how": "fin"}
        assert len(told.lives) == requests + 2

    return check


def _end_with_question(client: socket.socket, server: socket.socket) -> None:
    client.sendall(_QUESTION)
    _end(client, server)


@corner(
    "A SYN cookie that is wrong",
    kernel="Once a cookie was sent, an ACK with another one is counted (SyncookiesFailed) and"
    " answered with a RST.",
    told="`invalid` as TcpExt; no life.",
)
def cookie_invalid(stage: CornerStage) -> Check:
    stage.sysctl("ipv4.tcp_syncookies", 2)
    with stage.listen() as listener:
        client = stage.connect()
        _end_with_question(client, accept(listener))
        for number in range(3):
            send_segment((LOOPBACK, 1234 + number), stage.server, ACK, 5, 0xDEADBEEF)
        until(lambda: counters()["SyncookiesFailed"] == 3, "wrong cookies")

    def check(told: Told) -> None:
        cookies = told.scrape.by("result", "tcptrace_syn_cookies_total", netns=told.netns)
        assert cookies == {"sent": 1, "valid": 1, "invalid": 3}
        _, servers_life = told.lives.pair()
        assert servers_life.account() == stage.server_closed_second(_BY_THE_SYN)

    return check


@corner(
    "TCP_DEFER_ACCEPT",
    kernel="A bare final ACK is dropped (TCPDeferAcceptDrop) and the request stays; data makes the"
    " child, or the ACK of the SYN-ACK sent again.",
    told="NEW_SYN_RECV until then, while the client is established; no drop, as the kernel counts"
    " none.",
    waits=True,
)
def defer_accept(stage: CornerStage) -> Check:
    with stage.listen() as listener:
        # The SYN-ACK is sent again after 7 s, then after 1 s.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 5)
        talker = stage.connect()
        talkers_end = stage.source
        until(lambda: counters()["TCPDeferAcceptDrop"] == 1, "the bare ACK")
        before = states_here()
        talker.sendall(_QUESTION)
        _end(talker, accept(listener))
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 1)
        silent = stage.connect()
        silents_end = stage.source
        server = accept(listener)
        close_in_turn(silent, server)

    def check(told: Told) -> None:
        assert before == {ESTABLISHED: 1, SYN_RECV: 1, LISTEN: 1}
        assert len(told.lives.pairs()) == 2
        for source, synacks in ((silents_end, 1), (talkers_end, 0)):
            stage.source = source
            clients_life, servers_life = told.lives.with_end(source).pair()
            assert servers_life.account() == stage.server_closed_second(
                synack_retransmits=synacks,
            )
            first_ns = clients_life.entered_ns("ESTABLISHED")
            waited_ns = servers_life.entered_ns("ESTABLISHED") - first_ns
            assert waited_ns > (0.5 * _SECOND_NS if synacks else 0)
        assert not told.drops

    return check


@corner(
    "ICMP host unreachable for a SYN",
    kernel="No neighbour answers: the error ends SYN_SENT at once (EHOSTUNREACH), without RSTs.",
    told="unreachable",
    waits=True,
)
def syn_unreachable(stage: CornerStage) -> Check:
    source = _veth(stage, "10.9.6.")
    stage.address = "10.9.6.9"
    attempt = Attempt(stage.server, source)
    stage.source = attempt.source
    error = attempt.outcome()
    attempt.socket.close()

    def check(told: Told) -> None:
        assert error == errno.EHOSTUNREACH
        life = told.lives.only()
        account = life.account()
        expected = stage.client(
            ("SYN_SENT", "CLOSE"),
            " unreachable",
            "unreachable",
            syn_retransmits=account.syn_retransmits,
        )
        assert account == expected
        assert life.told["error"] == "EHOSTUNREACH"

    return check


@corner(
    "ICMP host unreachable for a SYN-ACK",
    kernel="The error ends the request in the SYN queue, counted in ListenDrops.",
    told="unreachable; a drop of stage `other`.",
    waits=True,
)
def synack_unreachable(stage: CornerStage) -> Check:
    stage.address = _veth(stage, "10.9.7.")
    stage.source = ("10.9.7.9", 1234)
    with stage.listen():
        send_syn(stage.source, stage.server)
        until(lambda: states_here()[SYN_RECV] == 1, "the request")
        until(lambda: not states_here()[SYN_RECV], "the host to be unreachable")

    def check(told: Told) -> None:
        life = told.lives.only()
        account = life.account()
        assert account == stage.accepted(
            ("NEW_SYN_RECV", "CLOSE"),
            " unreachable",
            "unreachable",
            process=None,
            synack_retransmits=account.synack_retransmits,
        )
        assert told.drops == {"other": 1}

    return check


def _veth(stage: CornerStage, network: str) -> str:
    """Adds a link on which nobody answers for an address; returns our own on it."""
    namespace = stage.namespace
    namespace.ip("link", "add", "wire", "type", "veth", "peer", "name", "end")
    namespace.ip("address", "add", f"{network}1/24", "dev", "wire")
    for device in ("wire", "end"):
        namespace.ip("link", "set", device, "up")
    return f"{network}1"


@corner(
    "connect() that tcp_tw_reuse=0 forbids",
    kernel="The only free port is in TIME_WAIT: connect() fails with EADDRNOTAVAIL before a SYN.",
    told="A life that failed on this host; the TIME_WAIT socket is untouched.",
)
def timewait_not_reused(stage: CornerStage) -> Check:
    stage.sysctl("ipv4.tcp_tw_reuse", 0)
    stage.sysctl("ipv4.ip_local_port_range", "40000 40000")
    with stage.listen() as listener:
        client = stage.connect()
        server = accept(listener)
        close_in_turn(client, server)
        until(lambda: states_here()[TIME_WAIT] == 1, "TIME_WAIT")
        with make(stage.address) as again:
            again.settimeout(None)
            error = again.connect_ex(stage.server)

    def check(told: Told) -> None:
        assert error == errno.EADDRNOTAVAIL
        clients = list(told.lives.of("client"))
        assert len(told.lives) == 3
        assert clients[0].account() == stage.client_closed_first()
        assert (clients[1].states, clients[1].outcome) == (("SYN_SENT", "CLOSE"), "failed")
        assert clients[1].told["closed"] == {"by": "local", "how": "local_error"}

    return check
