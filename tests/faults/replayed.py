"""A recording served by the real exporter, and a real Prometheus that scrapes it meanwhile."""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, NamedTuple

from tcptrace.sinks.recording import RecordingReader

from .prometheus import Prometheus, free_port
from .verdicts import DIVISOR, write_rules

if TYPE_CHECKING:
    from collections.abc import Iterator
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
    path: Path, directory: Path, speed: float, every_s: float, instance: str
) -> Iterator[Scraped]:
    """Plays a recording until its end, and then lets Prometheus be asked.

    Args:
        path: the recording.
        directory: for files; empty.
        speed: how many times as fast as it was recorded.
        every_s: between two scrapes, and two evaluations of the rules.
        instance: what to call the exporter.
    """
    target = f"127.0.0.1:{free_port()}"
    command = [sys.executable, "-m", "tcptrace.cli.main", "serve", "--listen", target,
               "--replay", str(path), "--speed", f"{speed:g}"]  # fmt: skip
    with Prometheus(directory, every_s, target, instance) as prometheus:
        # The replay does not wait for Prometheus, which takes its time.
        prometheus.wait_until_scraping()
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as exporter:
            try:
                assert exporter.stderr is not None
                told = exporter.stderr.readline()
                assert told.startswith(f"serving http://{target}/metrics"), told
                begun_s = time.time()
                end_s = begun_s + length_s(path) / speed
                prometheus.load(write_rules(directory, DIVISOR, speed))
                prometheus.wait_for(
                    lambda: time.time() > end_s, "the recording's end", end_s - begun_s + _SPARE_S
                )
                yield Scraped(prometheus, begun_s, time.time(), every_s)
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
