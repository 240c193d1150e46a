"""Names that their makers chose to be HTML are text on the page."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect
from unit import samples, slots
from unit.lifecycle.steps import CHILD, LISTENER, close_second, drop_request, drop_syn, queue_syn
from unit.lifecycle.stream import LISTENING, SERVER, Stream

from browser.serving import serving
from browser.viewing import View
from tcptrace.lifecycle.connection import Process
from tcptrace.lifecycle.names import Names
from tcptrace.sinks.recording import RecordingWriter
from tcptrace.tcp import State
from tcptrace.wire.events import Kind, Stage
from tcptrace.wire.head import Losses

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser

COMM = "<b id=pwn>x</b>"
"""As long as a name can be."""
ATTACK = "document.title='pwn'"
LONG = f'<img id=pwn src=x onerror="{ATTACK}"><script id=pwn>{ATTACK}</script>'
EVIL = Process(7, COMM.encode())


def told() -> Stream:
    stream = Stream()
    stream.goes(LISTENER, LISTENING, State.CLOSE, State.LISTEN, process=EVIL, cgroup=9)
    drop_syn(stream)
    queue_syn(stream)
    stream.wait(300 * samples.MS)
    stream.tell(Kind.CHILD_CREATED, CHILD, SERVER, origin=0x20, cgroup=9)
    stream.goes(CHILD, SERVER, State.SYN_RECV, State.ESTABLISHED)
    stream.tell(Kind.ACCEPTED, CHILD, SERVER, EVIL, new_state=State.ESTABLISHED)
    close_second(stream)
    queue_syn(stream, SERVER._replace(remote=SERVER.remote._replace(port=9)))
    drop_request(stream, Stage.REQUEST_EXPIRED)
    return stream


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "hostile.tcptrace"
    stream = told()
    head = samples.head()._replace(what=LONG, kernel=LONG, hostname=LONG, carrier=LONG)
    names = Names(own_netns=1)
    names.cgroups.learn(9, f"/system.slice/{LONG}.service")
    names.namespaces.learn(slots.NETNS, LONG)
    web = slots.slot(port=8080, comm=EVIL.comm.ljust(16, b"\0"), cgroup=9, counts={Stage.OTHER: 3})
    with path.open("wb") as file:
        writer = RecordingWriter(file, "t", head)
        writer.write_names(names)
        writer.write_ledger(
            slots.reading(1, {1: web}, cgroups={9: f"/system.slice/{LONG}.service"})
        )
        writer.write(samples.batch(*stream.records))
        writer.finish(Losses(1, {}, ()), stream.now_ns + samples.S)
    return path


@pytest.fixture
def view(browser: Browser, recording: Path) -> Iterator[View]:
    with serving(recording) as served, View.of(browser, served.url) as view:
        yield view


def test_they_are_text(view: View) -> None:
    expect(view.locate("h1")).to_contain_text("<img id=pwn")
    expect(view.locate(".card p").first).to_contain_text(COMM)
    expect(view.locate("#drops")).to_contain_text(COMM)
    life = view.locate("#slow .life").first
    expect(life).to_contain_text(COMM)
    life.locator("summary").click()
    expect(life.locator(".story")).to_contain_text(COMM)
    assert view.locate("#pwn").count() == 0
    assert view.page.title() != "pwn"
    assert view.violations == []
    assert view.complaints == []
    assert view.flaws() == []
    assert view.page.evaluate("document.documentElement.scrollWidth") == 1600
