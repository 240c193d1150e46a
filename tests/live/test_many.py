"""Two thousand connections in a row: every life is told, whole, and none is forgotten."""

from __future__ import annotations

from collections import Counter

from .lives import CLIENT_OPENING, CLOSED_FIRST, CLOSED_SECOND, SERVER_OPENING
from .sockets import (
    LOOPBACK,
    accept,
    connect,
    listen,
    this_process,
    wait_for_fin,
    wait_until_quiet,
)
from .traced import Trace

_MANY = 2000


def test_two_thousand_connections_in_a_row(attach: str, port: int) -> None:
    with Trace("port", str(port), "--json", "--attach", attach) as trace:
        trace.wait_until_tracing()
        sources = _connect_many(port)
        trace.wait_for(lambda lives: len(lives.of("server")) == _MANY, "the servers' lives")
        lives = trace.end()

    partial = [life for life in lives if life.partial]
    assert not partial, f"{len(partial)} partial of {len(lives)}, such as {partial[:3]}"
    pairs = lives.pairs()
    assert [clients_life.local[1] for clients_life, _ in pairs] == sources
    assert Counter(life.account().states for life in lives) == {
        (*CLIENT_OPENING, *CLOSED_FIRST): _MANY,
        (*SERVER_OPENING, *CLOSED_SECOND): _MANY,
    }
    assert {life.told["time_wait"]["end"] for life in lives.of("client")} == {None}
    assert all(life.told["accept_wait_ns"] is not None for life in lives.of("server"))
    assert all(life.process == this_process() for life in lives)


def _connect_many(port: int) -> list[int]:
    """Connects again and again, the client closing first; returns the clients' ports."""
    sources = []
    with listen((LOOPBACK, port)) as listener:
        for _ in range(_MANY):
            client = connect((LOOPBACK, port))
            sources.append(client.getsockname()[1])
            with accept(listener) as server:
                client.close()
                wait_for_fin(server)
    wait_until_quiet(port, LOOPBACK)
    return sources
