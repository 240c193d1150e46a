"""Everything that a recording is shown as, and what must hold of it whatever it holds."""

from __future__ import annotations

import io
import json
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from jsonschema import Draft202012Validator
from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from tcptrace import session
from tcptrace.browsing import Pages
from tcptrace.errors import BadRecording
from tcptrace.exporting import Exporter
from tcptrace.lifecycle.overview import Overview
from tcptrace.lifecycle.recent import Recent
from tcptrace.otlp.spans import Spans, is_telling
from tcptrace.otlp.traces import request
from tcptrace.replay import AT_ONCE, ReplaySource
from tcptrace.sinks.jsonl import JsonPrinter
from tcptrace.sinks.listeners import as_json, render
from tcptrace.sinks.metrics.observed import new_tally
from tcptrace.sinks.recording import RecordingReader
from tcptrace.sinks.terminal import Paint
from tcptrace.sinks.text import TextPrinter
from tcptrace.sinks.timeline import TimelinePrinter
from tcptrace.sinks.units import WallClock
from tcptrace.stopping import Limits, Stop
from tcptrace.verdicts.window import WINDOW_NS
from tcptrace.watching import Watch

if TYPE_CHECKING:
    from tcptrace.lifecycle.connection import Connection

ACCEPTS: Final = (
    "text/plain",
    "application/openmetrics-text; version=1.0.0",
    "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited",
)
_MOST_LISTENERS: Final = 3
_SCHEMAS: Final = Path(__file__).resolve().parents[2] / "docs/schema"


def _schema(name: str) -> Draft202012Validator:
    return Draft202012Validator(json.loads((_SCHEMAS / f"{name}.json").read_text()))


NOW: Final = _schema("now-v1")
STORY: Final = _schema("story-v1")


def check_lines(text: str) -> None:
    """Nothing in them steers a terminal."""
    for line in text.split("\n"):
        assert line.isprintable(), ascii(line)


def check_lives(data: bytes) -> None:
    """As `replay` shows it, in every style."""
    for style in ("text", "timeline", "json"):
        with suppress(BadRecording):
            _show_lives(data, style)


def _show_lives(data: bytes, style: str) -> None:
    source = ReplaySource(RecordingReader(io.BytesIO(data), "t.rec"), AT_ONCE)
    clock, paint = WallClock(source.head), Paint(enabled=False)
    told, notes = io.BytesIO(), io.StringIO()
    stdout = io.TextIOWrapper(told, "utf-8", write_through=True)
    printer: session.Printer
    if style == "json":
        printer = JsonPrinter(told, clock, source.symbol, source.names)
    elif style == "timeline":
        printer = TimelinePrinter(stdout, clock, paint, 100, source.symbol, source.names)
    else:
        printer = TextPrinter(stdout, clock, paint, 100, source.names)
    try:
        session.run(source, printer, Limits(), notes, "replaying …")
    finally:
        shown = told.getvalue().decode()
        check_lines(shown)
        check_lines(notes.getvalue())
        if style == "json":
            for line in shown.splitlines():
                json.loads(line)


class _Ending(ReplaySource):
    """A replay at whose end nobody looks on: a watch would wait a tick for that."""

    def __init__(self, reader: RecordingReader, stop: Stop) -> None:
        super().__init__(reader, AT_ONCE)
        self._stop = stop

    def read(self, timeout_s: float) -> bytes | None:
        try:
            batch = super().read(timeout_s)
        except BadRecording:
            self._stop.asked = True
            raise
        self._stop.asked |= batch is None
        return batch


def check_spans(spans: Spans, life: Connection) -> None:
    """As `serve --otlp` would send it."""
    is_telling(life)
    told = spans.of(life)
    if told is not None:
        request([json.loads(json.dumps(told))], Resource(), InstrumentationScope())


def check_host(data: bytes) -> None:
    """As `serve --replay` exports it, in every format, and `listeners` would show it."""
    with suppress(BadRecording):
        reader = RecordingReader(io.BytesIO(data), "t.rec")
        exporter, stop = Exporter(), Stop(Limits())
        source, pages = _Ending(reader, stop), Pages()
        watch = Watch(source, new_tally(), _MOST_LISTENERS, verdicts_ns=WINDOW_NS, recent=Recent())
        exporter.watch = pages.watch = watch
        shift_ns = source.head.began_realtime_ns - source.head.began_monotonic_ns
        spans = Spans(b"secret", shift_ns, source.names)
        watch.on_closed.append(lambda life: check_spans(spans, life))
        watch.run(stop, lambda: None)
        watch.read_ledger()
        check_metrics(exporter)
        check_table(watch)
        check_page(pages)


def check_page(pages: Pages) -> None:
    """What the page is told is as its schema says; each text in it is one line."""
    now = _told_by(pages, "/now.json")
    NOW.validate(now)
    verdicts = now.pop("verdicts")  # which have names as they are, too
    check_texts([now, [[one["headline"], one["evidence"], one["advice"]] for one in verdicts]])
    for life in (*now["slow"], *now["failed"]):
        story = _told_by(pages, f"/stories/{life['id']}.json")
        STORY.validate(story)
        check_texts(story)


def _told_by(pages: Pages, path: str) -> dict[str, Any]:
    answer = pages.answer(path)
    assert answer is not None
    told: dict[str, Any] = json.loads(answer.body)
    return told


def check_texts(told: object) -> None:
    """None in a piece of JSON steers a terminal."""
    if isinstance(told, str):
        assert told.isprintable(), ascii(told)
    elif isinstance(told, dict):
        check_texts(list(told.values()))
    elif isinstance(told, list):
        for one in told:
            check_texts(one)


def check_metrics(exporter: Exporter) -> None:
    """The text formats are printable, and protobuf is written at all."""
    for accept in ACCEPTS[:2]:
        check_lines(exporter.render(accept)[0].decode())
    exporter.render(ACCEPTS[2])


def check_table(watch: Watch) -> None:
    """The table of listeners, and each as JSON."""
    overview = Overview()
    rows = overview.look(watch.ledger, watch.tally.waits, watch.source.now_ns())
    names = watch.source.names
    check_lines(render(rows, Paint(enabled=False), names, note=["now"], width=100))
    for row in rows:
        line = as_json(row, None, names)
        check_lines(line)
        json.loads(line)
