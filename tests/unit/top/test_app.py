"""What the application shows of recordings of real faults, by keys and at several sizes."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

import pytest

from tcptrace.lifecycle.connection import Outcome
from tcptrace.lifecycle.ledger import Address
from tcptrace.sinks.verdicts import headline
from tcptrace.tcp import State
from tcptrace.top.lines import Lines
from tcptrace.top.main_screen import MainScreen
from unit.top.recorded import lines_of, played, press, text_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from textual.pilot import Pilot

    from tcptrace.top.app import Top

SMALL = (80, 24)
DEADLINE_S = 60


def shown(
    fault: str, steps: Callable[[Top, Pilot[None]], Awaitable[None]], size: tuple[int, int] = SMALL
) -> None:
    """Runs the application on a recording that has been watched to its end."""

    async def run(app: Top) -> None:
        async with app.run_test(size=size) as pilot:
            await pilot.pause()
            await steps(app, pilot)

    with played(fault) as app:
        asyncio.run(asyncio.wait_for(run(app), DEADLINE_S))


def port_of(cursor: object) -> int:
    assert isinstance(cursor, Address)
    return cursor.port


def row(lines: list[str], begin: str) -> str:
    return next(line for line in lines if line.startswith(begin))


def test_listeners_show_queues_drops_and_the_verdict() -> None:
    async def steps(app: Top, _pilot: Pilot[None]) -> None:
        lines = lines_of(app)
        assert re.search(r"\d\d:\d\d:\d\d$", lines[0])
        assert lines[1].startswith("2 listeners · 135 sockets · by drops · agrees with the kernel")
        assert lines[2].startswith("✗ 8080 (web, pid 194): accept queue too small")
        full = row(lines, "0.0.0.0:8080@")
        assert "web[194]" in full
        assert " ████████ " in full
        assert " 9/8 " in full
        assert "▁███████" in full
        assert " 1/128 " in row(lines, "0.0.0.0:8081@")
        assert "176 × SYN dropped: accept queue full · 58 × final A" in "".join(lines)
        assert sum("SYN dropped: accept queue full 9/8" in line for line in lines) == 11

    shown("accept-queue-overflow", steps)


def test_states_are_those_of_the_tracker() -> None:
    async def steps(app: Top, pilot: Pilot[None]) -> None:
        await press(pilot, "2")
        lines = lines_of(app)
        with app.watch_of.lock:
            sockets = app.watch_of.tracker.counts.sockets.values()
            known = {state: sum(cells[state] for cells in sockets) for state in State}
        assert known[State.CLOSE_WAIT] > 60
        for state in set(State) - {State.CLOSE}:
            place = next(
                line.index(f"┌ {state.name} ─") for line in lines if f"┌ {state.name} ─" in line
            )
            at = next(n for n, line in enumerate(lines) if f"┌ {state.name} ─" in line)
            assert lines[at + 1][place:].startswith(f"│ {known[state]:,} ")

    shown("close-wait-leak", steps)


def test_slow_and_failed_lives_are_told_with_their_reasons() -> None:
    async def steps(app: Top, pilot: Pilot[None]) -> None:
        await press(pilot, "3")
        lines = lines_of(app)
        assert "slowest handshakes" in lines[2]
        assert lines[2].endswith("· 32")
        slow = app.frame.slow
        assert len(slow) == 32
        assert lines[4].split()[1:5] == ["…:8080", "←", str(slow[0].remote), "1.37s"]
        assert "SYN dropped: accept" in lines[4]
        assert " · 17 since the trace" in row(lines, "never established")
        first = lines.index(row(lines, "never established")) + 2
        ends = [line.split()[6:8] for line in lines[first:-2]]
        assert len(ends) == 8
        for end, life in zip(ends, app.frame.failed, strict=False):
            assert end[0] == ("refused" if life.outcome is Outcome.REFUSED else "gave")
        assert "web[194]" in lines[-2]
        assert "SYN dropped: accept queue full 9/8" in lines[-2]
        await press(pilot, "tab")
        assert lines_of(app)[-2].startswith(str(app.frame.failed[0].local))

    shown("accept-queue-overflow", steps)


def test_drops_come_the_latest_first() -> None:
    async def steps(app: Top, pilot: Pilot[None]) -> None:
        await press(pilot, "4")
        lines = lines_of(app)
        peers = [line.split()[2] for line in lines[3:23]]
        assert peers == [str(drop.peer) for drop in app.frame.drops[:20]]
        times = [line.split()[0] for line in lines[3:23]]
        assert times == sorted(times, reverse=True)
        await press(pilot, "enter")
        assert lines_of(app)[0] == "0.0.0.0:8080@fault-server · web[194]"

    shown("accept-queue-overflow", steps)


@pytest.mark.parametrize(
    "fault", ["accept-queue-overflow", "syn-flood-without-cookies", "close-wait-leak", "healthy"]
)
def test_verdicts_are_those_of_the_watch(fault: str) -> None:
    async def steps(app: Top, pilot: Pilot[None]) -> None:
        names = app.watch_of.source.names
        with app.watch_of.lock:
            verdicts = app.watch_of.verdicts()
        first = text_of(app)
        assert first.count("✗ ") == min(3, len(verdicts))
        await press(pilot, "5")
        told = " ".join(text_of(app).split())
        for verdict in verdicts:
            assert " ".join(headline(verdict, names).split()) in told
        assert ("no fault that the evidence is enough for" in told) == (not verdicts)

    shown(fault, steps, (120, 60))


def test_from_a_listener_to_a_connection_to_its_timeline() -> None:
    async def steps(app: Top, pilot: Pilot[None]) -> None:
        await press(pilot, "enter")
        lines = lines_of(app)
        assert lines[0] == "0.0.0.0:8080@fault-server · web[194]"
        assert lines[1].startswith("✗ 8080 (web, pid 194): accept queue too small")
        assert "9/8, peak 9" in lines[2]
        assert row(lines, "       drops") == "       drops 176 × SYN dropped: accept queue full"
        assert " t slow or failed 32   o open now 9   d last drops 200" in lines
        await press(pilot, "down", "enter")
        story = text_of(app)
        assert "✗ SYN dropped: accept queue full 9/8" in story
        assert "accepted by web[194]" in story
        assert re.search(r"\+\d\.\d{6}s  ESTABLISHED", story)
        await press(pilot, "escape", "o")
        lines = lines_of(app)
        assert sum(" ESTABLISHED" in line for line in lines) == 9
        await press(pilot, "enter")
        assert "still open" in text_of(app)
        assert "the trace ended" not in text_of(app)
        await press(pilot, "escape", "d")
        assert "final ACK dropped" in text_of(app)
        await press(pilot, "enter", "escape", "escape", "escape")
        assert lines_of(app)[0].startswith("tcptrace top")

    shown("accept-queue-overflow", steps)


def test_what_is_typed_filters_every_view() -> None:
    async def steps(app: Top, pilot: Pilot[None]) -> None:
        await press(pilot, "slash", *"8081")
        text = text_of(app)
        assert "only “8081”" in text
        assert "0.0.0.0:8081@" in text
        assert "0.0.0.0:8080" not in text
        await press(pilot, "enter", "4")
        assert "dropped" not in text_of(app).replace("DROPPED", "")
        await press(pilot, "escape")
        assert "SYN dropped" in text_of(app)
        await press(pilot, "1", "slash", *"WEB[19", "enter")
        assert "0.0.0.0:8080@" in text_of(app)
        await press(pilot, "slash", *"x")
        assert "0.0.0.0:8080@" not in text_of(app)

    shown("accept-queue-overflow", steps)


def test_sorting_takes_the_next_order() -> None:
    async def steps(app: Top, pilot: Pilot[None]) -> None:
        for order in ("accept", "syn", "rate", "port", "drops"):
            await press(pilot, "s")
            assert f"by {order} ·" in lines_of(app)[1]

    shown("accept-queue-overflow", steps)


def test_a_pause_freezes_what_is_shown() -> None:
    async def steps(app: Top, pilot: Pilot[None]) -> None:
        await press(pilot, "p")
        before = app.frame
        app.tick()
        assert app.frame is before
        assert lines_of(app)[1].startswith("PAUSED · ")
        (listening, _) = (row.listening for row in app.frame.rows)
        shown_before = lines_of(app)
        listening.members.clear()
        await press(pilot, "down", "up")
        assert lines_of(app) == shown_before
        await press(pilot, "p")
        assert "PAUSED" not in text_of(app)
        assert " closed " in text_of(app)

    shown("accept-queue-overflow", steps)


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (40, 10), (200, 60), (79, 23), (41, 11)])
@pytest.mark.parametrize("fault", ["accept-queue-overflow", "syn-flood-without-cookies"])
def test_every_view_fits_every_size(fault: str, size: tuple[int, int]) -> None:
    async def steps(app: Top, pilot: Pilot[None]) -> None:
        width, height = size
        for keys in ("1", "2", "3", "4", "5", "question_mark", "1 enter", "enter", "escape escape"):
            await press(pilot, *(["escape"] if keys == "1 enter" else []), *keys.split())
            lines = lines_of(app)
            assert len(lines) == height
            assert all(len(line) <= width for line in lines)
            assert re.search(r"quit\s*$", lines[-1]), (keys, lines[-1])
            assert "▇" not in lines[-2], "a scroll bar"

    shown(fault, steps, size)


def test_it_follows_the_terminals_size() -> None:
    async def steps(app: Top, pilot: Pilot[None]) -> None:
        for size in ((120, 40), (40, 10), (30, 9), (80, 24)):
            await pilot.resize_terminal(*size)
            await pilot.pause(0.1)
            lines = lines_of(app)
            assert len(lines) == size[1]
            if size == (30, 9):
                assert [line for line in lines if line] == ["too small: needs 40 × 10"]
            else:
                assert row(lines, "0.0.0.0:8080@")

    shown("accept-queue-overflow", steps)


def test_help_names_every_key() -> None:
    async def steps(app: Top, pilot: Pilot[None]) -> None:
        await press(pilot, "question_mark")
        text = text_of(app)
        for word in ("1 2 3 4 5", "Enter", "Esc", "Tab", " / ", " s ", " p ", " q ", "PAST"):
            assert word in text
        await press(pilot, "escape")
        assert "ACCEPT Q" in text_of(app)

    shown("healthy", steps)


def test_keys_move_the_cursor_and_stay_on_what_it_is_on() -> None:
    async def steps(app: Top, pilot: Pilot[None]) -> None:
        await press(pilot, "end")
        listeners = app.screen.query_one("#listeners", Lines)
        assert port_of(listeners.cursor) == 8081
        await press(pilot, "s", "s", "s", "s")
        assert app.selection.order == "port"
        assert port_of(listeners.cursor) == 8081
        app.select(wanted="8081")
        await press(pilot)
        assert port_of(listeners.cursor) == 8081
        app.select(wanted="nobody")
        await press(pilot, "down", "enter")
        assert listeners.cursor is None
        await press(pilot, "home", "4", "pagedown", "pagedown", "k", "j")
        assert len(lines_of(app)) == 24

    shown("accept-queue-overflow", steps)


def test_an_error_ends_it_without_a_page_of_text(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MainScreen, "fill", lambda _self, _frame: 1 / 0)
    with played("healthy") as app:
        app.run(headless=True, size=SMALL)
    assert isinstance(app.fault, ZeroDivisionError)
    assert capfd.readouterr() == ("", "")
