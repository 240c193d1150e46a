"""Ten thousand listeners: only what is visible is made into lines."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from tcptrace.top.listeners import ListenerLines
from unit import slots
from unit.hosts import FakeHost
from unit.top.recorded import lines_of, press, text_of, top_of, watch_of

if TYPE_CHECKING:
    import pytest

MANY = 10_000
FRAMES = 5
MOST_S = 0.5
"""Of this thread's CPU, for a frame; it takes a tenth of that, but machines that test are slow."""


def test_ten_thousand_listeners_stay_fluid(monkeypatch: pytest.MonkeyPatch) -> None:
    host = FakeHost(step_ms=1000)
    host.slots = {
        number: slots.slot(f"10.0.{number >> 8}.{number & 255}", 8080, sequence=2)
        for number in range(1, MANY + 1)
    }
    watch = watch_of(host)
    watch.read_ledger()
    made = 0
    line = ListenerLines.line

    def count(self: ListenerLines, index: int, width: int) -> object:
        nonlocal made
        made += 1
        return line(self, index, width)

    async def run() -> None:
        nonlocal made
        app = top_of(watch)
        async with app.run_test(size=(120, 40)) as pilot:
            await pilot.pause()
            assert "10,000 listeners" in text_of(app)
            made = 0
            took_s = []
            for _ in range(FRAMES):
                host.reads += 1
                watch.read_ledger()
                began_s = time.thread_time()
                app.tick()
                await pilot.pause()
                took_s.append(time.thread_time() - began_s)
            assert made <= FRAMES * 2 * 40
            assert min(took_s) < MOST_S
            await press(pilot, "end")
            assert any(row.startswith("10.0.39.16:8080") for row in lines_of(app))
            await press(pilot, "slash", *"10.0.7.", "enter")
            assert "10.0.7.255:8080" in text_of(app) or "10.0.7.0:8080" in text_of(app)
            await press(pilot, "p", "pagedown", "enter")
            assert "accept queue" in text_of(app)

    monkeypatch.setattr(ListenerLines, "line", count)
    asyncio.run(asyncio.wait_for(run(), 120))
