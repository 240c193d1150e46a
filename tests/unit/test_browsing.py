from __future__ import annotations

import json
import threading
from http import HTTPStatus
from typing import Any

import pytest

from tcptrace import browsing
from tcptrace.browsing import Pages
from tcptrace.errors import BadRecording
from tcptrace.lifecycle.recent import Recent
from tcptrace.sinks.metrics.observed import new_tally
from tcptrace.sinks.page.now import MOST_LISTENERS
from tcptrace.verdicts.window import WINDOW_NS
from tcptrace.watching import Watch
from tcptrace.wire.events import Stage
from tcptrace.wire.head import AttachedHook, Losses
from unit import samples, slots
from unit.hosts import FakeHost, watched
from unit.lifecycle.steps import drop_syn, listen
from unit.lifecycle.stream import Stream


@pytest.fixture(autouse=True)
def _always_fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(browsing, "_FRESH_S", 0.0)
    monkeypatch.setattr(browsing, "_VERDICTS_S", 0.0)


def pages_of(host: FakeHost, seconds: float = 12, most: int = 10) -> Pages:
    pages = Pages()
    pages.watch = Watch(host, new_tally(), most, verdicts_ns=WINDOW_NS, recent=Recent())
    watched(pages.watch, seconds)
    return pages


def told_by(pages: Pages, path: str = "/now.json") -> dict[str, Any]:
    answer = pages.answer(path)
    assert answer is not None
    told: dict[str, Any] = json.loads(answer.body)
    return told


def notes_of(pages: Pages) -> list[str]:
    return [note["text"] for note in told_by(pages)["notes"]]


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "text/html; charset=utf-8"),
        ("/page.js", "text/javascript; charset=utf-8"),
        ("/page.css", "text/css; charset=utf-8"),
        ("/icon.svg", "image/svg+xml"),
        ("/now.json", "application/json"),
    ],
)
def test_what_there_is(path: str, kind: str) -> None:
    answer = pages_of(FakeHost(step_ms=1000), 3).answer(path)
    assert answer is not None
    assert (answer.status, answer.content_type) == (HTTPStatus.OK, kind)
    policy = answer.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    assert "*" not in policy


@pytest.mark.parametrize(
    "path",
    [
        "/index.html", "/page.js/", "//", "/../now.json", "/stories/", "/stories/.json",
        "/stories/7.json", "/stories/-1.json", "/stories/7", "/stories/%37.json",
        f"/stories/{'9' * 5000}.json", "/stories/\u0663.json", "/static/page.js",
    ],
)  # fmt: skip
def test_what_there_is_not(path: str) -> None:
    assert pages_of(FakeHost(step_ms=1000), 2).answer(path) is None


def test_a_quiet_host_has_nothing_to_complain_of() -> None:
    now = told_by(pages_of(FakeHost(step_ms=1000)))
    assert now["trace"]["state"] == "live"
    assert (now["notes"], now["verdicts"], now["drops"]) == ([], [], [])
    assert [one["port"] for one in now["listeners"]] == [80]
    assert len(now["steps_at"]) == len(now["listeners"][0]["series"]["drops"])


def test_before_the_first_reading_it_says_so() -> None:
    pages = Pages()
    pages.watch = Watch(FakeHost(), new_tally(), 10, verdicts_ns=WINDOW_NS, recent=Recent())
    now = told_by(pages)
    assert notes_of(pages) == ["No listener's queues have been read yet."]
    assert (now["listeners"], now["steps_at"]) == ([], [])
    assert not any(now["sockets"].values())


def test_losses_are_told_and_what_they_mean() -> None:
    host = FakeHost(step_ms=1000)
    host.loss = Losses(7, {}, ())
    pages = pages_of(host)
    (note,) = notes_of(pages)
    assert note.startswith("7 events lost since the trace began: lives, rates and waits may lack")
    assert pages.watch is not None
    pages.watch.agreement.healing.lose(host.now_ns())
    (note,) = notes_of(pages)
    assert "counts by state may be wrong until the next snapshot" in note


def test_a_difference_from_the_kernel_is_told() -> None:
    host = FakeHost(step_ms=1000)
    host.trace_head = host.head._replace(hooks=(AttachedHook("tcp_conn_request", "fexit"),))
    host.kernel = lambda: dict.fromkeys(("ListenOverflows", "ListenDrops"), host.reads)
    (note,) = notes_of(pages_of(host, 30))
    assert note.startswith("Figures differ from the kernel's own: ListenOverflows -")


def test_a_collector_that_falls_behind_says_so() -> None:
    host = FakeHost(step_ms=1000)
    pages = pages_of(host)
    host.reads += 60
    assert notes_of(pages) == ["tcptrace falls behind: the queues were read more than 5 s ago."]


def test_a_damaged_recording_says_so() -> None:
    pages = pages_of(FakeHost(step_ms=1000), 3)
    assert pages.watch is not None
    pages.watch.fault = BadRecording("t.rec: \x1b[2J")
    now = told_by(pages)
    assert now["trace"]["state"] == "damaged"
    assert now["notes"][0] == {
        "level": "bad",
        "text": "The recording is damaged: t.rec: \\x1b[2J. What came before is shown.",
    }


def test_a_recording_without_an_end_says_so() -> None:
    host = FakeHost(step_ms=1000)
    host.trouble = "the recording has no end"
    assert notes_of(pages_of(host)) == ["the recording has no end"]


def test_of_ten_thousand_listeners_the_worst_are_told() -> None:
    host = FakeHost(step_ms=1000)
    host.slots = {port: slots.slot(port=port) for port in range(1, 10_001)}
    host.slots[7777] = slots.slot(port=7777, counts={Stage.OTHER: 3})
    host.slots[8888] = slots.slot(port=8888, accept_queue_len=60)
    pages = pages_of(host, 2, most=10_000)
    now = told_by(pages)
    assert [one["port"] for one in now["listeners"][:2]] == [7777, 8888]
    assert len(now["listeners"]) == MOST_LISTENERS
    assert now["listeners_left_out"] == 10_000 - MOST_LISTENERS


def test_a_story_is_there_as_long_as_its_life_is_listed() -> None:
    stream = Stream()
    listen(stream)
    drop_syn(stream)
    host = FakeHost(samples.batch(*stream.records), step_ms=1000)
    pages = pages_of(host, 120)
    (life,) = told_by(pages)["failed"]
    story = told_by(pages, f"/stories/{life['id']}.json")
    assert story["lines"][0] == {
        "offset_ns": 0,
        "text": "✗ SYN dropped: accept queue full 0/0",
        "colour": "bad",
    }
    assert pages.watch is not None
    assert pages.watch.recent is not None
    pages.watch.recent.failed.clear()
    assert pages.answer(f"/stories/{life['id']}.json") is None


def test_one_look_serves_ten_browsers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(browsing, "_FRESH_S", 60.0)
    pages = pages_of(FakeHost(step_ms=1000), 2)
    looks = 0
    look = pages._look

    def count() -> dict[str, Any]:
        nonlocal looks
        looks += 1
        return look()

    monkeypatch.setattr(pages, "_look", count)
    browsers = [threading.Thread(target=pages.answer, args=("/now.json",)) for _ in range(10)]
    for browser in browsers:
        browser.start()
    for browser in browsers:
        browser.join()
    assert looks == 1
