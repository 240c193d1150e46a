"""A server and a client that nobody here wrote: nginx under ab, each connection one life."""

from __future__ import annotations

import re
import subprocess
import urllib.request
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, NamedTuple

from .lives import Lives, Process
from .sockets import wait_until_quiet
from .stage import Played, Scenario, Script, Stage, scenario
from .waiting import DEADLINE_S, until

if TYPE_CHECKING:
    from collections.abc import Iterator


_REQUESTS = 400
_AT_ONCE = 8
_REQUESTS_A_CONNECTION = 25
_BENCH_DEADLINE_S = 180.0
_STATUS_PORT = 22_080
_WHOLE_AT_LEAST = {"kprobe": 0.5, "fentry": 0.85}
"""Of connections at once some lose an event to a packet that comes in while a probe runs."""
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
    log_format connections "$connection $remote_port $pid";
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


def test_lives_are_what_was_done(played: Played, part: Scenario) -> None:
    played.check(part)


@scenario()
def a_connection_for_each_request(stage: Stage) -> Script:
    asked = _ask(stage)

    lives: Lives = yield
    assert len(asked.logged) == _REQUESTS
    _compare(stage, asked, lives)


@scenario()
def connections_kept_alive(stage: Stage) -> Script:
    asked = _ask(stage, "-k")

    lives: Lives = yield
    assert _AT_ONCE <= len(asked.logged) < _REQUESTS // 4
    _compare(stage, asked, lives)


class Connection(NamedTuple):
    """A connection as nginx's access log tells it."""

    number: int
    """Its own among all: the kernel may give a port out again."""
    client_port: int
    worker: int
    """The worker's process id."""


class Asked(NamedTuple):
    """What nginx told of one run of ab."""

    accepted: int
    """Connections, by its stub_status."""
    logged: Counter[Connection]
    """Requests by connection, by its access log."""
    master: Process
    """The process that called listen()."""
    bench: Process
    """The ab that asked."""


class Nginx:
    """A running nginx with a log of its own."""

    def __init__(self, home: Path, process: subprocess.Popen[bytes], address: str) -> None:
        self.process = process
        self._log = home / "access.log"
        self._status = f"http://{address}:{_STATUS_PORT}/"
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
        lines = self._log.read_text().splitlines()
        return Counter(Connection(*map(int, line.split())) for line in lines)


@contextmanager
def _nginx(stage: Stage) -> Iterator[Nginx]:
    """Runs nginx on the stage's address."""
    with TemporaryDirectory() as home:
        configuration = Path(home, "nginx.conf")
        configuration.write_text(
            _CONFIGURATION.format(
                home=home,
                address=stage.address,
                port=stage.port,
                status_port=_STATUS_PORT,
                kept_requests=_REQUESTS_A_CONNECTION,
            )
        )
        process = subprocess.Popen(["nginx", "-p", home, "-c", str(configuration)])
        try:
            yield Nginx(Path(home), process, stage.address)
        finally:
            process.terminate()
            process.wait(DEADLINE_S)


def _ask(stage: Stage, *options: str) -> Asked:
    """Lets ab ask an nginx many times."""
    url = f"http://{stage.address}:{stage.port}/"
    command = ["ab", "-n", str(_REQUESTS), "-c", str(_AT_ONCE), *options, url]
    with _nginx(stage) as nginx:
        before = nginx.accepted()
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as bench:
            report, _ = bench.communicate(timeout=_BENCH_DEADLINE_S)
        assert bench.returncode == 0, report
        assert f"Complete requests:      {_REQUESTS}\n" in report
        assert "Failed requests:        0\n" in report
        wait_until_quiet(stage.port, stage.address)
        return Asked(
            accepted=nginx.accepted() - before - 1,
            logged=nginx.logged(),
            master=Process(nginx.process.pid, "nginx"),
            bench=Process(bench.pid, "ab"),
        )


def _compare(stage: Stage, asked: Asked, lives: Lives) -> None:
    """Compares one run's lives with what nginx told of it."""
    pairs = lives.pairs()
    assert len(pairs) == asked.accepted
    clients_ports = Counter(servers_life.remote[1] for _, servers_life in pairs)
    assert clients_ports >= Counter(connection.client_port for connection in asked.logged)

    whole = [pair for pair in pairs if not any(life.partial for life in pair)]
    assert len(whole) >= _WHOLE_AT_LEAST[stage.attach] * len(pairs)
    workers = _workers_by_port(asked)
    for clients_life, servers_life in whole:
        assert clients_life.process == asked.bench
        assert servers_life.process is not None
        assert servers_life.process.comm == "nginx"
        assert servers_life.account().listening_process == asked.master
        assert (clients_life.outcome, servers_life.outcome) == ("closed", "closed")
        port = servers_life.remote[1]
        if port in workers:
            assert servers_life.process.pid in workers[port]
        else:
            # ab opens a few more at the end, and closes them without having asked anything.
            assert servers_life.told["closed"] == {"by": "remote", "how": "fin"}


def _workers_by_port(asked: Asked) -> dict[int, set[int]]:
    """The process ids of the workers that served each of the clients' ports."""
    workers: dict[int, set[int]] = {}
    for connection in asked.logged:
        workers.setdefault(connection.client_port, set()).add(connection.worker)
    return workers
