"""Corner cases of how a connection ends: TIME_WAIT cut short, timeouts, ss -K, orphans, repair."""

from __future__ import annotations

import errno
import os
import socket
from typing import Final

from .corners import Check, Corner, Corners, CornerStage, Told, corner
from .lives import CLIENT_OPENING, CLOSED_FIRST, CLOSED_SECOND, SERVER_OPENING, Life
from .namespaces import tool
from .packets import ACK, send_segment, send_syn
from .sockets import (
    ESTABLISHED,
    LOOPBACK,
    SYN_RECV,
    TIME_WAIT,
    accept,
    close_in_turn,
    counters,
    make,
    retransmits_of,
    states_here,
    wait_for_reset,
)
from .waiting import until

_MAX_ORPHANS: Final = "net.ipv4.tcp_max_orphans"
_MOST_ORPHANS: Final = 200
_MOST_SKIPPED: Final = 2
_TCP_REPAIR: Final = 19
_TCP_REPAIR_QUEUE: Final = 20
_TCP_QUEUE_SEQ: Final = 21
_RECEIVE_QUEUE: Final = 1
_SEND_QUEUE: Final = 2
_ON, _OFF = 1, 0


def test_is_told_as_it_was(corners: Corners, corner: Corner, attach: str) -> None:
    corners.check(corner, attach)


def _leave_time_wait(stage: CornerStage) -> None:
    """All that is left is the client's TIME_WAIT."""
    close_in_turn(*stage.couple())
    until(lambda: states_here() == {TIME_WAIT: 1}, "TIME_WAIT")


def _assassinate(stage: CornerStage) -> None:
    """The client is in TIME_WAIT; an old duplicate has it answer, and nobody knows the answer."""
    _leave_time_wait(stage)
    send_segment(stage.server, stage.source, ACK)


@corner(
    "TIME_WAIT assassination (RFC 1337), tcp_rfc1337=0",
    kernel="An old duplicate is answered with an ACK, the ACK by the other end with a RST, which"
    " ends TIME_WAIT.",
    told="TIME_WAIT's end is `killed`.",
)
def timewait_assassinated(stage: CornerStage) -> Check:
    stage.sysctl("ipv4.tcp_rfc1337", 0)
    _assassinate(stage)
    until(lambda: not states_here(), "the end of TIME_WAIT")

    def check(told: Told) -> None:
        clients_life, servers_life = told.lives.pair()
        assert clients_life.account() == stage.client(
            (*CLIENT_OPENING, *CLOSED_FIRST, "CLOSE"), "local fin", "closed", time_wait="killed"
        )
        assert servers_life.account() == stage.server_closed_second()

    return check


@corner(
    "The same with tcp_rfc1337=1",
    kernel="The RST is ignored.",
    told="TIME_WAIT goes on.",
)
def timewait_protected(stage: CornerStage) -> Check:
    stage.sysctl("ipv4.tcp_rfc1337", 1)
    _assassinate(stage)

    def check(told: Told) -> None:
        clients_life, _ = told.lives.pair()
        assert clients_life.account() == stage.client_closed_first()

    return check


def _cut(stage: CornerStage) -> None:
    """From now on every packet of the namespace is lost."""
    stage.namespace.lose_all("lo")


@corner(
    "Keepalive finds the peer gone",
    kernel="The probes are not answered: a RST leaves, and the socket closes with ETIMEDOUT"
    " (TCPAbortOnTimeout).",
    told="A timeout, nobody's doing; the other end is still established.",
    waits=True,
)
def keepalive_times_out(stage: CornerStage) -> Check:
    client, server = stage.couple()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT):
        client.setsockopt(socket.IPPROTO_TCP, option, 1)
    _cut(stage)
    error = _error_of(client)
    client.close()
    stage.keep(server)
    counted = counters()

    def check(told: Told) -> None:
        assert error == errno.ETIMEDOUT
        assert counted["TCPAbortOnTimeout"] == 1
        _check_timed_out(stage, told)

    return check


def _check_timed_out(stage: CornerStage, told: Told) -> Life:
    """Returns the client's life, which is over; the server has heard nothing."""
    clients_life, servers_life = told.lives.pair()
    assert clients_life.account() == stage.client((*CLIENT_OPENING, "CLOSE"), " timeout", "timeout")
    assert servers_life.account() == stage.accepted(SERVER_OPENING, "", "open")
    return clients_life


def _error_of(end: socket.socket) -> int:
    """Reads until the connection breaks; returns the errno."""
    try:
        end.recv(1)
    except OSError as broken:
        return broken.errno or -1
    return 0


@corner(
    "TCP_USER_TIMEOUT",
    kernel="Data is not acknowledged for so long: the socket closes with ETIMEDOUT, without a RST.",
    told="A timeout, nobody's doing, with the segments sent again.",
    waits=True,
)
def user_timeout(stage: CornerStage) -> Check:
    client, server = stage.couple()
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 700)
    _cut(stage)
    client.sendall(b"into the void")
    error = _error_of(client)
    retransmits = retransmits_of(client)
    client.close()
    stage.keep(server)

    def check(told: Told) -> None:
        assert error == errno.ETIMEDOUT
        clients_life = _check_timed_out(stage, told)
        assert clients_life.told["retransmits"] == retransmits > 0

    return check


def _kill(stage: CornerStage, *which: str) -> str:
    """Has the kernel abort sockets of the namespace; returns what ss says of them."""
    return tool("ss", "-N", stage.namespace.name, "-K", *which)


@corner(
    "ss -K on an established socket",
    kernel="tcp_abort: a RST leaves, the socket closes with ECONNABORTED.",
    told="aborted, by this end; the other one got a RST.",
)
def killed_by_ss(stage: CornerStage) -> Check:
    client, server = stage.couple()
    port = stage.source[1]
    killed = _kill(stage, "-tnH", "sport", "=", f":{port}")
    wait_for_reset(server)
    error = _error_of(client)
    client.close()
    server.close()

    def check(told: Told) -> None:
        assert len(killed.splitlines()) == 1, "needs CONFIG_INET_DIAG_DESTROY"
        assert error == errno.ECONNABORTED
        clients_life, servers_life = told.lives.pair()
        assert clients_life.account() == stage.client(
            (*CLIENT_OPENING, "CLOSE"), "local abort", "aborted"
        )
        assert servers_life.account() == stage.accepted(
            (*SERVER_OPENING, "CLOSE"), "remote rst_received", "reset"
        )

    return check


@corner(
    "ss -K on a listener with a connection queued",
    kernel="As close(): LISTEN → CLOSE, and what is queued is reset.",
    told="The queued one was never accepted; a `listener_closed` drop; the listener is gone.",
)
def listener_killed_by_ss(stage: CornerStage) -> Check:
    listener = stage.listen()
    client = stage.connect()
    until(lambda: states_here()[ESTABLISHED] == 2, "the child")
    _kill(stage, "-tlnH", "sport", "=", f":{stage.port}")
    wait_for_reset(client)
    client.close()
    listener.close()

    def check(told: Told) -> None:
        _, servers_life = told.lives.pair()
        assert servers_life.account() == stage.server_never_accepted()
        assert told.drops == {"listener_closed": 1}

    return check


@corner(
    "ss -K on a request in the SYN queue",
    kernel="tcp_abort drops the request; no RST.",
    told="aborted, by this end.",
)
def request_killed_by_ss(stage: CornerStage) -> Check:
    stage.address, stage.source = "10.9.8.1", ("10.9.8.2", 1234)
    stage.namespace.add_hole(stage.address)
    with stage.listen():
        send_syn(stage.source, stage.server)
        until(lambda: states_here()[SYN_RECV] == 1, "the request")
        _kill(stage, "-tnH", "state", "syn-recv")
        until(lambda: not states_here()[SYN_RECV], "the request to go")

    def check(told: Told) -> None:
        assert told.lives.only().account() == stage.accepted(
            ("NEW_SYN_RECV", "CLOSE"), "local abort", "aborted", process=None
        )
        assert not told.drops

    return check


@corner(
    "ss -K on a TIME_WAIT socket",
    kernel="Ended at once since 6.5; refused before (EOPNOTSUPP).",
    told="TIME_WAIT's end is `killed`; before 6.5 it goes on.",
)
def timewait_killed_by_ss(stage: CornerStage) -> Check:
    _leave_time_wait(stage)
    _kill(stage, "-tnH", "state", "time-wait")
    is_killed = not states_here()

    def check(told: Told) -> None:
        clients_life, _ = told.lives.pair()
        after, end = (("CLOSE",), "killed") if is_killed else ((), "open")
        assert clients_life.account() == stage.client(
            (*CLIENT_OPENING, *CLOSED_FIRST, *after), "local fin", "closed", time_wait=end
        )

    return check


def _at_home(*command: str) -> str:
    """Runs a tool in the network namespace of the process: the limit is there, for all of them."""
    return tool("nsenter", f"--net=/proc/{os.getpid()}/ns/net", *command)


@corner(
    "More orphans than tcp_max_orphans",
    kernel="close() beyond the limit sends a RST after its FIN (TCPAbortOnMemory).",
    told="reset, by this end; the orphans before it are in FIN_WAIT2.",
)
def too_many_orphans(stage: CornerStage) -> Check:
    # An orphan stays a full socket in FIN_WAIT2 if it has longer to live than TIME_WAIT.
    stage.sysctl("ipv4.tcp_fin_timeout", 120)
    most = _at_home("sysctl", "-n", _MAX_ORPHANS).strip()
    couples = []
    with stage.listen() as listener:
        try:
            _at_home("sysctl", "-qw", f"{_MAX_ORPHANS}=0")
            while not counters()["TCPAbortOnMemory"]:
                client = stage.connect()
                couples.append((stage.source, accept(listener)))
                client.close()
                assert len(couples) < _MOST_ORPHANS, "no orphan was too many"
        finally:
            _at_home("sysctl", "-qw", f"{_MAX_ORPHANS}={most}")
    stage.keep(*[server for _, server in couples])
    counted = counters()

    def check(told: Told) -> None:
        assert counted["TCPAbortOnMemory"] == 1
        assert len(told.lives.pairs()) == len(couples)
        *orphans, last = couples
        assert orphans
        skipped = 0
        for source, _ in orphans:
            stage.source = source
            clients_life, servers_life = told.lives.with_end(source).pair()
            states: tuple[str, ...] = (*CLIENT_OPENING, "FIN_WAIT1", "FIN_WAIT2")
            # Of so many a kprobe may miss one: it is skipped where it interrupts another.
            if told.attach == "kprobe" and clients_life.states == states[:-1]:
                states = states[:-1]
                skipped += 1
            assert clients_life.account() == stage.client(states, "local fin", "open")
            assert servers_life.account() == stage.accepted(
                (*SERVER_OPENING, "CLOSE_WAIT"), "remote fin", "open"
            )
        assert skipped <= _MOST_SKIPPED
        stage.source = last[0]
        clients_life, servers_life = told.lives.with_end(last[0]).pair()
        # The FIN had left, and on a loopback interface its ACK is mostly there.
        states = (*CLIENT_OPENING, "FIN_WAIT1", "FIN_WAIT2", "CLOSE")
        if "FIN_WAIT2" not in clients_life.states:
            states = (*CLIENT_OPENING, "FIN_WAIT1", "CLOSE")
        assert clients_life.account() == stage.client(states, "local rst_sent", "reset")
        assert servers_life.account() == stage.accepted(
            (*SERVER_OPENING, "CLOSE_WAIT", "CLOSE"), "remote rst_received", "reset"
        )

    return check


def _restore(local: tuple[str, int], remote: tuple[str, int]) -> socket.socket:
    """Sets an established socket up as criu does: in repair mode no packet leaves."""
    end = make(LOOPBACK)
    end.setsockopt(socket.IPPROTO_TCP, _TCP_REPAIR, _ON)
    end.bind(local)
    for queue in (_SEND_QUEUE, _RECEIVE_QUEUE):
        end.setsockopt(socket.IPPROTO_TCP, _TCP_REPAIR_QUEUE, queue)
        end.setsockopt(socket.IPPROTO_TCP, _TCP_QUEUE_SEQ, 1000)
    end.settimeout(None)
    end.connect(remote)
    return end


@corner(
    "TCP_REPAIR: both ends restored, then used and closed",
    kernel="connect() in repair mode is SYN_SENT → ESTABLISHED without a packet; later all is as"
    " usual.",
    told="Two clients that name each other.",
)
def restored(stage: CornerStage) -> Check:
    here, there = (LOOPBACK, 8201), (LOOPBACK, 8202)
    one, two = _restore(here, there), _restore(there, here)
    for end in (one, two):
        end.setsockopt(socket.IPPROTO_TCP, _TCP_REPAIR, _OFF)
        end.settimeout(60)
    one.sendall(b"hello again")
    assert two.recv(11, socket.MSG_WAITALL) == b"hello again"
    close_in_turn(one, two)
    until(lambda: states_here() == {TIME_WAIT: 1}, "the end")

    def check(told: Told) -> None:
        first, second = sorted(told.lives, key=lambda life: life.local)
        assert (first.peer, second.peer) == (second.id, first.id)
        stage.source, (stage.address, stage.port) = here, there
        assert first.account() == stage.client_closed_first()
        stage.source, (stage.address, stage.port) = there, here
        assert second.account() == stage.client(
            (*CLIENT_OPENING, *CLOSED_SECOND), "remote fin", "closed"
        )

    return check


@corner(
    "TCP_REPAIR: closed in repair mode, as after a checkpoint",
    kernel="close() is ESTABLISHED → CLOSE without a packet; the other end hears nothing.",
    told="Its end has no FIN, RST or error: outcome `unknown`; the other end goes on.",
)
def checkpointed(stage: CornerStage) -> Check:
    client, server = stage.couple()
    client.setsockopt(socket.IPPROTO_TCP, _TCP_REPAIR, _ON)
    client.close()
    stage.keep(server)

    def check(told: Told) -> None:
        clients_life, servers_life = told.lives.pair()
        assert clients_life.account() == stage.client((*CLIENT_OPENING, "CLOSE"), "", "unknown")
        assert servers_life.account() == stage.accepted(SERVER_OPENING, "", "open")

    return check
