"""SIGKILL of collector and loader at random instants of their start: nothing stays attached."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from live.probes import Probes
from live.serving import Serving
from live.traced import Trace
from live.waiting import until

if TYPE_CHECKING:
    from live.serving import Scrape

_KILLS: Final = 6
"""Of each process."""
_CANNOT_TRACE: Final = 3


@pytest.fixture(scope="module")
def start_s() -> float:
    """How long it takes to begin here."""
    begun_s = time.monotonic()
    with Serving() as serving:
        serving.wait_until_tracing()
        took_s = time.monotonic() - begun_s
        serving.end()
    return took_s


def _instants(start_s: float) -> list[float]:
    seed = random.randrange(2**32)  # noqa: S311 - instants, no secrets
    print(f"seed {seed}, begins in {start_s:.1f} s")
    rng = random.Random(seed)  # noqa: S311
    return sorted(rng.uniform(0, 1.1 * start_s) for _ in range(_KILLS))


def _sleep_until(instant_s: float) -> None:
    time.sleep(max(0, instant_s - time.monotonic()))


def test_collector(start_s: float, before: Probes) -> None:
    for number, instant_s in enumerate(_instants(start_s)):
        attach = ("auto", "kprobe")[number % 2]
        with Trace("serve", "--listen", "127.0.0.1:0", "--attach", attach) as trace:
            _sleep_until(trace.began_ns / 1e9 + instant_s)
            trace.process.kill()
            trace.process.wait()
        until(lambda: Probes.now() == before, f"all to be detached, killed after {instant_s:.1f} s")


def test_loader(start_s: float, before: Probes) -> None:
    killed = 0
    for number, instant_s in enumerate(_instants(start_s)):
        attach = ("auto", "kprobe")[number % 2]
        with Trace("serve", "--listen", "127.0.0.1:0", "--attach", attach) as trace:
            until(lambda: _loader_of(trace) or trace.process.poll() is not None, "a loader")
            _sleep_until(trace.began_ns / 1e9 + instant_s)
            loader = _loader_of(trace)
            if loader:
                os.kill(loader, signal.SIGKILL)
                killed += _told_of_death(trace)
            trace.process.kill()
            trace.process.wait()
        until(lambda: Probes.now() == before, f"all to be detached, killed after {instant_s:.1f} s")
    print(f"{killed} of {_KILLS} while they worked")
    assert killed


def _loader_of(trace: Trace) -> int:
    try:
        children = Path(f"/proc/{trace.pid}/task/{trace.pid}/children").read_text().split()
    except OSError:
        return 0
    return int(children[0]) if children else 0


def _told_of_death(trace: Trace) -> bool:
    """Whether the collector ended for it; a loader that had sent all is not missed."""
    until(
        lambda: trace.process.poll() is not None or trace.ready in trace.stderr,
        "the collector to notice",
    )
    if trace.process.poll() is None:
        return False
    assert trace.wait() == _CANNOT_TRACE
    (line,) = trace.stderr.splitlines()
    assert "the loader was killed" in line
    return True


def test_a_restart_gets_it_right(before: Probes) -> None:
    with Serving() as serving:
        serving.wait_until_tracing()
        until(lambda: _agrees(serving.scrape()), "counts and no difference")
        serving.end()
    until(lambda: Probes.now() == before, "all to be detached")


def _agrees(scrape: Scrape) -> bool:
    differences = scrape.values("tcptrace_reconciliation_difference").values()
    return bool(differences) and not any(differences) and scrape.total("tcptrace_sockets") > 0
