"""Recordings of real faults, watched to their end; and what stands on the application's screen."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tcptrace.lifecycle.recent import Recent
from tcptrace.lifecycle.tally import Tally
from tcptrace.replay import AT_ONCE, ReplaySource
from tcptrace.sinks.recording import RecordingReader
from tcptrace.stopping import Limits, Stop
from tcptrace.top.app import Top
from tcptrace.verdicts.window import WINDOW_NS
from tcptrace.watching import Watch

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

    from textual.pilot import Pilot

    from tcptrace.reading import Source

FAULTS = Path(__file__).resolve().parents[2] / "data" / "faults"


def watch_of(source: Source) -> Watch:
    return Watch(source, Tally(), 10_000, verdicts_ns=WINDOW_NS, recent=Recent())


def play(file: BinaryIO) -> Watch:
    """Watches a recording to its end, at once."""
    source = ReplaySource(RecordingReader(file, "recording"), AT_ONCE)
    watch = watch_of(source)
    stop = Stop(Limits(duration_s=60))

    def tick() -> None:
        stop.asked |= source.finished

    watch.run(stop, tick)
    assert source.finished
    return watch


@contextmanager
def played(fault: str) -> Iterator[Top]:
    with (FAULTS / f"{fault}.tcptrace").open("rb") as file:
        yield top_of(play(file))


def top_of(watch: Watch) -> Top:
    assert watch.recent is not None
    return Top(watch, watch.recent, "everything on web-3")


def lines_of(app: Top) -> list[str]:
    return [strip.text.rstrip() for strip in app.screen._compositor.render_strips()]


def text_of(app: Top) -> str:
    return "\n".join(lines_of(app))


async def press(pilot: Pilot[None], *keys: str) -> None:
    for key in keys:
        await pilot.press(key)
        await pilot.pause()
    await pilot.pause(0.05)
