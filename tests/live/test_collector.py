"""The process that goes on tracing: it has no privileges, and leaves nothing when it dies.

Two of them trace at once, one by each carrier, for as long as a connection's TIME_WAIT lasts.
"""

from __future__ import annotations

import pwd
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from .lives import CLIENT_OPENING, CLOSED_FIRST, CLOSED_SECOND, SERVER_OPENING
from .probes import Probes
from .waiting import DEADLINE_S, until

if TYPE_CHECKING:
    from .conftest import LongTraces
    from .traced import Trace

_CAPABILITY_SETS = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
_COMPILER = ("bcc", "LLVM", "clang")
_SECOND_NS = 1_000_000_000


@pytest.fixture(params=["kprobe", "fentry"])
def carrier(request: pytest.FixtureRequest) -> str:
    """Which of the two traces."""
    return str(request.param)


@pytest.fixture
def trace(long_traces: LongTraces, carrier: str) -> Trace:
    return long_traces.by_carrier[carrier]


def test_has_no_privileges(trace: Trace) -> None:
    nobody = pwd.getpwnam("nobody")
    status = _status(trace.pid)
    assert status["Uid"].split() == [str(nobody.pw_uid)] * 4
    assert status["Gid"].split() == [str(nobody.pw_gid)] * 4
    assert status["Groups"].split() == []
    assert {int(status[name], 16) for name in _CAPABILITY_SETS} == {0}
    assert status["NoNewPrivs"] == "1"


def test_is_confined(trace: Trace) -> None:
    """What the filter refuses: tests/unit/kernel/test_seccomp.py."""
    filtered = 2
    for task in Path(f"/proc/{trace.pid}/task").iterdir():
        assert int(_status(f"{trace.pid}/task/{task.name}")["Seccomp"]) == filtered
    assert "seccomp" not in trace.tracing_line


def test_has_no_compiler_mapped(trace: Trace) -> None:
    maps = Path(f"/proc/{trace.pid}/maps").read_text()
    mapped = {line.split(maxsplit=5)[5] for line in maps.splitlines() if "/" in line}
    assert mapped
    assert not [path for path in mapped if any(name in path for name in _COMPILER)]


def test_is_alone(trace: Trace) -> None:
    """The loader has gone."""
    assert Path(f"/proc/{trace.pid}/task/{trace.pid}/children").read_text() == ""


def test_says_what_carries_it(trace: Trace, carrier: str) -> None:
    assert f", {carrier}, " in trace.tracing_line


def test_tells_of_the_end_of_timewait(long_traces: LongTraces, carrier: str) -> None:
    """The timer ends it; and of two traces at once each tells everything."""
    trace = long_traces.by_carrier[carrier]
    lives = trace.wait_for(lambda lives: len(lives) == 2, "TIME_WAIT to end")

    trace.check(lives)
    clients_life, servers_life = lives.pair()
    assert clients_life.states == (*CLIENT_OPENING, *CLOSED_FIRST, "CLOSE")
    assert servers_life.states == (*SERVER_OPENING, *CLOSED_SECOND)
    assert clients_life.told["time_wait"]["end"] == "timer"
    assert not clients_life.partial
    assert not servers_life.partial
    # The timer wheel rounds 60 s up by as much as 2 s (kernel/time/timer.c).
    assert 60 * _SECOND_NS <= clients_life.duration_ns("TIME_WAIT") < 65 * _SECOND_NS


def test_leaves_no_probe_when_killed(long_traces: LongTraces) -> None:
    traced = Probes.now()
    for held, before in zip(traced[:3], long_traces.before[:3], strict=True):
        assert held != before
    for trace in long_traces.by_carrier.values():
        trace.process.send_signal(signal.SIGKILL)
        assert trace.process.wait(DEADLINE_S) == -signal.SIGKILL
    until(lambda: Probes.now() == long_traces.before, "the kernel to hold what it held before")


def _status(pid: int | str) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}
