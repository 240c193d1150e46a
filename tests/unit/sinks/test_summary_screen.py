from __future__ import annotations

from tcptrace.lifecycle.connection import Connection, Listener, Process, Role
from tcptrace.lifecycle.summary import Summary
from tcptrace.sinks.summary import TraceFacts, render_summary
from tcptrace.sinks.terminal import Paint
from tcptrace.wire.events import Stage
from tcptrace.wire.head import Losses
from unit import samples


def screen(
    lives: list[Connection], listeners: list[Listener], losses: Losses = samples.NO_LOSSES
) -> str:
    summary = Summary()
    for life in lives:
        summary.add(life)
    summary.add_listeners(listeners)
    facts = TraceFacts(samples.head(), losses, 32 * samples.S, 2 * bool(losses.lost_records))
    return render_summary(summary, facts, Paint(enabled=False), 100)


def test_the_whole_screen() -> None:
    assert screen(samples.every_life(), [samples.listener()]).splitlines() == [
        "8 connections in 32.0s · port 8080",
        "  server              5   closed 3 · SYN dropped 1 · unaccepted 1",
        "  client              2   closed 1 · refused 1",
        "  role unseen         1   still open 1",
        "  still open  CLOSE_WAIT 1",
        "  CLOSE_WAIT  closed by the peer, still held by nginx[1234] ×1",
        "                           count     p50     p99     max",
        "  handshake, server            4   112µs   1.02s   1.02s",
        "  handshake, client            1   3.06s   3.06s   3.06s",
        "  wait in SYN queue            4   102µs   102µs   102µs",
        "  wait in accept queue         3   1.2ms   1.2ms   1.2ms",
        "  listener 0.0.0.0:8080 nginx[1234]",
        "    accept queue peak 2/1 FULL, SYN queue peak 1/1",
        "    ✗ 12 × final ACK dropped: accept queue full",
        "    ✗ 4 × SYN dropped: accept queue full",
        "  retransmitted: 2 SYNs, 2 SYN-ACKs",
        "  1 partial life: 1 began before the trace",
    ]


def test_nobody_holds_what_waits_for_accept() -> None:
    waits = samples.leaked()
    waits.role, waits.queued_at_ns, waits.process = Role.SERVER, samples.START, None
    told = screen([samples.leaked(), waits], []).splitlines()
    assert told[4:6] == [
        "  CLOSE_WAIT  closed by the peer, still held by nginx[1234] ×1",
        "  CLOSE_WAIT  closed by the peer, waiting for accept() ×1",
    ]


def test_a_syn_queue_that_cookies_stand_in_for_is_full() -> None:
    listener = samples.listener()
    listener.drops, listener.accept_queue_limit, listener.syn_queue_peak = {}, 16, 17
    assert "SYN queue peak 17/16\n" in screen([], [listener]) + "\n"
    listener.cookies_sent = 1
    assert "SYN queue peak 17/16 FULL\n" in screen([], [listener])
    listener.syn_queue_peak = 3  # net.ipv4.tcp_syncookies is 2
    assert "SYN queue peak 3/16\n" in screen([], [listener])


def test_an_empty_trace() -> None:
    assert screen([], []) == "0 connections in 32.0s · port 8080"


def test_what_was_missed_is_told() -> None:
    by_hook = {"tcp_connect": 11, "tcp_reset": 1}
    text = screen([], [], Losses(12, {"tcp_set_state": 3}, ("tcp_fin",), by_hook))
    assert "12 records lost: the ring was full" in text
    assert "of hooks: tcp_connect 11 · tcp_reset 1" in text
    assert "skipped probe runs: tcp_set_state 3" in text
    assert "1 hook uncounted" in text
    assert "2 records fitted no life" in text


def test_many_listeners_show_the_troubled_ones() -> None:
    quiet = [Listener(1, samples.endpoint("::", 9000 + number)) for number in range(30)]
    text = screen([], [*quiet, samples.listener()])
    assert "listener 0.0.0.0:8080" in text
    assert "and 21 listeners more, with no more trouble" in text


def test_listeners_closed_long_ago_are_one() -> None:
    oldest = Listener(0, samples.endpoint("::", 0), folded=12, drops={Stage.OTHER: 3})
    lines = screen([], [oldest, samples.listener()]).splitlines()
    assert lines[-2:] == [
        "  12 listeners closed before those",
        "    ✗ 3 × dropped: no memory, no route or not allowed",
    ]


def test_hostile_names_are_escaped() -> None:
    listener = samples.listener()
    listener.process = Process(1, b"\x1b[2J\n")
    assert all(line.isprintable() for line in screen([], [listener]).splitlines())
