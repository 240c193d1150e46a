"""The systemd unit as it ships: a systemd in a namespace starts, reloads and stops it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from live.namespaces import tool
from live.probes import Probes
from live.serving import Scrape
from live.sockets import LOOPBACK, Attempt, counters, listen
from live.waiting import DEADLINE_S, until

if TYPE_CHECKING:
    from collections.abc import Iterator

_CHECKOUT: Final = Path(__file__).resolve().parents[2]
_PREFIX: Final = Path("/opt/tcptrace")
"""Where the unit expects it."""
_UNITS: Final = Path("/etc/systemd/system")
_URL: Final = "http://127.0.0.1:9436/metrics"
_START_S: Final = 240.0
_PORT: Final = 8001
_ATTEMPTS: Final = 8
_SYSTEMD: Final = "/lib/systemd/systemd"
_DROP_IN: Final = """
[Unit]
DefaultDependencies=no
[Service]
StandardOutput=append:{log}
StandardError=append:{log}
"""
"""Nothing of the system's own comes up besides it; there is no journal."""


class Service:
    """A unit under a systemd of its own."""

    def __init__(self, init: subprocess.Popen[bytes], log: Path) -> None:
        self._init = init
        self._log = log

    @property
    def log(self) -> str:
        """What the unit has said."""
        return self._log.read_text() if self._log.exists() else ""

    def systemctl(self, *arguments: str) -> str:
        return tool(*self._inside(), "systemctl", *arguments)

    def show(self, name: str, unit: str = "tcptrace") -> str:
        return self.systemctl("show", "--value", "--property", name, unit).strip()

    def _inside(self) -> tuple[str, ...]:
        children = Path(f"/proc/{self._init.pid}/task/{self._init.pid}/children")
        (systemd,) = children.read_text().split()
        return ("nsenter", "-t", systemd, "--mount", "--pid")


def _install(directory: Path, log: Path) -> None:
    """The environment at /opt/tcptrace, this checkout in it, out of /tmp's and /root's way."""
    checkout = Path("/opt/checkout")
    for place, source in ((checkout, _CHECKOUT), (_PREFIX, Path(sys.prefix))):
        place.mkdir(exist_ok=True)
        tool("mount", "--bind", str(source), str(place))
    (pth,) = _PREFIX.glob("lib/python3*/site-packages/*tcptrace*.pth")
    _replace(pth, f"{checkout}\n", directory)
    script = _PREFIX / "bin/tcptrace"
    body = script.read_text().partition("\n")[2]
    _replace(script, f"#!{_PREFIX}/bin/python\n{body}", directory)
    unit = (_CHECKOUT / "packaging/tcptrace.service").read_text()
    (_UNITS / "tcptrace.service").write_text(unit)
    drop_in = _UNITS / "tcptrace.service.d/test.conf"
    drop_in.parent.mkdir(exist_ok=True)
    drop_in.write_text(_DROP_IN.format(log=log))


def _replace(path: Path, text: str, directory: Path) -> None:
    """Only where the unit looks."""
    ours = directory / path.name
    ours.write_text(text)
    ours.chmod(0o755)
    tool("mount", "--bind", str(ours), str(path))


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    directory = Path("/run/tcptrace-test")
    directory.mkdir(exist_ok=True)
    log = directory / "log"
    _install(directory, log)
    if not Path("/sys/fs/cgroup/cgroup.controllers").exists():
        tool("mount", "-t", "cgroup2", "cgroup2", "/sys/fs/cgroup")
    systemd_log = tmp_path_factory.mktemp("systemd") / "log"
    with ExitStack() as stack, systemd_log.open("wb") as output:
        init = stack.enter_context(
            subprocess.Popen(
                ["unshare", "--pid", "--fork", "--mount", "--mount-proc",
                 "--kill-child", _SYSTEMD, "--system", "--unit=tcptrace.service",
                 "--log-target=console", "--show-status=no"],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, "container": "tcptrace-test"},
            )
        )  # fmt: skip
        stack.callback(init.kill)
        service = Service(init, log)
        try:
            until(lambda: "serving " in service.log or init.poll() is not None, "it", _START_S)
        finally:
            print(systemd_log.read_text(errors="replace")[-6000:], service.log, sep="\n")
        yield service


def test_it_serves(service: Service) -> None:
    assert "serving http://127.0.0.1:9436/metrics" in service.log
    assert "seccomp" not in service.log
    assert service.show("ActiveState") == "active"
    scrape = _scrape()
    assert scrape.total("tcptrace_sockets") > 0
    assert scrape.value("tcptrace_events_lost_total") == 0
    assert set(scrape.values("tcptrace_reconciliation_difference").values()) == {0}
    owners = {dict(labels)["comm"] for labels in scrape.values("tcptrace_listener_info")}
    assert owners, "the exporter's own listener is among them"


def _scrape() -> Scrape:
    with urllib.request.urlopen(_URL, timeout=DEADLINE_S) as answer:
        return Scrape(answer.read().decode())


@pytest.mark.usefixtures("service")
def test_its_drops_are_the_kernels() -> None:
    """Also where all that the unit allows is needed to tell which queue was full."""
    with ExitStack() as sockets:
        sockets.enter_context(listen((LOOPBACK, _PORT), 1))
        for _ in range(_ATTEMPTS):
            sockets.enter_context(Attempt((LOOPBACK, _PORT)).socket)
        until(lambda: counters()["ListenOverflows"] >= _ATTEMPTS, "drops and drops again")
    until(lambda: _overflows() == counters()["ListenOverflows"], "the same drops")
    assert set(_scrape().values("tcptrace_reconciliation_difference").values()) == {0}


def _overflows() -> int:
    drops = _scrape().by("stage", "tcptrace_listener_drops_total")
    return drops["syn_accept_queue_full"] + drops["ack_accept_queue_full"]


def test_its_exposure_is_what_the_documentation_says(tmp_path: Path) -> None:
    """Of the unit as it ships, under a name of its own: the drop-in above is for the other."""
    unit = tmp_path / "as-it-ships.service"
    unit.write_text((_CHECKOUT / "packaging/tcptrace.service").read_text())
    told = tool("systemd-analyze", "security", "--offline=true", str(unit)).splitlines()[-1]
    told = told.replace("as-it-ships", "tcptrace")
    assert told in (_CHECKOUT / "docs/security.md").read_text()


def test_the_process_is_as_the_unit_wants_it(service: Service) -> None:
    lines = service.show("MainPID")
    inner = tool(*service._inside(), "cat", f"/proc/{lines}/status").splitlines()
    status = {name: value.strip() for name, _, value in (line.partition(":") for line in inner)}
    assert int(status["CapBnd"], 16) == 0
    assert int(status["CapEff"], 16) == 0
    assert status["NoNewPrivs"] == "1"
    assert int(status["Seccomp_filters"]) > 1


def test_it_reloads_and_stops(service: Service) -> None:
    service.systemctl("reload", "tcptrace")
    assert service.show("ActiveState") == "active"
    service.systemctl("stop", "tcptrace")
    assert service.show("Result") == "success"
    assert service.show("ExecMainStatus") == "0"


@pytest.mark.parametrize(("code", "mends"), [(2, False), (3, False), (5, True), (70, True)])
def test_it_is_started_again_where_that_may_mend_it(
    service: Service, code: int, mends: bool
) -> None:
    text = (_CHECKOUT / "packaging/tcptrace.service").read_text()
    text = text.replace("[Unit]", "[Unit]\nDefaultDependencies=no")
    exits = re.sub(r"^ExecStart=.*", "ExecStart=/bin/sh -c 'exit %i'", text, flags=re.MULTILINE)
    (_UNITS / "exits@.service").write_text(exits)
    service.systemctl("daemon-reload")
    unit = f"exits@{code}.service"
    service.systemctl("start", "--no-block", unit)
    states = ("activating", "failed")

    def is_over() -> bool:
        ended = service.show("ExecMainStatus", unit) == str(code)
        return ended and service.show("ActiveState", unit) in states

    until(is_over, "it to end", DEADLINE_S)
    assert service.show("SubState", unit) == ("auto-restart" if mends else "failed")
    service.systemctl("stop", unit)


def test_a_kill_restarts_it(service: Service) -> None:
    service.systemctl("start", "tcptrace")
    pid = service.show("MainPID")
    service.systemctl("kill", "--signal", str(int(signal.SIGKILL)), "tcptrace")
    until(
        lambda: (
            service.show("MainPID") not in ("0", pid) and service.show("ActiveState") == "active"
        ),
        "systemd to restart it",
        _START_S,
    )
    service.systemctl("stop", "tcptrace")
    assert Probes.now().programs is not None
