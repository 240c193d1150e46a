"""What Prometheus would have scraped while a recording was made: the real exporter, replayed."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final
from unittest.mock import patch

from tcptrace.exporting import Exporter
from tcptrace.lifecycle import ledger
from tcptrace.replay import AT_ONCE, ReplaySource
from tcptrace.sinks.metrics.observed import new_tally
from tcptrace.sinks.recording import RecordingReader
from tcptrace.stopping import Limits, Stop
from tcptrace.watching import Watch

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ACCEPT: Final = "application/openmetrics-text; version=1.0.0"
"""The format that Prometheus asks for."""
_MOST_LISTENERS: Final = 1000
Samples = dict[str, str]
"""Values by series, both as they are written."""


class _Clock:
    """Time that passes only while somebody waits for it."""

    def __init__(self) -> None:
        self.ns = 0

    def __call__(self) -> int:
        return self.ns

    def sleep(self, seconds: float) -> None:
        self.ns += int(seconds * 1e9)


def scrapes(path: Path, period_s: float, divisor: float = 1) -> list[Samples]:
    """Scrapes the exporter every so often, in the recording's time, from its begin to its end.

    Args:
        path: the recording.
        period_s: between two scrapes.
        divisor: of the window of peaks, for rules whose times are divided too.
    """
    taken: list[Samples] = []
    clock, stop, exporter = _Clock(), Stop(Limits()), Exporter()
    with path.open("rb") as file, _peaks_of(divisor):
        reader = RecordingReader(file, str(path))
        source = ReplaySource(reader, 1, clock, clock.sleep)
        exporter.watch = Watch(source, new_tally(), _MOST_LISTENERS)

        def tick() -> None:
            if clock.ns >= len(taken) * period_s * 1e9:
                taken.append(parse(exporter.render(ACCEPT)[0].decode()))
            stop.asked |= source.finished

        exporter.watch.run(stop, tick)
    assert exporter.watch.fault is None
    assert reader.ending is not None
    return taken


def last_scrape(path: Path) -> Samples:
    """Replays a recording at once, and scrapes the exporter when all of it has been told."""
    taken: list[Samples] = []
    stop, exporter = Stop(Limits()), Exporter()
    with path.open("rb") as file:
        reader = RecordingReader(file, str(path))
        source = ReplaySource(reader, AT_ONCE)
        exporter.watch = Watch(source, new_tally(), _MOST_LISTENERS)

        def tick() -> None:
            if source.finished:
                taken.append(parse(exporter.render(ACCEPT)[0].decode()))
                stop.asked = True

        exporter.watch.run(stop, tick)
    assert exporter.watch.fault is None
    assert reader.ending is not None
    return taken[-1]


@contextmanager
def _peaks_of(divisor: float) -> Iterator[None]:
    with patch.object(ledger, "PEAK_WINDOW_NS", int(ledger.PEAK_WINDOW_NS / divisor)):
        yield


def parse(text: str) -> Samples:
    """Splits lines into series and value: quicker than a parser, for text that is our own."""
    lines = (line for line in text.splitlines() if not line.startswith("#"))
    return dict(line.rsplit(" ", 1) for line in lines)
