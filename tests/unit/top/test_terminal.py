"""The real command on a pseudo-terminal: how it begins, obeys, ends, and what it leaves behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest
from screens.full_screen import FullScreen

from unit.top.recorded import FAULTS

OVERFLOW = ["top", "--replay", str(FAULTS / "accept-queue-overflow.tcptrace"), "--speed", "max"]
TCPTRACE = [sys.executable, "-m", "tcptrace.cli.main"]
CONFINED = Path(__file__).with_name("confined.py")
LEAVES = b"\x1b[?1049l"


@pytest.mark.parametrize(
    "how", ["q", "\x03", signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=repr
)
def test_however_it_ends_the_terminal_is_as_it_was(how: str | signal.Signals) -> None:
    with FullScreen(OVERFLOW) as screen:
        screen.wait_for("ACCEPT Q", "9/8", "replay of ")
        assert termios.tcgetattr(screen.descriptor) != screen.before
        if isinstance(how, str):
            screen.press(how)
        else:
            os.kill(screen.pid, how)
        assert screen.end() == 0
        assert termios.tcgetattr(screen.descriptor) == screen.before
        raw = b"".join(chunk for _, chunk in screen.got)
        assert raw.count(b"\x1b[?1049h") == raw.count(LEAVES) == 1
        last = raw.rpartition(LEAVES)[2]
        assert b"\x1b[?25h" in last
        assert b"\x1b[?1000l" in last
        assert b"Traceback" not in raw


def test_keys_and_sizes() -> None:
    with FullScreen(OVERFLOW) as screen:
        screen.wait_for("✗ 8080 (web, pid 194)", "SYN dropped: accept queue full 9/8")
        screen.press("2")
        screen.wait_for("┌ TIME_WAIT ────┐", "│ 120 ")
        screen.resize(120, 40)
        screen.wait_until(lambda: any(len(line) > 110 for line in screen.lines), "a wider diagram")
        screen.resize(40, 10)
        screen.wait_for("STATE              NOW    IN/s   OUT/s")
        screen.resize(30, 8)
        screen.wait_for("too small: needs 40 × 10")
        screen.resize(80, 24)
        screen.wait_for("┌ TIME_WAIT ────┐")
        screen.press("1\r")
        screen.wait_for("t slow or failed 32")
        screen.press("\r")
        screen.wait_for("✗ final ACK dropped: accept queue full 9/8", "ESTABLISHED")
        screen.press("q")
        assert screen.end() == 0


NOHUP = ["/bin/sh", "-c", 'trap "" HUP; exec "$0" -m tcptrace.cli.main "$@"', sys.executable]


@pytest.mark.parametrize("command", [TCPTRACE, NOHUP], ids=["plain", "nohup"])
def test_a_terminal_that_goes_away_ends_it(command: list[str]) -> None:
    with FullScreen(OVERFLOW, command=command) as screen:
        screen.wait_for("ACCEPT Q")
        os.dup2(os.open(os.devnull, os.O_RDWR), screen.descriptor)
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            if os.waitpid(screen.pid, os.WNOHANG)[0]:
                return
            time.sleep(0.05)
    raise AssertionError("it goes on without a terminal")


def colours(screen: FullScreen) -> set[str]:
    buffer = screen.screen.buffer
    rows, columns = screen.screen.lines, screen.screen.columns
    return {buffer[y][x].fg for y in range(rows) for x in range(columns)} - {"default", "dim"}


def test_colours_are_the_terminals_own_or_none() -> None:
    for environment in ({}, {"NO_COLOR": ""}):
        with FullScreen(OVERFLOW, environment=environment) as screen:
            screen.wait_for("✗ 8080", "DROPPED", "quit")
            assert {"red", "green"} <= colours(screen) <= {"red", "green", "brown"}
    with FullScreen(OVERFLOW, environment={"NO_COLOR": "1"}) as screen:
        screen.wait_for("✗ 8080", "DROPPED", "quit")
        assert not colours(screen)


@pytest.mark.parametrize(
    ("size", "environment", "told"),
    [
        ((80, 24), {"TERM": "dumb"}, "TERM=dumb"),
        ((39, 24), {}, "39 × 24 characters, top needs 40 × 10"),
        ((80, 9), {}, "80 × 9 characters, top needs 40 × 10"),
    ],
)
def test_what_is_no_full_screen_is_told_in_a_line(
    size: tuple[int, int], environment: dict[str, str], told: str
) -> None:
    with FullScreen(OVERFLOW, *size, environment) as screen:
        assert screen.end() == 5
        raw = b"".join(chunk for _, chunk in screen.got).decode()
        assert raw.count("\n") == 1
        assert raw.startswith("tcptrace: ")
        assert told in raw
        assert "`tcptrace listeners`" in raw
        assert "\x1b" not in raw


def test_without_a_terminal_it_says_so_in_a_line() -> None:
    done = subprocess.run(
        [*TCPTRACE, *OVERFLOW],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 5
    assert not done.stdout
    assert done.stderr.startswith("tcptrace: top needs a terminal, and standard input is none: ")
    assert done.stderr.count("\n") == 1


def test_what_a_recording_lacks_is_told_on_the_screen_and_once_it_is_left(tmp_path: Path) -> None:
    path = tmp_path / "cut"
    path.write_bytes((FAULTS / "accept-queue-overflow.tcptrace").read_bytes()[:50_000])
    with FullScreen(["top", "--replay", str(path), "--speed", "max"]) as screen:
        screen.wait_for("the recording has no end, its writer was stopped")
        screen.press("q")
        assert screen.end() == 0
        left = b"".join(chunk for _, chunk in screen.got).rpartition(LEAVES)[2]
        assert b"tcptrace: the recording has no end" in left


def test_a_damaged_recording_is_told_on_the_screen_and_once_it_is_left(tmp_path: Path) -> None:
    whole = (FAULTS / "accept-queue-overflow.tcptrace").read_bytes()
    path = tmp_path / "damaged"
    path.write_bytes(whole[: len(whole) // 2] + b"\xff" * 64 + whole[len(whole) // 2 :])
    with FullScreen(["top", "--replay", str(path), "--speed", "max"]) as screen:
        screen.wait_for("ACCEPT Q", "the recording is damaged: ")
        screen.press("q")
        assert screen.end() == 4
        assert "tcptrace: " in screen.text


def test_it_needs_nothing_that_the_collector_may_not_have() -> None:
    """Under the seccomp filter, and without a file once it is confined."""
    arguments = [str(CONFINED), str(FAULTS / "accept-queue-overflow.tcptrace")]
    with FullScreen(arguments, command=[sys.executable]) as screen:
        screen.wait_for("ACCEPT Q")
        assert termios.tcgetattr(screen.descriptor) != screen.before
        for keys, shown in (
            ("2", "TIME_WAIT"), ("3", "slowest"), ("4", "DROPPED"), ("5", "runbook"),
            ("?", "WHAT IS SHOWN"), ("\x1b", "runbook"), ("1", "ACCEPT Q"), ("/", "address, port"),
            ("80\r", "only “80”"), ("\r", "t slow or failed"), ("o", "ESTABLISHED"),
            ("\r", "still open"),
        ):  # fmt: skip
            screen.press(keys)
            screen.wait_for(shown)
        screen.resize(100, 30)
        screen.read(0.5)
        screen.press("q")
        assert screen.end() == 0
        assert termios.tcgetattr(screen.descriptor) == screen.before
        assert "opened: []" in screen.text
