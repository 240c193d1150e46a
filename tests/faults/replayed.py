"""Recordings served by the real exporter, and a real Prometheus that scrapes them meanwhile."""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Final, NamedTuple

from tcptrace.sinks.recording import RecordingReader

from .prometheus import Prometheus, free_port
from .verdicts import DIVISOR, write_rules

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from .prometheus import Found

_SPARE_S: Final = 60.0


class Scraped(NamedTuple):
    """A Prometheus that has seen a whole recording."""

    prometheus: Prometheus
    from_s: float
    to_s: float
    step_s: float

    def over_time(self, expr: str) -> list[Found]:
        """What a query finds while the recording is played."""
        return self.prometheus.query_range(expr, self.from_s, self.to_s, self.step_s)

    def at_the_end(self, expr: str) -> list[Found]:
        """What it finds at last."""
        return self.prometheus.query(expr, self.to_s)


@contextmanager
def scraped(
    recordings: Mapping[str, Path], directory: Path, speed: float, every_s: float
) -> Iterator[Scraped]:
    """Plays recordings until their end, and then lets Prometheus be asked.

    Args:
        recordings: each served by an exporter of its own, by what to call that.
        directory: for files; empty.
        speed: how many times as fast as they were recorded.
        every_s: between two scrapes, and two evaluations of the rules.
    """
    targets = {instance: f"127.0.0.1:{free_port()}" for instance in recordings}
    with Prometheus(directory, every_s, targets) as prometheus, ExitStack() as exporters:
        # The replay does not wait for Prometheus, which takes its time.
        prometheus.wait_until_scraping()
        for instance, path in recordings.items():
            exporters.enter_context(_served(path, targets[instance], speed))
        begun_s = time.time()
        end_s = begun_s + max(map(length_s, recordings.values())) / speed
        prometheus.load(write_rules(directory, DIVISOR, speed))
        prometheus.wait_for(
            lambda: time.time() > end_s, "the recording's end", end_s - begun_s + _SPARE_S
        )
        yield Scraped(prometheus, begun_s, time.time(), every_s)


@contextmanager
def _served(path: Path, target: str, speed: float) -> Iterator[None]:
    command = [sys.executable, "-m", "tcptrace.cli.main", "serve", "--listen", target,
               "--replay", str(path), "--speed", f"{speed:g}"]  # fmt: skip
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as exporter:
        try:
            assert exporter.stderr is not None
            told = exporter.stderr.readline()
            assert told.startswith(f"serving http://{target}/metrics"), told
            yield
        finally:
            exporter.kill()


def length_s(path: Path) -> float:
    """For how long was recorded."""
    with path.open("rb") as file:
        reader = RecordingReader(file, str(path))
        for _ in reader.blocks():
            pass
    assert reader.ending is not None
    return (reader.ending.ended_monotonic_ns - reader.head.began_monotonic_ns) / 1e9
