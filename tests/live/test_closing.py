"""Who closes a connection, and how: the lives of both ends equal what was done to them."""

from __future__ import annotations

import socket
import time
from dataclasses import replace
from typing import Any

import pytest

from .lives import CLIENT_OPENING, CLOSED_FIRST, CLOSED_SECOND, SERVER_OPENING, Lives
from .sockets import (
    CLOSING,
    FIN_WAIT2,
    accept,
    reset,
    state_of,
    wait_for_fin,
    wait_for_reset,
)
from .stage import Played, Scenario, Script, Stage, scenario
from .waiting import until


@pytest.mark.core
def test_lives_are_what_was_done(played: Played, part: Scenario) -> None:
    played.check(part)


@scenario()
def client_closes_first(stage: Stage) -> Script:
    client, server = stage.couple()
    client.close()
    wait_for_fin(server)
    server.close()

    lives: Lives = yield
    clients_life, servers_life = lives.pair()
    assert clients_life.account() == stage.client(
        (*CLIENT_OPENING, *CLOSED_FIRST), "local fin", "closed", time_wait="open"
    )
    assert servers_life.account() == stage.accepted(
        (*SERVER_OPENING, *CLOSED_SECOND), "remote fin", "closed"
    )


@scenario()
def server_closes_first(stage: Stage) -> Script:
    client, server = stage.couple()
    server.close()
    wait_for_fin(client)
    client.close()

    lives: Lives = yield
    clients_life, servers_life = lives.pair()
    assert clients_life.account() == stage.client(
        (*CLIENT_OPENING, *CLOSED_SECOND), "remote fin", "closed"
    )
    assert servers_life.account() == stage.accepted(
        (*SERVER_OPENING, *CLOSED_FIRST), "local fin", "closed", time_wait="open"
    )


@scenario()
def data_goes_both_ways_before_the_end(stage: Stage) -> Script:
    client, server = stage.couple()
    for _ in range(20):
        client.sendall(b"?" * 1000)
        server.recv(1000, socket.MSG_WAITALL)
        server.sendall(b"!" * 10_000)
        client.recv(10_000, socket.MSG_WAITALL)
    client.close()
    wait_for_fin(server)
    server.close()

    lives: Lives = yield
    clients_life, servers_life = lives.pair()
    assert clients_life.account() == stage.client(
        (*CLIENT_OPENING, *CLOSED_FIRST), "local fin", "closed", time_wait="open"
    )
    assert servers_life.account() == stage.accepted(
        (*SERVER_OPENING, *CLOSED_SECOND), "remote fin", "closed"
    )


@scenario(waits=True)
def both_close_at_once(stage: Stage) -> Script:
    """Each FIN is on its way when the other leaves: both ends pass CLOSING."""
    stage.move_to_namespace().delay("lo", milliseconds=150)
    client, server = stage.couple()
    client.shutdown(socket.SHUT_WR)
    server.shutdown(socket.SHUT_WR)
    passed = until(
        lambda: {state_of(client), state_of(server)} & {CLOSING}, "an end to pass CLOSING"
    )
    client.close()
    server.close()

    lives: Lives = yield
    assert passed == {CLOSING}
    crossed = ("FIN_WAIT1", "CLOSING", "TIME_WAIT")
    clients_life, servers_life = lives.pair()
    assert clients_life.account() == stage.client(
        (*CLIENT_OPENING, *crossed), "both fin", "closed", time_wait="open"
    )
    assert servers_life.account() == stage.accepted(
        (*SERVER_OPENING, *crossed), "both fin", "closed", time_wait="open"
    )


@scenario()
def client_half_closes(stage: Stage) -> Script:
    """The client has said all; the server goes on for a while."""
    client, server = stage.couple()
    half_closing_ns = time.monotonic_ns()
    client.shutdown(socket.SHUT_WR)
    wait_for_fin(server)
    half_closed_ns = time.monotonic_ns()
    for _ in range(30):
        server.sendall(b"still here")
        client.recv(10, socket.MSG_WAITALL)
    ending_ns = time.monotonic_ns()
    server.close()
    wait_for_fin(client)
    ended_ns = time.monotonic_ns()
    client.close()

    lives: Lives = yield
    clients_life, servers_life = lives.pair()
    assert clients_life.account() == stage.client(
        (*CLIENT_OPENING, *CLOSED_FIRST), "local fin", "closed", time_wait="open"
    )
    assert servers_life.account() == stage.accepted(
        (*SERVER_OPENING, *CLOSED_SECOND), "remote fin", "closed"
    )
    assert half_closing_ns <= clients_life.entered_ns("FIN_WAIT1") <= half_closed_ns
    assert half_closing_ns <= servers_life.entered_ns("CLOSE_WAIT") <= half_closed_ns
    assert ending_ns <= servers_life.entered_ns("LAST_ACK") <= ended_ns
    assert ending_ns <= clients_life.entered_ns("TIME_WAIT") <= ended_ns


@scenario()
def server_half_closes(stage: Stage) -> Script:
    client, server = stage.couple()
    server.shutdown(socket.SHUT_WR)
    wait_for_fin(client)
    client.sendall(b"still here")
    server.recv(10, socket.MSG_WAITALL)
    client.close()
    wait_for_fin(server)
    server.close()

    lives: Lives = yield
    clients_life, servers_life = lives.pair()
    assert clients_life.account() == stage.client(
        (*CLIENT_OPENING, *CLOSED_SECOND), "remote fin", "closed"
    )
    assert servers_life.account() == stage.accepted(
        (*SERVER_OPENING, *CLOSED_FIRST), "local fin", "closed", time_wait="open"
    )


@scenario()
def client_resets(stage: Stage) -> Script:
    client, server = stage.couple()
    reset(client)
    wait_for_reset(server)
    server.close()

    lives: Lives = yield
    clients_life, servers_life = lives.pair()
    assert clients_life.account() == stage.client(
        (*CLIENT_OPENING, "CLOSE"), "local rst_sent", "reset"
    )
    assert servers_life.account() == stage.accepted(
        (*SERVER_OPENING, "CLOSE"), "remote rst_received", "reset"
    )


@scenario()
def server_resets(stage: Stage) -> Script:
    client, server = stage.couple()
    reset(server)
    wait_for_reset(client)
    client.close()

    lives: Lives = yield
    clients_life, servers_life = lives.pair()
    assert clients_life.account() == stage.client(
        (*CLIENT_OPENING, "CLOSE"), "remote rst_received", "reset"
    )
    assert servers_life.account() == stage.accepted(
        (*SERVER_OPENING, "CLOSE"), "local rst_sent", "reset"
    )


@scenario()
def server_leaves_data_unread(stage: Stage) -> Script:
    """close() with unread data answers with a RST."""
    client, server = stage.couple()
    client.sendall(b"never read")
    server.recv(1, socket.MSG_PEEK)
    server.close()
    wait_for_reset(client)
    client.close()

    lives: Lives = yield
    clients_life, servers_life = lives.pair()
    assert clients_life.account() == stage.client(
        (*CLIENT_OPENING, "CLOSE"), "remote rst_received", "reset"
    )
    assert servers_life.account() == stage.accepted(
        (*SERVER_OPENING, "CLOSE"), "local rst_sent", "reset"
    )


@scenario()
def client_resets_after_the_servers_fin(stage: Stage) -> Script:
    """A FIN came first: who closed first is the server, though the end is a RST."""
    client, server = stage.couple()
    server.shutdown(socket.SHUT_WR)
    wait_for_fin(client)
    until(lambda: state_of(server) == FIN_WAIT2, "the server's FIN to be acknowledged")
    reset(client)
    wait_for_reset(server)
    server.close()

    lives: Lives = yield
    clients_life, servers_life = lives.pair()
    assert clients_life.states == (*CLIENT_OPENING, "CLOSE_WAIT", "CLOSE")
    assert servers_life.states == (*SERVER_OPENING, "FIN_WAIT1", "FIN_WAIT2", "CLOSE")
    assert clients_life.told["closed"] == {"by": "remote", "how": "rst_sent"}
    assert servers_life.told["closed"] == {"by": "local", "how": "rst_received"}


@scenario()
def nobody_closes(stage: Stage) -> Script:
    """Still open when the trace ends: told all the same."""
    client, server = stage.couple()
    stage.keep(client, server)

    lives: Lives = yield
    clients_life, servers_life = lives.pair()
    assert clients_life.account() == stage.client(CLIENT_OPENING, "", "open")
    assert servers_life.account() == stage.accepted(SERVER_OPENING, "", "open")
    assert clients_life.told["states"][-1]["duration_ns"] is None
    assert servers_life.told["states"][-1]["duration_ns"] is None


@scenario(begins_before=True)
def established_before_the_trace(stage: Stage) -> Script:
    """The trace begins in the middle: what wasn't seen isn't told."""
    client, server = stage.couple()
    yield
    client.close()
    wait_for_fin(server)
    server.close()

    lives: Lives = yield
    unseen: dict[str, Any] = {
        "role": "unknown",
        "process": None,
        "partial": True,
        "partial_reasons": ("began_before",),
    }
    clients_life, servers_life = sorted(lives, key=lambda life: life.local[1] == stage.port)
    assert clients_life.account() == stage.client(
        ("ESTABLISHED", *CLOSED_FIRST), "local fin", "closed", time_wait="open", **unseen
    )
    assert servers_life.account() == replace(
        stage.accepted(("ESTABLISHED", *CLOSED_SECOND), "remote fin", "closed"),
        listening_process=None,
        **unseen,
    )
    for life in clients_life, servers_life:
        assert life.told["states"][0]["at_ns"] is None
        assert life.told["states"][0]["duration_ns"] is None
        assert life.handshake["syn_at_ns"] is None
        assert life.handshake["established_at_ns"] is None


@scenario()
def the_same_ports_thrice(stage: Stage) -> Script:
    """The same two ends, three lives one after the other: never joined into one."""
    with stage.listen() as listener:
        for _ in range(3):
            client = stage.connect(source_port=stage.source[1])
            server = accept(listener)
            reset(client)
            wait_for_reset(server)
            server.close()

    lives: Lives = yield
    pairs = lives.pairs()
    assert len(pairs) == 3
    for clients_life, servers_life in pairs:
        assert clients_life.account() == stage.client(
            (*CLIENT_OPENING, "CLOSE"), "local rst_sent", "reset"
        )
        assert servers_life.account() == stage.accepted(
            (*SERVER_OPENING, "CLOSE"), "remote rst_received", "reset"
        )
