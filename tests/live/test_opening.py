"""How a connection begins, or fails to: the lives equal what was done."""

from __future__ import annotations

import errno
import time
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING

import pytest

from .lives import (
    CLIENT_OPENING,
    CLOSED_FIRST,
    CLOSED_SECOND,
    SERVER_OPENING,
    Address,
    Lives,
    Process,
    ends_of_timewait,
)
from .namespaces import without_linear_timeouts
from .sockets import (
    Attempt,
    accept,
    connect,
    in_thread,
    is_in_accept,
    listen,
    retransmits_of,
    wait_for_fin,
)
from .stage import Played, Scenario, Script, Stage, scenario
from .waiting import DEADLINE_S, until

if TYPE_CHECKING:
    from socket import socket

_SECOND_NS = 1_000_000_000
_MANY = 20


@pytest.mark.core
def test_lives_are_what_was_done(played: Played, part: Scenario) -> None:
    played.check(part)


@scenario()
def refused(stage: Stage) -> Script:
    """Nobody listens."""
    attempt = Attempt(stage.server)
    stage.source = attempt.source
    error = attempt.outcome()
    attempt.socket.close()

    lives: Lives = yield
    assert error == errno.ECONNREFUSED
    assert lives.only().account() == stage.client(
        ("SYN_SENT", "CLOSE"), "remote refused", "refused"
    )


@scenario(waits=True)
def connect_times_out(stage: Stage) -> Script:
    """Every SYN vanishes: the interface is a dummy."""
    namespace = stage.move_to_namespace()
    stage.address = "10.9.1.2"
    namespace.add_hole("10.9.1.1")
    namespace.sysctl("ipv4.tcp_syn_retries", 1)
    without_linear_timeouts(namespace)
    began_ns = time.monotonic_ns()
    attempt = Attempt(stage.server, source="10.9.1.1")
    stage.source = attempt.source
    error = attempt.outcome()
    took_ns = time.monotonic_ns() - began_ns
    retransmits = retransmits_of(attempt.socket)
    attempt.socket.close()

    lives: Lives = yield
    assert error == errno.ETIMEDOUT
    assert retransmits == 1
    life = lives.only()
    assert life.account() == stage.client(
        ("SYN_SENT", "CLOSE"), " timeout", "timeout", syn_retransmits=retransmits
    )
    assert 2 * _SECOND_NS < life.duration_ns("SYN_SENT") <= took_ns


@scenario(waits=True)
def syn_retransmitted_then_answered(stage: Stage) -> Script:
    """The accept queue is full for the first SYN and has room for the second."""
    with stage.listen(backlog=0) as listener:
        first = connect(stage.server)
        attempt = Attempt(stage.server)
        stage.source = attempt.source
        firsts_server = accept(listener)
        assert attempt.outcome() == 0
        server = accept(listener)
    first.close()
    wait_for_fin(firsts_server)
    firsts_server.close()
    attempt.socket.close()
    wait_for_fin(server)
    server.close()

    lives: Lives = yield
    assert len(lives) == 4
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
        drops=(("syn_accept_queue_full", 1, 0),),
    )
    assert clients_life.handshake["duration_ns"] > 0.9 * _SECOND_NS
    assert servers_life.handshake["duration_ns"] > 0.9 * _SECOND_NS
    assert servers_life.told["syn_queue_wait_ns"] < 0.9 * _SECOND_NS


@scenario(waits=True)
def waits_for_accept(stage: Stage) -> Script:
    """The accept loop stalls: the wait in the accept queue is told apart from the handshake."""
    with stage.listen() as listener:
        connecting_ns = time.monotonic_ns()
        client = stage.connect()
        connected_ns = time.monotonic_ns()
        until(lambda: time.monotonic_ns() > connected_ns + _SECOND_NS // 2, "half a second")
        accepting_ns = time.monotonic_ns()
        server = accept(listener)
        accepted_ns = time.monotonic_ns()
    client.close()
    wait_for_fin(server)
    server.close()

    lives: Lives = yield
    clients_life, servers_life = lives.pair()
    assert servers_life.account() == stage.accepted(
        (*SERVER_OPENING, *CLOSED_SECOND), "remote fin", "closed"
    )
    for life in clients_life, servers_life:
        assert connecting_ns <= life.handshake["syn_at_ns"]
        assert life.handshake["syn_at_ns"] < life.handshake["established_at_ns"] <= connected_ns
    assert clients_life.told["accept_wait_ns"] is None
    wait_ns = servers_life.told["accept_wait_ns"]
    assert accepting_ns - connected_ns <= wait_ns <= accepted_ns - connecting_ns
    assert 0 <= servers_life.told["syn_queue_wait_ns"] <= connected_ns - connecting_ns


@scenario()
def threads_are_named_by_their_process(stage: Stage) -> Script:
    """The pid is the process's, the comm that of the thread that called."""
    accepted = []
    with stage.listen() as listener:

        def serve() -> None:
            Path("/proc/thread-self/comm").write_text("the-server")
            accepted.append(accept(listener))

        thread = in_thread(serve)
        client = stage.connect()
        thread.join()
    (server,) = accepted
    client.close()
    wait_for_fin(server)
    server.close()

    lives: Lives = yield
    clients_life, servers_life = lives.pair()
    assert clients_life.process == stage.process
    assert servers_life.process == Process(stage.process.pid, "the-server")
    assert Process.told(servers_life.told["listening_process"]) == stage.process


@scenario(begins_before=True)
def accept_blocked_before_the_trace(stage: Stage) -> Script:
    """The call that takes the connection began before the probes were there."""
    accepted = []
    listener = stage.listen()
    listener.settimeout(None)
    thread = in_thread(lambda: accepted.append(accept(listener)))
    until(lambda: is_in_accept(thread.native_id), "the server to block in accept()")
    yield
    before_ns = time.monotonic_ns()
    client = stage.connect()
    thread.join()
    after_ns = time.monotonic_ns()
    listener.close()
    (server,) = accepted
    client.close()
    wait_for_fin(server)
    server.close()

    lives: Lives = yield
    _, servers_life = lives.pair()
    assert servers_life.account() == stage.accepted(
        (*SERVER_OPENING, *CLOSED_SECOND), "remote fin", "closed", listening_process=None
    )
    assert 0 <= servers_life.told["accept_wait_ns"] <= after_ns - before_ns


@scenario(begins_before=True)
def pool_of_200_blocked_before_the_trace(stage: Stage) -> Script:
    """More blocked calls than any default of maxactive: none is missed."""
    size = 200
    listener = stage.listen()
    listener.settimeout(None)
    served: SimpleQueue[None] = SimpleQueue()

    def serve() -> None:
        with accept(listener) as server:
            wait_for_fin(server)
        served.put(None)

    threads = [in_thread(serve) for _ in range(size)]
    until(
        lambda: all(is_in_accept(thread.native_id) for thread in threads),
        "the pool to block in accept()",
    )
    yield
    for _ in range(size):
        connect(stage.server).close()
        served.get(timeout=DEADLINE_S)
    listener.close()

    lives: Lives = yield
    pairs = lives.pairs()
    assert len(pairs) == size
    whole = (*CLIENT_OPENING, *CLOSED_FIRST)
    for clients_life, servers_life in pairs:
        stage.source = clients_life.local
        # How TIME_WAIT ends is another test's: here it may last, or run out, or be taken over.
        assert clients_life.states[: len(whole)] == whole
        assert (clients_life.outcome, clients_life.partial) == ("closed", False)
        assert servers_life.account() == stage.accepted(
            (*SERVER_OPENING, *CLOSED_SECOND), "remote fin", "closed", listening_process=None
        )
        assert servers_life.told["accept_wait_ns"] is not None


@scenario()
def twenty_over_ipv6(stage: Stage) -> Script:
    stage.address = "::1"
    sources = _meet_many(stage, listen((stage.address, stage.port)), stage.address)

    lives: Lives = yield
    _compare_many(stage, lives, sources, family="ipv6")


@scenario()
def twenty_v4_mapped(stage: Stage) -> Script:
    """IPv4 clients of a dual-stack listener: the server's socket is an IPv6 one."""
    stage.move_to_namespace()
    sources = _meet_many(stage, listen(("::", stage.port)), stage.address)

    lives: Lives = yield
    _compare_many(stage, lives, sources, v4_mapped=True)


def _meet_many(stage: Stage, listener: socket, address: str) -> list[Address]:
    """Connects and closes a number of times; returns the clients' ends."""
    sources = []
    with listener:
        for _ in range(_MANY):
            client = connect((address, stage.port))
            sources.append(client.getsockname()[:2])
            server = accept(listener)
            client.close()
            wait_for_fin(server)
            server.close()
    return sources


def _compare_many(
    stage: Stage,
    lives: Lives,
    sources: list[Address],
    *,
    family: str = "ipv4",
    v4_mapped: bool = False,
) -> None:
    pairs = lives.pairs()
    assert [clients_life.local for clients_life, _ in pairs] == sources
    ends = ends_of_timewait([clients_life for clients_life, _ in pairs])
    for (clients_life, servers_life), (after, end) in zip(pairs, ends, strict=True):
        stage.source = clients_life.local
        assert clients_life.account() == stage.client(
            (*CLIENT_OPENING, *CLOSED_FIRST, *after),
            "local fin",
            "closed",
            time_wait=end,
            family=family,
        )
        assert servers_life.account() == stage.accepted(
            (*SERVER_OPENING, *CLOSED_SECOND),
            "remote fin",
            "closed",
            family=family,
            v4_mapped=v4_mapped,
        )
