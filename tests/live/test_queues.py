"""A listener's two queues: what they refuse and lose, compared with the kernel's own counters."""

from __future__ import annotations

import errno
import itertools
from collections import Counter

import pytest

from .lives import (
    CLIENT_OPENING,
    CLOSED_FIRST,
    CLOSED_SECOND,
    SERVER_OPENING,
    Address,
    Life,
    Lives,
)
from .namespaces import without_linear_timeouts
from .packets import send_syn
from .sockets import (
    ESTABLISHED,
    SYN_RECV,
    Attempt,
    accept,
    connect,
    counters,
    first_to_read_end,
    listen,
    reset,
    states_at,
    wait_for_fin,
    wait_for_reset,
    wait_until_quiet,
)
from .stage import Played, Scenario, Script, Stage, scenario
from .waiting import until

_SECOND_NS = 1_000_000_000
_DELAY_MS = 100
_TWO_REQUESTS_FIT = 2
"""A backlog with which the SYN queue holds two requests or more, and the accept queue three."""
_UNTRACED = 9
"""A port that no test traces."""


@pytest.mark.core
def test_lives_are_what_was_done(played: Played, part: Scenario) -> None:
    played.check(part)


@scenario(waits=True)
def five_clients_of_listen_1(stage: Stage) -> Script:
    """listen(1) holds two; the SYNs of the other three are dropped until they give up."""
    namespace = stage.move_to_namespace()
    namespace.sysctl("ipv4.tcp_syn_retries", 1)
    without_linear_timeouts(namespace)
    with stage.listen(backlog=1) as listener:
        attempts = [Attempt(stage.server) for _ in range(2)]
        # Both are in the accept queue before the others come: five at once may fill the SYN queue.
        outcomes = [attempt.outcome() for attempt in attempts]
        until(lambda: states_at(stage.port, stage.address)[ESTABLISHED] == 4, "both children")
        attempts += [Attempt(stage.server) for _ in range(3)]
        outcomes += [attempt.outcome() for attempt in attempts[2:]]
        for attempt in attempts[:2]:
            server = accept(listener)
            attempt.socket.close()
            wait_for_fin(server)
            server.close()
    for attempt in attempts[2:]:
        attempt.socket.close()
    counted = counters()

    lives: Lives = yield
    assert outcomes == [0, 0, *[errno.ETIMEDOUT] * 3]
    by_source = {attempt.source: lives.with_end(attempt.source).pair() for attempt in attempts}
    assert len(lives) == 2 * len(attempts)
    for attempt in attempts[:2]:
        clients_life, servers_life = by_source[attempt.source]
        stage.source = attempt.source
        assert clients_life.account() == stage.client(
            (*CLIENT_OPENING, *CLOSED_FIRST), "local fin", "closed", time_wait="open"
        )
        assert servers_life.account() == stage.accepted(
            (*SERVER_OPENING, *CLOSED_SECOND), "remote fin", "closed"
        )
    for attempt in attempts[2:]:
        clients_life, servers_life = by_source[attempt.source]
        stage.source = attempt.source
        assert clients_life.account() == stage.client(
            ("SYN_SENT", "CLOSE"), " timeout", "timeout", syn_retransmits=1
        )
        assert servers_life.account() == stage.accepted(
            (),
            " dropped",
            "syn_dropped",
            process=None,
            drops=(("syn_accept_queue_full", 2, 1),) * 2,
        )
    assert _drops(lives) == {"syn_accept_queue_full": 6}
    assert counted["ListenOverflows"] == 6
    assert counted["ListenDrops"] == 6


@scenario(waits=True)
def final_ack_dropped(stage: Stage) -> Script:
    """Two handshakes race for the last place: the loser's final ACK is dropped, then taken."""
    stage.move_to_namespace().delay("lo", _DELAY_MS)
    with stage.listen(_TWO_REQUESTS_FIT) as listener:
        first = [connect(stage.server) for _ in range(2)]
        attempts = [Attempt(stage.server) for _ in range(2)]
        assert [attempt.outcome() for attempt in attempts] == [0, 0]
        until(lambda: counters()["ListenOverflows"], "the final ACK to be dropped")
        servers = [accept(listener) for _ in range(4)]
        counted = counters()
    for client, server in zip(
        [*first, *[attempt.socket for attempt in attempts]], servers, strict=True
    ):
        client.close()
        wait_for_fin(server)
        server.close()

    lives: Lives = yield
    assert len(lives.pairs()) == 4
    stage.source = attempts[1].source
    clients_life, servers_life = lives.with_end(stage.source).pair()
    assert clients_life.account() == stage.client(
        (*CLIENT_OPENING, *CLOSED_FIRST), "local fin", "closed", time_wait="open"
    )
    assert servers_life.account() == stage.accepted(
        (*SERVER_OPENING, *CLOSED_SECOND),
        "remote fin",
        "closed",
        synack_retransmits=1,
        drops=(("ack_accept_queue_full", 3, 2),),
    )
    assert clients_life.handshake["duration_ns"] < 0.9 * _SECOND_NS
    assert servers_life.told["syn_queue_wait_ns"] > 0.9 * _SECOND_NS
    assert _drops(lives) == {"ack_accept_queue_full": 1}
    assert counted["ListenOverflows"] == 1
    assert counted["ListenDrops"] == 1


@scenario(waits=True)
def final_ack_answered_with_a_reset(stage: Stage) -> Script:
    """The same with tcp_abort_on_overflow: the loser's final ACK is answered with a RST."""
    namespace = stage.move_to_namespace()
    namespace.sysctl("ipv4.tcp_abort_on_overflow", 1)
    namespace.delay("lo", _DELAY_MS)
    with stage.listen(_TWO_REQUESTS_FIT) as listener:
        first = [connect(stage.server) for _ in range(2)]
        attempts = [Attempt(stage.server) for _ in range(2)]
        assert [attempt.outcome() for attempt in attempts] == [0, 0]
        # Which of the two comes too late is the emulated CPUs' choice.
        reset_socket = first_to_read_end([attempt.socket for attempt in attempts])
        wait_for_reset(reset_socket)
        winner, loser = sorted(attempts, key=lambda attempt: attempt.socket is reset_socket)
        servers = [accept(listener) for _ in range(3)]
        counted = counters()
    for client, server in zip([*first, winner.socket], servers, strict=True):
        client.close()
        wait_for_fin(server)
        server.close()
    loser.socket.close()

    lives: Lives = yield
    assert len(lives.pairs()) == 4
    stage.source = loser.source
    clients_life, servers_life = lives.with_end(stage.source).pair()
    assert clients_life.account() == stage.client(
        (*CLIENT_OPENING, "CLOSE"), "remote rst_received", "reset"
    )
    assert servers_life.account() == stage.accepted(
        ("NEW_SYN_RECV", "CLOSE"),
        "local rst_sent",
        "reset",
        process=None,
        drops=(("abort_on_overflow", 3, 2),),
    )
    assert _drops(lives) == {"abort_on_overflow": 1}
    assert counted["ListenOverflows"] == 1
    assert counted["ListenDrops"] == 1


@scenario(waits=True)
def syn_queue_full_without_cookies(stage: Stage) -> Script:
    """One SYN too many at once is dropped, and answered when it comes again."""
    namespace = stage.move_to_namespace()
    namespace.sysctl("ipv4.tcp_syncookies", 0)
    namespace.add_hole("10.9.2.1")
    fit = _requests_that_fit(_TWO_REQUESTS_FIT, ("10.9.2.1", _UNTRACED))
    before = counters()
    namespace.delay("lo", _DELAY_MS)
    with stage.listen(_TWO_REQUESTS_FIT) as listener:
        attempts = [Attempt(stage.server) for _ in range(fit + 1)]
        servers = [accept(listener) for _ in attempts]
        assert [attempt.outcome() for attempt in attempts] == [0] * (fit + 1)
        counted = counters() - before
    for attempt, server in zip(attempts, servers, strict=True):
        attempt.socket.close()
        wait_for_fin(server)
        server.close()

    lives: Lives = yield
    assert len(lives.pairs()) == fit + 1
    stage.source = attempts[-1].source
    clients_life, servers_life = lives.with_end(stage.source).pair()
    assert clients_life.account() == stage.client(
        (*CLIENT_OPENING, *CLOSED_FIRST),
        "local fin",
        "closed",
        time_wait="open",
        syn_retransmits=1,
    )
    assert servers_life.account() == stage.accepted(
        (*SERVER_OPENING, *CLOSED_SECOND),
        "remote fin",
        "closed",
        drops=(("syn_syn_queue_full", 0, _TWO_REQUESTS_FIT),),
    )
    (drop,) = servers_life.told["drops"]
    assert drop["syn_queue_len"] == fit
    assert _drops(lives) == {"syn_syn_queue_full": 1}
    assert counted["TCPReqQFullDrop"] == 1
    assert counted["ListenDrops"] == 1


@scenario()
def answered_with_cookies(stage: Stage) -> Script:
    """With a cookie nothing is kept of the SYN: the server's life begins with the final ACK."""
    stage.move_to_namespace().sysctl("ipv4.tcp_syncookies", 2)
    with stage.listen(backlog=1) as listener:
        client = stage.connect()
        server = accept(listener)
        counted = counters()
    client.close()
    wait_for_fin(server)
    server.close()

    lives: Lives = yield
    assert counted["SyncookiesSent"] == 1
    assert counted["SyncookiesRecv"] == 1
    clients_life, servers_life = lives.pair()
    assert clients_life.account() == stage.client(
        (*CLIENT_OPENING, *CLOSED_FIRST), "local fin", "closed", time_wait="open"
    )
    assert servers_life.account() == stage.accepted(
        ("SYN_RECV", "ESTABLISHED", *CLOSED_SECOND), "remote fin", "closed"
    )


@scenario(waits=True)
def final_ack_never_comes(stage: Stage) -> Script:
    """The SYN-ACKs vanish: the request ends with its last timer."""
    namespace = stage.move_to_namespace()
    namespace.sysctl("ipv4.tcp_synack_retries", 1)
    stage.address, stage.source = "10.9.2.1", ("10.9.2.2", 1234)
    namespace.add_hole(stage.address)
    with stage.listen():
        send_syn(stage.source, stage.server)
        until(lambda: counters()["TCPTimeouts"] == 2, "the SYN-ACK's last timer")

    lives: Lives = yield
    life = lives.only()
    assert life.account() == stage.accepted(
        ("NEW_SYN_RECV", "CLOSE"), " expired", "expired", process=None, synack_retransmits=1
    )
    assert life.duration_ns("NEW_SYN_RECV") > 2.5 * _SECOND_NS


@scenario()
def half_open_reset(stage: Stage) -> Script:
    """The SYN-ACK reaches a host that knows nothing of it, and is answered with a RST."""
    stage.move_to_namespace()
    stage.source = ("127.0.0.1", 1234)
    with stage.listen():
        send_syn(stage.source, stage.server)
        until(lambda: counters()["EmbryonicRsts"] == 1, "the RST")

    lives: Lives = yield
    life = lives.only()
    assert life.account() == stage.accepted(
        ("NEW_SYN_RECV", "CLOSE"), "remote rst_received", "half_open_reset", process=None
    )


@scenario()
def listener_closed_with_connections_pending(stage: Stage) -> Script:
    """Established, never accepted: closing the listener resets them."""
    with stage.listen() as listener:
        clients = [connect(stage.server) for _ in range(3)]
        taken = accept(listener)
    wait_for_reset(clients[1])
    wait_for_reset(clients[2])
    sources = [client.getsockname() for client in clients]
    for client in clients:
        client.close()
    wait_for_fin(taken)
    taken.close()

    lives: Lives = yield
    assert len(lives.pairs()) == 3
    for source in sources[1:]:
        stage.source = source
        clients_life, servers_life = lives.with_end(source).pair()
        assert clients_life.account() == stage.client(
            (*CLIENT_OPENING, "CLOSE"), "remote rst_received", "reset"
        )
        assert servers_life.account() == stage.accepted(
            (*SERVER_OPENING, "CLOSE"), "local listener_closed", "never_accepted", process=None
        )
        assert servers_life.told["accept_wait_ns"] is None


@scenario()
def client_resets_before_accept(stage: Stage) -> Script:
    with stage.listen():
        reset(stage.connect())
        wait_until_quiet(stage.port, stage.address)

    lives: Lives = yield
    clients_life, servers_life = lives.pair()
    assert clients_life.account() == stage.client(
        (*CLIENT_OPENING, "CLOSE"), "local rst_sent", "reset"
    )
    assert servers_life.account() == stage.accepted(
        (*SERVER_OPENING, "CLOSE"), "remote rst_received", "reset", process=None
    )
    assert servers_life.told["accept_wait_ns"] is None


def _requests_that_fit(backlog: int, server: Address) -> int:
    """How many the SYN queue takes, by trying: one fewer before 6.1 than from then on."""
    with listen(server, backlog):
        for number in itertools.count(1):
            send_syn(("10.9.2.2", number), server)
            until(lambda: _queued_or_refused(server) == number, "the SYN to be judged")  # noqa: B023
            if counters()["TCPReqQFullDrop"]:
                return number - 1
    raise AssertionError


def _queued_or_refused(server: Address) -> int:
    queued = states_at(server[1], server[0])[SYN_RECV]
    return queued + counters()["TCPReqQFullDrop"]


def _drops(lives: Lives) -> Counter[str]:
    """How many drops of each stage the lives tell."""

    def stages(life: Life) -> list[str]:
        return [drop["stage"] for drop in life.told["drops"]]

    return Counter(stage for life in lives for stage in stages(life))
