"""A real Prometheus of the distribution's, as a subprocess that scrapes tracers."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

import yaml

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

START_DEADLINE_S: Final = 60.0
_ANSWER_S: Final = 30.0
_PAUSE_S: Final = 0.05


class Found(NamedTuple):
    """One series that a query has found."""

    labels: dict[str, str]
    points: list[tuple[float, float]]
    """Unix time and value."""


class Prometheus:
    """Scrapes, evaluates rules, answers queries.

    Args:
        directory: for its files; empty.
        interval_s: between two scrapes, and two evaluations.
        targets: what to scrape: host:port by what to call it.
        how: more of the scrape's configuration, as for TLS.
    """

    def __init__(
        self,
        directory: Path,
        interval_s: float,
        targets: Mapping[str, str],
        how: Mapping[str, object] | None = None,
    ) -> None:
        need("prometheus")
        interval = f"{round(interval_s * 1000)}ms"
        self._config: dict[str, Any] = {
            "global": {
                "scrape_interval": interval,
                "scrape_timeout": interval,
                "evaluation_interval": interval,
            },
            "scrape_configs": [
                {
                    "job_name": "tcptrace",
                    "static_configs": [
                        {"targets": [target], "labels": {"instance": instance}}
                        for instance, target in targets.items()
                    ],
                    **(how or {}),
                }
            ],
        }
        self._path = directory / "prometheus.yml"
        self._write()
        self._log = (directory / "prometheus.log").open("w+b")
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self._process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={self._path}",
                f"--storage.tsdb.path={directory / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
                "--query.lookback-delta=5s",
                "--log.level=warn",
            ],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
        )

    def __enter__(self) -> Self:
        try:
            self.wait_for(self._is_ready, "Prometheus to be ready", START_DEADLINE_S)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        self._log.close()

    def _write(self) -> None:
        self._path.write_text(yaml.safe_dump(self._config, sort_keys=False), encoding="utf-8")

    def wait_until_scraping(self) -> None:
        """Waits for the first tries; Prometheus takes 5 s to look up what it is to scrape."""
        count = len(self._config["scrape_configs"][0]["static_configs"])
        self.wait_for(lambda: len(self.query("up")) == count, "first scrapes", START_DEADLINE_S)

    def load(self, rules: Iterable[Path]) -> None:
        """Evaluates rules from now on."""
        self._config["rule_files"] = [str(path) for path in rules]
        self._write()
        self._process.send_signal(signal.SIGHUP)
        self.wait_for(lambda: bool(self.ask("rules")["groups"]), "the rules", START_DEADLINE_S)

    def _is_ready(self) -> bool:
        assert self._process.poll() is None, f"Prometheus ended: {self.log}"
        try:
            with urllib.request.urlopen(f"{self.url}/-/ready", timeout=_ANSWER_S) as answer:  # noqa: S310 - ours
                return bool(answer.status == 200)
        except OSError:
            return False

    @property
    def log(self) -> str:
        """What it has complained of."""
        self._log.seek(0)
        return self._log.read().decode()

    def wait_for(self, condition: Callable[[], bool], what: str, deadline_s: float) -> None:
        """Waits until something is so."""
        end_s = time.monotonic() + deadline_s
        while not condition():
            assert time.monotonic() < end_s, f"still waiting for {what}: {self.log}"
            time.sleep(_PAUSE_S)

    def get(self, path: str) -> str:
        """Returns what it has there."""
        with urllib.request.urlopen(f"{self.url}{path}", timeout=_ANSWER_S) as answer:  # noqa: S310 - ours
            text: str = answer.read().decode()
        return text

    def ask(self, path: str, **parameters: object) -> Any:
        """Asks its API; returns the answer's data."""
        url = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=_ANSWER_S) as answer:  # noqa: S310 - ours
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{parameters}: {error.read().decode()}") from error

    def query(self, expr: str, at_s: float | None = None) -> list[Found]:
        """The series as of now, or then; each has one point."""
        when = {} if at_s is None else {"time": at_s}
        found = self.ask("query", query=expr, **when)["result"]
        return [_found(one["metric"], [one["value"]]) for one in found]

    def query_range(self, expr: str, from_s: float, to_s: float, step_s: float) -> list[Found]:
        """The series over time."""
        found = self.ask("query_range", query=expr, start=from_s, end=to_s, step=step_s)["result"]
        return [_found(one["metric"], one["values"]) for one in found]


def _found(labels: dict[str, str], values: list[tuple[float, str]]) -> Found:
    return Found(labels, [(float(at_s), float(value)) for at_s, value in values])


def need(tool: str) -> None:
    """Fails where a tool is missing."""
    assert shutil.which(tool), f"{tool} is missing (Debian's package prometheus): make setup"


def free_port() -> int:
    """One of the loopback's that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
