"""The DaemonSet's container, as its manifest describes it: it traces, and with any less it says so.

crun runs the image with the manifest's capabilities, mounts, namespaces, memory and the runtimes'
default seccomp profile.
"""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from live.cgroups import Cgroup
from live.namespaces import Namespace
from live.serving import Scrape
from live.sockets import LOOPBACK, Attempt, counters
from live.waiting import until

from tcptrace.kernel.capabilities import NEEDED

from .conftest import VM
from .oci import container, memory_limit, spec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_START_S: Final = 240.0
_DOCTOR_S: Final = 240.0
_PORT: Final = 8443
_LIMIT: Final = 1
_ATTEMPTS: Final = 6
_ID: Final = "c0de" * 16
_CANNOT_TRACE: Final = 3
_STOPS: Final = {"CAP_SYS_ADMIN", "CAP_SETUID", "CAP_SETGID"}
"""Without these nothing is traced; without the others something is missing, and told."""
_LISTEN: Final = f"""
import signal, socket
listener = socket.create_server(("{LOOPBACK}", {_PORT}), backlog={_LIMIT})
print("listening", flush=True)
signal.pause()
"""


class Runtime:
    """crun, and the image."""

    def __init__(self, root: Path, directory: Path) -> None:
        self._root = root
        self._directory = directory
        self._count = 0

    def command(self, arguments: Sequence[str], without: str = "") -> list[str]:
        """The command line that runs the container."""
        self._count += 1
        self.name = f"tcptrace-{self._count}"
        bundle = self._directory / self.name
        bundle.mkdir()
        made = spec(self._root, VM / "seccomp.json", list(arguments), without)
        made["linux"]["cgroupsPath"] = f"/kubepods.slice/{self.name}"
        (bundle / "config.json").write_text(json.dumps(made))
        return ["crun", "--root", str(self._directory / "state"), "--cgroup-manager", "cgroupfs",
                "run", "--bundle", str(bundle), self.name]  # fmt: skip

    def doctor(self, without: str = "") -> tuple[int, str]:
        """Returns its exit code and what it said."""
        done = subprocess.run(
            self.command(["doctor"], without),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=_DOCTOR_S,
        )
        return done.returncode, done.stdout

    @contextmanager
    def serving(self, without: str = "") -> Iterator[Container]:
        """Runs what the manifest says, until it serves or has ended."""
        log = self._directory / f"log-{self._count}"
        with log.open("wb") as output:
            process = subprocess.Popen(
                self.command(container().told["args"], without),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        made = Container(process, log, self.name)
        try:
            until(lambda: "serving " in made.log or made.has_ended(), "it to serve", _START_S)
            yield made
        finally:
            process.terminate()
            process.wait(timeout=60)


class Container:
    """One that runs."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path, name: str) -> None:
        self._process = process
        self._log = log
        self._cgroup = Path("/sys/fs/cgroup/kubepods.slice", name)

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def has_ended(self) -> bool:
        return self._process.poll() is not None

    def wait(self) -> int:
        return self._process.wait(timeout=60)

    @property
    def pid(self) -> int:
        """Of the collector, among all of the host's."""
        return int((self._cgroup / "cgroup.procs").read_text().split()[0])

    def get(self, path: str) -> str:
        """Asks it, from within its own network namespace."""
        ask = f"import urllib.request as u; print(u.urlopen('http://127.0.0.1:9436{path}').read().decode())"
        done = subprocess.run(
            ["nsenter", "-t", str(self.pid), "--net", sys.executable, "-c", ask],
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def scrape(self) -> Scrape:
        return Scrape(self.get("/metrics"))

    def memory(self, name: str) -> int:
        return int((self._cgroup / f"memory.{name}").read_text())


@pytest.fixture(scope="module")
def runtime(writable: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Runtime:
    Path("/run/netns").mkdir(exist_ok=True)
    return Runtime(writable("image"), tmp_path_factory.mktemp("bundles"))


@contextmanager
def _somebody_listens(namespace: Namespace) -> Iterator[None]:
    """As nobody, in another network namespace, in a pod's cgroup, since before the trace."""
    with Cgroup(f"/kubepods.slice/cri-containerd-{_ID}.scope").inside(), namespace.inside():
        process = subprocess.Popen(
            ["setpriv", "--reuid", "65534", "--clear-groups", "/usr/bin/python3", "-c", _LISTEN],
            stdout=subprocess.PIPE,
        )
    assert process.stdout is not None
    with process:
        try:
            assert process.stdout.readline() == b"listening\n"
            yield
        finally:
            process.kill()


def test_it_traces_other_namespaces_and_names_who_listens(runtime: Runtime) -> None:
    with (
        Namespace("pod-1") as namespace,
        _somebody_listens(namespace),
        runtime.serving() as made,
    ):
        assert "serving " in made.log, made.log
        assert "missing" not in made.log
        assert "seccomp" not in made.log
        assert made.get("/-/healthy").strip() == "healthy"
        with namespace.inside():
            attempts = [Attempt((LOOPBACK, _PORT)) for _ in range(_ATTEMPTS)]
            until(lambda: counters()["ListenOverflows"] >= _ATTEMPTS, "the queue to overflow")
            for attempt in attempts:
                attempt.socket.close()
            kernel = counters()["ListenDrops"]
        where = {"netns": namespace.inode, "port": _PORT}
        until(
            lambda: made.scrape().total("tcptrace_listener_drops_total", **where) == kernel,
            "the kernel's drops",
        )
        scrape = made.scrape()
        ((labels, _),) = scrape.values("tcptrace_listener_info", **where).items()
        told = dict(labels)
        assert told["comm"].startswith("python3")
        assert told["container_id"] == _ID
        assert told["netns_name"] == "pod-1"
        assert set(scrape.values("tcptrace_reconciliation_difference").values()) == {0}
        peak = made.memory("peak")
        print(f"memory: {peak >> 20} MiB at most, {made.memory('current') >> 20} MiB now")
        assert peak < memory_limit(container())


def test_the_collector_has_nothing_left(runtime: Runtime) -> None:
    with runtime.serving() as made:
        lines = Path(f"/proc/{made.pid}/status").read_text().splitlines()
        status = {name: value.split() for name, _, value in (one.partition(":") for one in lines)}
        assert status["Uid"] == ["65534"] * 4
        for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            assert int(status[name][0], 16) == 0
        assert status["NoNewPrivs"] == ["1"]
        assert int(status["Seccomp_filters"][0]) > 1


def test_doctor_is_content(runtime: Runtime) -> None:
    code, said = runtime.doctor()
    assert code == 0, said
    assert "version 2 at /sys/fs/cgroup" in said


@pytest.mark.parametrize("capability", [one.name for one in NEEDED])
def test_doctor_misses_each_capability(runtime: Runtime, capability: str) -> None:
    code, said = runtime.doctor(without=capability)
    assert code == 1, said
    assert f"{capability} is missing" in said


@pytest.mark.parametrize("capability", [one.name for one in NEEDED])
def test_a_trace_says_what_it_lacks(runtime: Runtime, capability: str) -> None:
    with runtime.serving(without=capability) as made:
        if capability in _STOPS:
            assert made.wait() == _CANNOT_TRACE
            (line,) = made.log.splitlines()
            print(line)
        else:
            assert f"{capability} is missing" in made.log
