"""A real Prometheus scrapes a live exporter by TLS and with a password, while a queue overflows."""

from __future__ import annotations

import base64
import pwd
import signal
import ssl
import subprocess
import urllib.error
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import bcrypt
import pytest
import yaml
from faults.prometheus import Prometheus

from .namespaces import Namespace, tool
from .serving import Scrape, Serving
from .sockets import LOOPBACK, Attempt, counters, listen
from .waiting import until

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterator

pytestmark = pytest.mark.once

_PORT: Final = 8001
_LIMIT: Final = 1
_ATTEMPTS: Final = 6
_USER: Final = "prometheus"
_PASSWORD: Final = "correct horse"  # noqa: S105 - of this test
_CHEAP: Final = 4
"""bcrypt's rounds: a guest is slow."""
_SCRAPE_S: Final = 1.0
_OVERFLOWS: Final = ("syn_accept_queue_full", "ack_accept_queue_full")
_DOWN_S: Final = 30.0


class Secured(Serving):
    """An exporter that wants a password, by TLS."""

    def __init__(self, directory: Path) -> None:
        self.certificate = directory / "server.crt"
        key = directory / "server.key"
        self.renew()
        hashed = bcrypt.hashpw(_PASSWORD.encode(), bcrypt.gensalt(_CHEAP)).decode()
        config = directory / "web.yml"
        told = {
            "tls_server_config": {"cert_file": str(self.certificate), "key_file": str(key)},
            "basic_auth_users": {_USER: hashed},
        }
        config.write_text(yaml.safe_dump(told), encoding="utf-8")
        super().__init__("--web-config", str(config))

    def renew(self) -> None:
        """Makes another key and certificate, to be read by whom the exporter has become too."""
        key = self.certificate.with_suffix(".key")
        tool("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
             "-nodes", "-subj", "/CN=localhost", "-days", "2", "-keyout", str(key),
             "-out", str(self.certificate), "-addext", f"subjectAltName=IP:{LOOPBACK}")  # fmt: skip
        key.chmod(0o644)

    @property
    def target(self) -> str:
        return self.url.removeprefix("https://").removesuffix("/metrics")

    @property
    def how(self) -> dict[str, object]:
        """What Prometheus is told of it."""
        return {
            "scheme": "https",
            "tls_config": {"ca_file": str(self.certificate)},
            "basic_auth": {"username": _USER, "password": _PASSWORD},
        }

    def fetch(self, password: str) -> str:
        """Reads the metrics, as Prometheus does."""
        words = base64.b64encode(f"{_USER}:{password}".encode()).decode()
        request = urllib.request.Request(self.url, headers={"Authorization": f"Basic {words}"})  # noqa: S310 - ours
        context = ssl.create_default_context(cafile=str(self.certificate))
        with urllib.request.urlopen(request, context=context, timeout=60) as answer:  # noqa: S310 - ours
            text: str = answer.read().decode()
        return text

    def scrape(self) -> Scrape:
        return Scrape(self.fetch(_PASSWORD))


class Played(NamedTuple):
    """An overflow that Prometheus has seen."""

    serving: Secured
    prometheus: Prometheus
    netns: int
    kernel: Counter[str]


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Played]:
    with ExitStack() as stack:
        namespace = stack.enter_context(Namespace("prometheus"))
        serving = stack.enter_context(Secured(tmp_path_factory.mktemp("web")))
        serving.wait_until_tracing()
        directory = tmp_path_factory.mktemp("prometheus")
        prometheus = stack.enter_context(
            Prometheus(directory, _SCRAPE_S, {serving.target: serving.target}, how=serving.how)
        )
        with namespace.inside():
            listener = stack.enter_context(listen((LOOPBACK, _PORT), _LIMIT))
            attempts = [Attempt((LOOPBACK, _PORT)) for _ in range(_ATTEMPTS)]
            until(lambda: counters()["ListenOverflows"] >= _ATTEMPTS, "the queue to overflow")
            for attempt in attempts:
                stack.callback(attempt.socket.close)
            # No SYN comes any more, nor is any SYN-ACK sent again.
            for attempt in attempts[_LIMIT + 1 :]:
                attempt.socket.close()
            kernel = counters()
        prometheus.wait_until_scraping()
        yield Played(serving, prometheus, namespace.inode, kernel)
        listener.close()


def _value(played: Played, expr: str) -> float | None:
    found = played.prometheus.query(expr)
    return found[0].points[0][1] if len(found) == 1 else None


def _where(played: Played, **more: str) -> str:
    labels = {"netns": str(played.netns), "port": str(_PORT), **more}
    return ",".join(f'{name}="{value}"' for name, value in labels.items())


def test_prometheus_reaches_it(played: Played) -> None:
    (target,) = played.prometheus.ask("targets", state="active")["activeTargets"]
    assert (target["health"], target["lastError"]) == ("up", "")
    assert _value(played, "up") == 1
    assert played.prometheus.log == ""


def test_drops_are_the_kernels(played: Played) -> None:
    drops = f"tcptrace_listener_drops_total{{{_where(played)}}}"
    until(
        lambda: _value(played, f"sum({drops})") == played.kernel["ListenDrops"],
        "Prometheus to have the kernel's drops",
    )
    by_stage = {one.labels["stage"]: one.points[0][1] for one in played.prometheus.query(drops)}
    assert sum(by_stage[stage] for stage in _OVERFLOWS) == played.kernel["ListenOverflows"]
    for found in played.prometheus.query(drops):
        assert found.labels | {"stage": ""} == {
            "__name__": "tcptrace_listener_drops_total",
            "job": "tcptrace",
            "instance": played.serving.target,
            "netns": str(played.netns),
            "address": LOOPBACK,
            "port": str(_PORT),
            "stage": "",
        }


@pytest.mark.parametrize(
    ("gauge", "value"),
    [
        ("accept_queue_length", _LIMIT + 1),
        ("accept_queue_limit", _LIMIT),
        ("accept_queue_peak", _LIMIT + 1),
        ("accept_queue_fullest_ratio", 1),
        ("sockets", 1),
    ],
)
def test_the_queues_arrive(played: Played, gauge: str, value: float) -> None:
    (found,) = played.prometheus.query(f"tcptrace_listener_{gauge}{{{_where(played)}}}")
    assert found.points[0][1] == value
    assert found.labels["address"] == LOOPBACK


def test_nothing_differs_from_the_kernel(played: Played) -> None:
    found = played.prometheus.query("tcptrace_reconciliation_difference != 0")
    assert found == []


def test_promtool_has_nothing_to_say(played: Played) -> None:
    done = subprocess.run(
        ["promtool", "check", "metrics"],
        input=played.serving.fetch(_PASSWORD),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_wrong_password_is_refused(played: Played) -> None:
    with pytest.raises(urllib.error.HTTPError, match="401"):
        played.serving.fetch("battery staple")


def test_the_exporter_has_no_privileges(played: Played) -> None:
    lines = Path(f"/proc/{played.serving.pid}/status").read_text().splitlines()
    status = {name: value.split() for name, _, value in (line.partition(":") for line in lines)}
    assert status["Uid"] == [str(pwd.getpwnam("nobody").pw_uid)] * 4
    assert int(status["CapEff"][0], 16) == 0


def test_a_renewed_certificate_is_taken_at_sighup(played: Played) -> None:
    """By a collector without privileges, under its filter."""
    serving = played.serving
    for directory in serving.certificate.parents:
        if "pytest" in str(directory):  # its directories are root's alone
            directory.chmod(0o755)
    before = serving.certificate.read_text()
    serving.renew()
    serving.process.send_signal(signal.SIGHUP)
    until(lambda: "was read again" in serving.stderr, "the configuration to be read again")
    assert serving.certificate.read_text() != before
    serving.scrape()  # which trusts this certificate alone


def test_it_ends_and_prometheus_sees_that(played: Played) -> None:
    played.serving.process.send_signal(signal.SIGTERM)
    assert played.serving.wait() == 0
    until(lambda: _value(played, "up") == 0, "Prometheus to miss it", _DOWN_S)
    assert played.prometheus.query("tcptrace_build_info") == []
