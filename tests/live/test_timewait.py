"""TIME_WAIT cut short: by a SYN from the same port, by a connect() from the same port.

How its own timer ends it is in test_collector, whose traces last long enough.
"""

from __future__ import annotations

import time

import pytest

from .lives import CLIENT_OPENING, CLOSED_FIRST, CLOSED_SECOND, SERVER_OPENING, Lives
from .sockets import accept, wait_for_fin
from .stage import Played, Scenario, Script, Stage, scenario
from .waiting import until

_REUSED_AND_OPEN = (((*CLOSED_FIRST, "CLOSE"), "reused"), (CLOSED_FIRST, "open"))


@pytest.mark.core
def test_lives_are_what_was_done(played: Played, part: Scenario) -> None:
    played.check(part)


@scenario()
def reused_by_a_syn(stage: Stage) -> Script:
    """The server closed first; the client comes again from the same port."""
    with stage.listen() as listener:
        for _ in range(2):
            client = stage.connect(source_port=stage.source[1])
            server = accept(listener)
            server.close()
            wait_for_fin(client)
            client.close()

    lives: Lives = yield
    pairs = lives.pairs()
    for (clients_life, servers_life), (states, end) in zip(pairs, _REUSED_AND_OPEN, strict=True):
        assert clients_life.account() == stage.client(
            (*CLIENT_OPENING, *CLOSED_SECOND), "remote fin", "closed"
        )
        assert servers_life.account() == stage.accepted(
            (*SERVER_OPENING, *states), "local fin", "closed", time_wait=end
        )
    (_, reused), (_, after) = pairs
    left_ns = reused.entered_ns("TIME_WAIT") + reused.duration_ns("TIME_WAIT")
    assert 0 <= after.entered_ns("NEW_SYN_RECV") - left_ns < 100_000_000


@scenario(waits=True)
def reused_by_connect(stage: Stage) -> Script:
    """The client closed first, and takes the same port again (tcp_tw_reuse)."""
    with stage.listen() as listener:
        for _ in range(2):
            client = stage.connect(source_port=stage.source[1])
            server = accept(listener)
            client.close()
            wait_for_fin(server)
            server.close()
            _wait_for_a_new_timestamp()

    lives: Lives = yield
    pairs = lives.pairs()
    for (clients_life, servers_life), (states, end) in zip(pairs, _REUSED_AND_OPEN, strict=True):
        assert clients_life.account() == stage.client(
            (*CLIENT_OPENING, *states), "local fin", "closed", time_wait=end
        )
        assert servers_life.account() == stage.accepted(
            (*SERVER_OPENING, *CLOSED_SECOND), "remote fin", "closed"
        )
    (reused, _), (after, _) = pairs
    left_ns = reused.entered_ns("TIME_WAIT") + reused.duration_ns("TIME_WAIT")
    assert abs(after.entered_ns("SYN_SENT") - left_ns) < 100_000_000


def _wait_for_a_new_timestamp() -> None:
    """Waits until the connection's last timestamp is a whole second old: see tcp_twsk_unique."""
    now = time.monotonic()
    until(lambda: time.monotonic() > now + 2, "two seconds to go by")
