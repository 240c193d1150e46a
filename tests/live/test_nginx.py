"""A server and a client that nobody here wrote: nginx under ab, each connection one life."""

from __future__ import annotations

import re
import subprocess
import urllib.request
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

import pytest

from .lives import Life, Process
from .sockets import LOOPBACK, wait_until_quiet
from .traced import Trace
from .waiting import DEADLINE_S, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_REQUESTS = 400
_AT_ONCE = 8
_REQUESTS_A_CONNECTION = 25
_BENCH_DEADLINE_S = 180.0
_CONFIGURATION = """
daemon off;
user nobody nogroup;
worker_processes 2;
error_log stderr;
pid {home}/pid;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {home}/body;
    proxy_temp_path {home}/proxy;
    fastcgi_temp_path {home}/fastcgi;
    uwsgi_temp_path {home}/uwsgi;
    scgi_temp_path {home}/scgi;
    keepalive_requests {kept_requests};
    log_format connections "$remote_port $pid";
    server {{
        listen {address}:{port};
        access_log {home}/access.log connections;
        location / {{ return 200 "hello\\n"; }}
    }}
    server {{
        listen {address}:{status_port};
        location / {{ stub_status; }}
    }}
}}
"""


class Connection(NamedTuple):
    """A connection as nginx's access log tells it."""

    client_port: int
    worker: int
    """The worker's process id."""


class Nginx:
    """A running nginx with a log of its own."""

    def __init__(self, home: Path, port: int, status_port: int) -> None:
        self.home = home
        self.port = port
        self._status = f"http://{LOOPBACK}:{status_port}/"
        configuration = _CONFIGURATION.format(
            home=home,
            address=LOOPBACK,
            port=port,
            status_port=status_port,
            kept_requests=_REQUESTS_A_CONNECTION,
        )
        home.joinpath("nginx.conf").write_text(configuration)
        self.process = subprocess.Popen(["nginx", "-p", str(home), "-c", str(home / "nginx.conf")])
        until((home / "pid").exists, "nginx to run")
        until(self._answers, "nginx to answer")

    def _answers(self) -> bool:
        try:
            self._status_page()
        except OSError:
            return False
        return True

    def _status_page(self) -> str:
        with urllib.request.urlopen(self._status) as page:  # noqa: S310 - the address is our own
            return str(page.read(), "ascii")

    def accepted(self) -> int:
        """How many connections the workers have accepted, this question's own among them."""
        found = re.search(r"^ (\d+) \d+ \d+", self._status_page(), re.MULTILINE)
        assert found is not None
        return int(found[1])

    def logged(self) -> Counter[Connection]:
        """How many requests each connection carried."""
        lines = self.home.joinpath("access.log").read_text().splitlines()
        return Counter(Connection(*map(int, line.split())) for line in lines)

    def stop(self) -> None:
        """Ends nginx and its workers."""
        self.process.terminate()
        self.process.wait(DEADLINE_S)


class Asked(NamedTuple):
    """What nginx told of one run of ab."""

    accepted: int
    """Connections, by its stub_status."""
    logged: Counter[Connection]
    """Requests by connection, by its access log."""
    bench: Process
    """The ab that asked."""


def _ask(nginx: Nginx, *options: str) -> Asked:
    """Lets ab ask nginx many times."""
    before = nginx.accepted()
    nginx.home.joinpath("access.log").write_bytes(b"")
    url = f"http://{LOOPBACK}:{nginx.port}/"
    command = ["ab", "-n", str(_REQUESTS), "-c", str(_AT_ONCE), *options, url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as bench:
        report, _ = bench.communicate(timeout=_BENCH_DEADLINE_S)
    assert bench.returncode == 0, report
    assert f"Complete requests:      {_REQUESTS}\n" in report
    assert "Failed requests:        0\n" in report
    wait_until_quiet(nginx.port, LOOPBACK)
    return Asked(nginx.accepted() - before - 1, nginx.logged(), Process(bench.pid, "ab"))


@pytest.fixture
def nginx(tmp_path: Path, new_port: Callable[[], int]) -> Iterator[Nginx]:
    """An nginx on a port of its own, where no TIME_WAIT is left of another's connections."""
    nginx = Nginx(tmp_path, new_port(), new_port())
    yield nginx
    nginx.stop()


def test_every_connection_is_one_life(attach: str, nginx: Nginx) -> None:
    with Trace("port", str(nginx.port), "--json", "--attach", attach) as trace:
        trace.wait_until_tracing()
        one_by_one = _ask(nginx)
        kept_alive = _ask(nginx, "-k")
        lives = trace.end()

    assert len(one_by_one.logged) == _REQUESTS
    assert _AT_ONCE <= len(kept_alive.logged) < _REQUESTS // 4
    for asked in one_by_one, kept_alive:
        assert sum(asked.logged.values()) == _REQUESTS
        ours = [pair for pair in lives.pairs() if pair[0].process == asked.bench]
        _compare(asked, ours)
    assert len(lives) == 2 * (one_by_one.accepted + kept_alive.accepted)


def _compare(asked: Asked, pairs: list[tuple[Life, Life]]) -> None:
    """Compares one run's lives with what nginx told of it."""
    assert len(pairs) == asked.accepted
    by_connection = {
        Connection(servers_life.remote[1], _pid(servers_life)): servers_life
        for _, servers_life in pairs
    }
    assert by_connection.keys() >= asked.logged.keys()
    # ab opens a few more at the end, and closes them without having asked anything.
    for connection in by_connection.keys() - asked.logged.keys():
        assert by_connection[connection].told["closed"] == {"by": "remote", "how": "fin"}
    for clients_life, servers_life in pairs:
        assert servers_life.process == Process(_pid(servers_life), "nginx")
        for life in clients_life, servers_life:
            assert (life.outcome, life.partial) == ("closed", False), life


def _pid(life: Life) -> int:
    assert life.process is not None, life
    return life.process.pid
