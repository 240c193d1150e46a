"""The Debian package on a host with a systemd: installed, started, upgraded, removed, purged."""

from __future__ import annotations

import os
import shutil
import subprocess
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from live.namespaces import tool
from live.probes import Probes
from live.serving import Scrape
from live.waiting import DEADLINE_S, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_DIST: Final = Path(__file__).parents[2] / "dist"
_URL: Final = "http://127.0.0.1:9436/metrics"
_START_S: Final = 240.0
_INIT: Final = """
cd "$0" && mount --make-rprivate / && mount --bind . . && cd "$0" &&
mount -t proc proc proc && mount --rbind /sys sys && mount --rbind /dev dev &&
mount -t tmpfs -o mode=755 run run && mount -t tmpfs tmp tmp &&
pivot_root . mnt && umount -l /mnt && exec /lib/systemd/systemd --system --unit=basic.target \
    --log-target=console --show-status=no
"""
"""A PID 1 of its own, in the host's root; sysfs, devices and the network are the guest's."""
_OURS: Final = ("/etc", "/lib", "/usr", "/var")
_PASSING: Final = ("/var/lib/dpkg", "/var/lib/apt", "/var/cache", "/var/log", "/var/tmp")  # noqa: S108


class Host:
    """One that has booted."""

    def __init__(self, root: Path, log: Path) -> None:
        self.root = root
        self._log = log
        with log.open("wb") as output:
            self._init = subprocess.Popen(
                ["unshare", "--pid", "--fork", "--mount", "--kill-child", "sh", "-c", _INIT, root],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, "container": "tcptrace-test"},
            )

    def run(self, *command: str) -> str:
        """Runs a command that must succeed."""
        children = Path(f"/proc/{self._init.pid}/task/{self._init.pid}/children")
        (systemd,) = children.read_text().split()
        enter = ("nsenter", "-t", systemd, "--mount", "--pid", "--root", "--wd=/")
        clean = (
            "env",
            "-i",
            "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
            "DEBIAN_FRONTEND=noninteractive",
        )
        return tool(*enter, *clean, *command)

    def show(self, name: str) -> str:
        return self.run("systemctl", "show", "--value", "--property", name, "tcptrace").strip()

    def has_booted(self) -> bool:
        assert self._init.poll() is None, self.log
        try:
            self.run("systemctl", "is-active", "--quiet", "basic.target")
        except (AssertionError, ValueError):
            return False
        return True

    def files(self) -> set[str]:
        """What lies where the package puts things."""
        found = self.run("find", *_OURS, "-xdev").splitlines()
        return {name for name in found if not name.startswith(_PASSING)}

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")[-6000:]

    def kill(self) -> None:
        self._init.kill()
        self._init.wait()


@pytest.fixture(scope="module")
def host(
    writable: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Host]:
    root = writable("host")
    (deb,) = _DIST.glob("*.deb")
    shutil.copy(deb, root / "root/first.deb")
    unpacked = tmp_path_factory.mktemp("deb") / "next"
    tool("dpkg-deb", "--raw-extract", str(deb), str(unpacked))
    control = unpacked / "DEBIAN/control"
    control.write_text(control.read_text().replace("-1\n", "-2\n", 1))
    tool("dpkg-deb", "--root-owner-group", "--build", str(unpacked), str(root / "root/next.deb"))
    made = Host(root, tmp_path_factory.mktemp("log") / "systemd")
    try:
        until(made.has_booted, "systemd to boot", _START_S)
        yield made
    finally:
        print(made.log)
        made.kill()


def _scrape() -> Scrape:
    with urllib.request.urlopen(_URL, timeout=DEADLINE_S) as answer:
        return Scrape(answer.read().decode())


def _wait_until_serving(host: Host) -> None:
    until(lambda: host.show("ActiveState") in ("active", "failed"), "the service", _START_S)
    assert host.show("ActiveState") == "active", host.run("systemctl", "status", "tcptrace")


def test_its_whole_life(host: Host) -> None:
    """One test: each step begins where the one before has ended."""
    before, attached = host.files(), _attached()

    host.run("dpkg", "--install", "/root/first.deb")
    _wait_until_serving(host)
    assert host.run("systemctl", "is-enabled", "tcptrace").strip() == "enabled"
    assert host.run("tcptrace", "--version").startswith("tcptrace")
    scrape = _scrape()
    assert scrape.total("tcptrace_sockets") > 0
    assert set(scrape.values("tcptrace_reconciliation_difference").values()) == {0}
    owners = {dict(labels)["comm"] for labels in scrape.values("tcptrace_listener_info")}
    assert owners, "the exporter's own listener is among them"

    options = host.root / "etc/default/tcptrace"
    changed = options.read_text().replace('OPTIONS=""', 'OPTIONS="--max-listeners 7"')
    options.write_text(changed)
    first = host.show("MainPID")
    host.run("dpkg", "--install", "/root/next.deb")
    _wait_until_serving(host)
    assert host.show("MainPID") not in ("0", first)
    assert options.read_text() == changed
    command = Path(f"/proc/{_pid_of_the_service()}/cmdline").read_bytes().split(b"\0")
    assert command[-3:-1] == [b"--max-listeners", b"7"]

    host.run("dpkg", "--remove", "tcptrace-bpf")
    assert host.show("ActiveState") == "inactive"
    until(lambda: _attached() == attached, "the probes to go", DEADLINE_S)
    assert options.read_text() == changed
    host.run("dpkg", "--purge", "tcptrace-bpf")
    assert host.files() == before


def _attached() -> tuple[str, str, str]:
    """Of what systemd has no use for: it has programs of its own."""
    probes = Probes.now()
    return probes.links, probes.perf_events, probes.kprobes


def _pid_of_the_service() -> int:
    """Among the guest's processes, which are not those that its systemd counts."""
    (found,) = (
        int(entry.name)
        for entry in Path("/proc").iterdir()
        if entry.name.isdigit() and b"serve\0" in (entry / "cmdline").read_bytes()
    )
    return found
