"""From a recording to what people read: whatever the records say, nothing may break."""

from __future__ import annotations

import io
import json
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tcptrace import session
from tcptrace.replay import AT_ONCE, ReplaySource
from tcptrace.sinks.jsonl import JsonPrinter
from tcptrace.sinks.recording import RecordingReader, RecordingWriter
from tcptrace.sinks.terminal import Paint
from tcptrace.sinks.text import TextPrinter
from tcptrace.sinks.timeline import TimelinePrinter
from tcptrace.sinks.units import WallClock
from tcptrace.stopping import Limits
from tcptrace.wire.events import Kind, Record, Stage
from unit import samples

SCHEMA = Path(__file__).resolve().parents[2] / "docs/schema/connection-v1.json"
VALIDATOR = jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text(encoding="utf-8")))

numbers = st.integers(0, 3) | st.integers(0, 2**32 - 1)
addresses = st.sampled_from([samples.server().local, samples.v6().local]).map(
    lambda end: end.address
)
records = st.builds(
    Record,
    at_ns=st.integers(samples.START, samples.START + 10**6) | st.integers(0, 2**64 - 1),
    sock=st.integers(0, 3),
    origin=st.integers(0, 3),
    local=addresses,
    remote=addresses,
    comm=st.binary(min_size=16, max_size=16),
    netns=st.integers(0, 1),
    pid=numbers,
    local_port=st.integers(0, 3),
    remote_port=st.integers(0, 3),
    kind=st.sampled_from(Kind).map(int),
    family=st.sampled_from([0, 2, 10, 255]),
    old_state=st.integers(0, 12),
    new_state=st.integers(0, 12),
    accept_queue_len=numbers,
    accept_queue_limit=numbers,
    syn_queue_len=numbers,
    retransmits=numbers,
    error=st.sampled_from([0, 104, 110, 65535]),
    stage=st.sampled_from(Stage).map(int),
    flags=st.integers(0, 255),
    cgroup=st.integers(0, 2**32 - 1),
)


def replay(data: bytes, style: str) -> tuple[str, str]:
    source = ReplaySource(RecordingReader(io.BytesIO(data), "t.rec"), AT_ONCE)
    clock, paint = WallClock(source.head), Paint(enabled=False)
    told, notes = io.BytesIO(), io.StringIO()
    stdout = io.TextIOWrapper(told, "utf-8", write_through=True)
    printers: dict[str, session.Printer] = {
        "text": TextPrinter(stdout, clock, paint, 100),
        "timeline": TimelinePrinter(stdout, clock, paint, 100),
        "json": JsonPrinter(told, clock),
    }
    session.run(source, printers[style], Limits(), notes, "replaying …")
    return told.getvalue().decode(), notes.getvalue()


@pytest.mark.parametrize("style", ["text", "timeline", "json"])
@settings(max_examples=300)
@given(many=st.lists(records, max_size=40))
def test_records_of_any_content(style: str, many: list[Record]) -> None:
    file = io.BytesIO()
    writer = RecordingWriter(file, "t.rec", samples.head())
    writer.write(samples.batch(*many))
    writer.finish(samples.NO_LOSSES, samples.START + samples.S)
    shown, notes = replay(file.getvalue(), style)
    assert all(line.isprintable() for line in [*shown.splitlines(), *notes.splitlines()])
    if style == "json":
        for line in shown.splitlines():
            VALIDATOR.validate(json.loads(line))
