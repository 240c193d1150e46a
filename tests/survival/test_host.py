"""What happens to a host under one exporter and one recording: clock, CPUs, modules, suspend."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from collections import Counter
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import pytest
from live.namespaces import Namespace, tool
from live.serving import Serving
from live.sockets import LOOPBACK, accept, connect, counters, listen, wait_for_fin
from live.traced import TCPTRACE, Trace
from live.waiting import DEADLINE_S, until

if TYPE_CHECKING:
    from collections.abc import Iterator

_PORT: Final = 20_901
_MEETINGS: Final = 30
_DAY_S: Final = 86_400
_CPU1: Final = Path("/sys/devices/system/cpu/cpu1/online")
_STATE: Final = Path("/sys/power/state")


class Host(NamedTuple):
    """A namespace that is traced twice at once."""

    serving: Serving
    record: Trace
    recording: Path
    namespace: Namespace

    def meet(self, times: int = _MEETINGS) -> None:
        """Connections that the client closes: each a handshake, an accept, a TIME_WAIT."""
        with self.namespace.inside(), listen((LOOPBACK, _PORT), 64) as listener:
            for _ in range(times):
                with connect((LOOPBACK, _PORT)) as client, accept(listener) as server:
                    client.shutdown(socket.SHUT_WR)
                    wait_for_fin(server)

    def overflow(self) -> None:
        """Drops, which the kernel counts too."""
        with ExitStack() as ends, self.namespace.inside():
            ends.enter_context(listen((LOOPBACK, _PORT + 1), 0))
            before = counters()["ListenDrops"]
            for _ in range(4):
                client = ends.enter_context(socket.socket())
                client.setblocking(False)  # noqa: FBT003
                client.connect_ex((LOOPBACK, _PORT + 1))
            until(lambda: counters()["ListenDrops"] > before, "a drop")

    def check(self) -> None:
        """Drops and states are the kernel's."""
        try:
            until(self._agrees, "the exporter to agree with the kernel")
        except AssertionError:
            print(self._kernel(), *self._lines(), self.serving.stderr, sep="\n")
            raise

    def _lines(self) -> list[str]:
        text = self.serving.scrape().text
        return [
            line for line in text.splitlines()
            if str(self.namespace.inode) in line and not line.endswith(" 0.0")
        ]  # fmt: skip

    def _agrees(self) -> bool:
        inode = self.namespace.inode
        before = self._kernel()
        scrape = self.serving.scrape()
        drops = scrape.by("stage", "tcptrace_listener_drops_total", netns=inode)
        # What was queued when a listener was closed is no ListenDrop.
        told = sum(count for stage, count in drops.items() if stage != "listener_closed")
        differences = scrape.values("tcptrace_reconciliation_difference", netns=inode)
        states = scrape.by("state", "tcptrace_sockets", netns=inode)
        kernel = self._kernel()
        return (
            kernel == before
            and told == kernel["ListenDrops"]
            and set(differences.values()) == {0}
            and states["time_wait"] == kernel["time_wait"]
        )

    def _kernel(self) -> Counter[str]:
        with self.namespace.inside():
            found = counters()
        listed = tool("ip", "netns", "exec", self.namespace.name, "ss", "-tanH", "state",
                      "time-wait")  # fmt: skip
        return Counter(ListenDrops=found["ListenDrops"], time_wait=len(listed.splitlines()))

    def accepts(self) -> int:
        """What it has counted of the listener."""
        return self.serving.scrape().total(
            "tcptrace_listener_accepts_total", netns=self.namespace.inode
        )


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    recording = tmp_path_factory.mktemp("host") / "recording"
    with ExitStack() as stack:
        namespace = stack.enter_context(Namespace("shaken"))
        serving = stack.enter_context(Serving())
        record = stack.enter_context(Trace("record", "-o", str(recording)))
        serving.wait_until_tracing()
        record.wait_until_tracing()
        yield Host(serving, record, recording, namespace)


def _step_clock(seconds: float) -> None:
    time.clock_settime(time.CLOCK_REALTIME, time.time() + seconds)


def test_the_clock_is_stepped(host: Host) -> None:
    for step_s in (_DAY_S, -2 * _DAY_S, _DAY_S):
        _step_clock(step_s)
        host.meet(5)
    host.overflow()
    host.check()


@contextmanager
def _without_cpu1() -> Iterator[None]:
    _CPU1.write_text("0")
    try:
        yield
    finally:
        _CPU1.write_text("1")


def test_a_cpu_goes_and_comes_back(host: Host) -> None:
    """While connections go on; per-CPU contexts of a CPU that has gone are nobody's."""
    before = host.accepts()
    host.meet(10)
    with _without_cpu1():
        assert (
            os.cpu_count() != len(os.sched_getaffinity(0)) or os.sysconf("SC_NPROCESSORS_ONLN") == 1
        )
        host.meet(10)
        host.overflow()
        host.check()
    host.meet(10)
    host.overflow()
    host.check()
    until(lambda: host.accepts() == before + 30, "every accept to be counted")


def _modules() -> set[str]:
    return {line.split()[0] for line in Path("/proc/modules").read_text().splitlines()}


def test_sock_diag_is_unloaded(host: Host) -> None:
    """The next reading's dump has the kernel load it again."""
    assert "tcp_diag" in _modules()
    tool("modprobe", "-r", "tcp_diag")
    until(lambda: "tcp_diag" in _modules(), "the module to be back")
    host.meet(5)
    host.overflow()
    host.check()


def test_sock_diag_is_gone(host: Host) -> None:
    """Where it can't be loaded again, drops are counted all the same; lengths stand still."""
    modprobe = Path("/proc/sys/kernel/modprobe")
    path = modprobe.read_text()
    modprobe.write_text("/bin/false")
    try:
        until(_is_unloaded, "the module to be unloaded")
        host.overflow()
        host.check()
    finally:
        modprobe.write_text(path)
    until(lambda: "tcp_diag" in _modules(), "the module to be back")
    host.check()


def _is_unloaded() -> bool:
    subprocess.run(["modprobe", "-r", "tcp_diag", "inet_diag"], check=False, capture_output=True)
    return "tcp_diag" not in _modules()


def test_every_process_is_frozen(host: Host) -> None:
    """As in a suspend, for 5 s. A guest that really suspends is not woken by its clock."""
    pm_test = Path("/sys/power/pm_test")
    assert "freeze" in _STATE.read_text().split()
    pm_test.write_text("freezer")
    begun_s = time.monotonic()
    try:
        _STATE.write_text("freeze")
    finally:
        pm_test.write_text("none")
    assert time.monotonic() - begun_s > 4
    host.meet(5)
    host.overflow()
    host.check()


def test_the_recording_of_it_all(host: Host) -> None:
    """No life lasts longer than the trace, none is from another day, all are whole."""
    host.record.end()
    done = subprocess.run(
        [TCPTRACE, "replay", str(host.recording), "--json", "--speed", "max"],
        capture_output=True, text=True, check=True, timeout=DEADLINE_S,
    )  # fmt: skip
    told = [json.loads(line) for line in done.stdout.splitlines()]
    lives: list[dict[str, Any]] = [
        life for life in told if _PORT in (life["local"]["port"], life["remote"]["port"])
    ]
    assert len(lives) >= 2 * _MEETINGS
    assert not [life for life in lives if life["partial"]]
    for life in lives:
        assert 0 <= sum(span["duration_ns"] or 0 for span in life["states"]) < 600 * 10**9
    days = {life["began_at"][:10] for life in lives}
    assert len(days) <= 2, days
    host.serving.end()
