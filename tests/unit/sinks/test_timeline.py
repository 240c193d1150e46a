from __future__ import annotations

import io

from hypothesis import given
from hypothesis import strategies as st

from tcptrace.lifecycle.connection import Connection, Outcome, Process
from tcptrace.sinks.terminal import Paint
from tcptrace.sinks.timeline import TimelinePrinter
from tcptrace.sinks.units import WallClock
from tcptrace.tcp import State
from tcptrace.wire.events import Kind, Stage
from unit import samples

NOW = samples.START + 20 * samples.S


def told(life: Connection, names: dict[int, str] | None = None) -> str:
    stream = io.StringIO()
    paint = Paint(enabled=False)
    TimelinePrinter(stream, WallClock(samples.head()), paint, 100, (names or {}).get).show(
        life, NOW
    )
    return stream.getvalue()


def test_a_server_life_with_drops() -> None:
    title, *lines = told(samples.overflowed()).splitlines()
    assert title.startswith("server 10.0.0.1:8080 ← 10.0.0.2:53412 · life 8 · ")
    assert [line.strip() for line in lines if line] == [
        "+0.000000s  ✗ SYN dropped: accept queue full 2/1",
        "+1.021000s  NEW_SYN_RECV  102µs",
        "+1.021000s  │ SYN queued, SYN-ACK sent · SYN queue 1 · accept queue 1/1",
        "+1.021050s  ✗ final ACK dropped: accept queue full 2/1",
        "+1.021060s  │ SYN-ACK retransmitted",
        "+1.021070s  ✗ final ACK dropped: accept queue full 2/1",
        "+1.021102s  SYN_RECV       10µs",
        "+1.021112s  ESTABLISHED   3.20s",
        "+1.022300s  │ accepted by nginx[1234] after 1.2ms in the accept queue",
        "+4.221112s  CLOSE_WAIT    200µs",
        "+4.221312s  LAST_ACK       90µs",
        "+4.221402s  CLOSE                remote FIN · open 3.20s",
    ]


def test_time_wait_tells_who_closed() -> None:
    text = told(samples.client())
    assert "life 6, other end 7" in text
    assert "TIME_WAIT            local FIN · open 30ms" in text


def test_a_life_without_states_still_tells_how_it_ended() -> None:
    assert "+3.000000s  over: SYN dropped" in told(samples.dropped())


def test_a_life_handed_to_a_time_wait_socket_in_fin_wait2_tells_how_it_ended() -> None:
    life = samples.client()
    life.spans.pop()
    assert "over: local FIN" in told(life)


def test_an_open_and_partial_life() -> None:
    text = told(samples.leaked())
    assert "ESTABLISHED  entered unseen" in text
    assert "still open: the trace ended" in text
    assert "partial: began before the trace" in text


def test_stacks_are_named_wrapped_and_safe() -> None:
    life = samples.server()
    life.spans[0].stack = tuple(range(1, 12))
    names = {1: "tcp_set_state", 2: "tcp_finish_connect", 3: "evil\x1b[2J"}
    names |= {number: f"a_rather_long_kernel_function_{number}" for number in range(4, 11)}
    text = told(life, names)
    assert "tcp_set_state ← tcp_finish_connect ← evil\\x1b[2J ←" in text
    assert "_stext+0xb" in text
    assert max(map(len, text.splitlines())) <= 100


def test_every_kind_of_moment_and_outcome_has_words() -> None:
    for kind in set(Kind) - {Kind.SEEN}:  # a finding is no moment of a life
        for stage in Stage:
            for outcome in Outcome:
                life = samples.server()
                life.outcome = outcome
                life.moments = [samples.moment(samples.START, kind, stage)]
                life.moments_left_out = 3
                assert "and 3 events more" in told(life)


@given(st.binary(max_size=16))
def test_hostile_names_put_no_control_character_on_the_terminal(comm: bytes) -> None:
    life = samples.server()
    life.process = life.listening_process = Process(1, comm)
    assert all(line.isprintable() for line in told(life).splitlines())


def test_both_ends_of_time_wait() -> None:
    life = samples.client()
    life.spans.append(samples.spans((State.CLOSE, NOW, None))[0])
    life.timewait_end = "reused"
    assert "TIME_WAIT over: reused" in told(life)
