from __future__ import annotations

import os
import signal

import pytest

from tcptrace.stopping import TICK_S, Limits, Stop


def test_nothing_ends_a_trace_without_limits() -> None:
    stop = Stop(Limits())
    assert not stop.due
    assert stop.wait_s == TICK_S


def test_a_duration_ends_it() -> None:
    stop = Stop(Limits(duration_s=1e-9))
    assert stop.due
    assert stop.wait_s == 0
    assert not Stop(Limits(duration_s=100)).due


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_tidily_and_handlers_come_back(number: signal.Signals) -> None:
    outer = signal.signal(number, signal.default_int_handler)  # nohup has SIGHUP ignored
    try:
        stop = Stop(Limits())
        with stop.on_signals():
            os.kill(os.getpid(), number)
            assert stop.due
        assert signal.getsignal(number) is signal.default_int_handler
    finally:
        signal.signal(number, outer)


def test_the_second_signal_kills() -> None:
    child = os.fork()
    if not child:
        with Stop(Limits()).on_signals():
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status)
    assert os.WTERMSIG(status) == signal.SIGINT


def test_the_first_after_a_count_is_not_the_second() -> None:
    child = os.fork()
    if not child:
        stop = Stop(Limits(count=1))
        with stop.on_signals():
            stop.asked = True
            signal.raise_signal(signal.SIGINT)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert status == 0


def test_under_nohup_the_terminal_may_go() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        stop = Stop(Limits())
        with stop.on_signals():
            os.kill(os.getpid(), signal.SIGHUP)
            assert not stop.due
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
