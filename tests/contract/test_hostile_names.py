"""Names chosen to steer a terminal, or to forge a line, arrive escaped in every output.

The names come as they would: by a recording, whose writer saw them in the kernel.
"""

from __future__ import annotations

import asyncio
import io
import json
from typing import TYPE_CHECKING, Any
from unicodedata import bidirectional

import pytest
from fuzz.shown import ACCEPTS
from prometheus_client.parser import text_string_to_metric_families
from rich.cells import cell_len
from unit import samples, slots
from unit.lifecycle.steps import open_both
from unit.lifecycle.stream import Stream
from unit.top.recorded import press

from tcptrace.cli.doctor import _as_json, _as_table
from tcptrace.cli.main import run
from tcptrace.exporting import Exporter
from tcptrace.kernel.doctor import Check
from tcptrace.lifecycle.names import Names, PodNames
from tcptrace.lifecycle.overview import Overview
from tcptrace.lifecycle.recent import Recent
from tcptrace.replay import AT_ONCE, ReplaySource
from tcptrace.sinks.listeners import as_json, render
from tcptrace.sinks.metrics.observed import new_tally
from tcptrace.sinks.recording import RecordingReader, RecordingWriter
from tcptrace.sinks.terminal import Paint
from tcptrace.stopping import Limits, Stop
from tcptrace.top.app import Top
from tcptrace.verdicts.window import WINDOW_NS
from tcptrace.watching import Watch
from tcptrace.wire.head import AttachedHook, Losses

if TYPE_CHECKING:
    from pathlib import Path

CONTAINER = "a1" * 32
NAMES = {
    "clears the screen": "\x1b[2J\x1b[1;31m",
    "sets the title": "\x1b]0;x\x07",
    "8-bit control": "\x9b2J\x85",
    "writes right to left": "\u202eevil\u2066",
    "breaks the line": "a\nb\r\vc",
    "quotes": '"},{"a":"\\',
    "forges a sample": 'x"} 1\nforged 1',
    "is no UTF-8": b"\xff\xfe\xed\xa0\x80".decode("latin-1"),
    "invisible": "\u200b\ufeff\u2028\U000e0041",
    "is Rich's markup": "[bold red]x[/]",
    "is wide": "漢字🎉é",
    "has no width": "e\u0301\u0489\ufe0f",
    "is read from the right": "\u05d0\u05d1 \u0661",
}


def raw(name: str) -> bytes:
    """As the kernel has it: 15 bytes and a NUL."""
    if name == NAMES["is no UTF-8"]:
        return name.encode("latin-1").ljust(16, b"\0")
    return name.encode()[:15].ljust(16, b"\0")


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return NAMES[request.param]


@pytest.fixture
def recording(name: str) -> bytes:
    """Everything in it that is a name is that name."""
    hooks = (AttachedHook(name, name),)
    head = samples.head()._replace(
        what=name, kernel=name, hostname=name, carrier=name, hooks=hooks, untold=(name,)
    )
    file = io.BytesIO()
    writer = RecordingWriter(file, "t.rec", head)
    stream = Stream()
    open_both(stream)
    records = [
        one._replace(comm=raw(name), cgroup=8 + number % 2)
        for number, one in enumerate(stream.records)
    ]
    reading = slots.reading(
        1,
        {1: slots.slot(comm=raw(name), cgroup=9, inode=7)},
        namespaces=(slots.figures(name=name),),
        owners={7: (77, raw(name))},
        cgroups={9: f"/docker-{CONTAINER}.scope/{name}"},
    )
    names = Names(own_netns=1)
    names.cgroups.learn(9, f"/docker-{CONTAINER}.scope/{name}")
    names.cgroups.learn(8, f"/kubepods.slice/cri-containerd-{CONTAINER}.scope")
    names.namespaces.learn(records[0].netns, name)
    names.namespaces.learn(slots.NETNS, name)
    names.containers.learn(CONTAINER, PodNames(name, name, name))
    writer.write_names(names)
    writer.write_ledger(reading)
    writer.write(samples.batch(*records))
    writer.finish(Losses(1, {name: 2}, (name,)), records[-1].at_ns + samples.S)
    return file.getvalue()


def check(text: str) -> None:
    for line in text.split("\n"):
        assert line.isprintable(), ascii(line)
        assert not line.startswith("forged")


@pytest.mark.parametrize("style", [(), ("--timeline",), ("--json",)], ids=str)
def test_replay(
    recording: bytes, style: tuple[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "recording"
    path.write_bytes(recording)
    assert run(["replay", str(path), "--speed", "max", *style]) == 0
    shown = capsys.readouterr()
    assert shown.out
    check(shown.out)
    check(shown.err)


def test_json_tells_the_name_as_it_is(
    recording: bytes, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "recording"
    path.write_bytes(recording)
    run(["replay", str(path), "--speed", "max", "--json"])
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    comms = {life["process"]["comm"] for life in told if life["process"]}
    assert comms == {raw(name).rstrip(b"\0").decode("utf-8", "backslashreplace")}


@pytest.fixture
def watch(recording: bytes) -> Watch:
    reader, stop = RecordingReader(io.BytesIO(recording), "t.rec"), Stop(Limits())
    source = ReplaySource(reader, AT_ONCE)
    watch = Watch(source, new_tally(), 100, verdicts_ns=WINDOW_NS)

    def tick() -> None:
        stop.asked |= source.finished

    watch.run(stop, tick)
    return watch


@pytest.mark.parametrize("accept", ACCEPTS, ids=["text", "openmetrics", "protobuf"])
def test_metrics(watch: Watch, accept: str, name: str) -> None:
    exporter = Exporter()
    exporter.watch = watch
    raw_text, _ = exporter.render(accept)
    if "protobuf" in accept:
        hostile = {char for char in name if not char.isprintable()} - {"\n", "\r", "\x07", "\v"}
        assert not [
            char for char in hostile if len(char.encode()) > 1 and char.encode() in raw_text
        ]
        assert b"\x1b[" not in raw_text
        return
    check(raw_text.decode())
    if "openmetrics" not in accept:
        assert list(text_string_to_metric_families(raw_text.decode()))


def test_listeners(watch: Watch, name: str) -> None:
    overview = Overview()
    (row,) = overview.look(watch.ledger, watch.tally.waits, watch.source.now_ns())
    names = watch.source.names
    table = render([row], Paint(enabled=False), names, note=["now"], width=100)
    assert "0.0.0.0:80@" in table
    check(table)
    line = as_json(row, None, names)
    check(line)
    told: dict[str, Any] = json.loads(line)
    assert told["cgroup"] == f"/docker-{CONTAINER}.scope/{name}"
    assert told["netns_name"] == name


@pytest.mark.parametrize("size", [(80, 24), (130, 40), (40, 10)])
def test_top(watch: Watch, name: str, size: tuple[int, int]) -> None:
    """Every screen is plain text of its width; no name is markup, or moves what stands beside."""
    watch.recent = Recent()
    watch.recent.take(watch.ledger.listeners, {}, {}, watch.source.now_ns())
    app = Top(watch, watch.recent, name)
    turning = [char for char in name if bidirectional(char) in ("R", "AL", "AN")]

    async def look() -> None:
        async with app.run_test(size=size) as pilot:
            for keys in (["1"], ["2"], ["3"], ["4"], ["5"], ["1", "enter"], ["o", "enter"]):
                await press(pilot, *keys)
                strips = app.screen._compositor.render_strips()
                assert [strip.cell_length for strip in strips] == [size[0]] * size[1]
                for strip in strips:
                    check(strip.text)
                    assert cell_len(strip.text) == size[0]
                    assert not set(strip.text) & set(turning)

    asyncio.run(asyncio.wait_for(look(), 60))


def test_doctor(name: str) -> None:
    checks = [Check("kernel", ok=False, found=name, mend=name)]
    check(_as_table(checks))
    check(_as_json(checks))


def test_what_is_wrong_with_the_command_line(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (
        ["replay", f"/nowhere/{name}"],
        ["port", name],
        [name],
        ["port", "--cidr", name, "1"],
    ):
        assert run(arguments)
        shown = capsys.readouterr()
        assert shown.err
        check(shown.err)
