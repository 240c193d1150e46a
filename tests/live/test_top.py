"""`tcptrace top` on a real kernel: the listener that overflows is seen, without privileges."""

from __future__ import annotations

import os
import signal
import termios
from itertools import cycle
from pathlib import Path

import pytest
from faults.stage import WEB, Stage
from screens.full_screen import FullScreen

DOWN, UP = "\x1b[B", "\x1b[A"
STATUS = ("Uid:", "CapEff:", "NoNewPrivs:", "Seccomp:")


def status_of(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    return {line.split()[0]: line.split()[1] for line in lines if line.startswith(STATUS)}


@pytest.mark.once
@pytest.mark.surfaces
def test_an_overflowing_listener_is_seen_while_it_overflows() -> None:
    with Stage() as stage, FullScreen(["top"], 110, 36, patience_s=300) as screen:
        screen.wait_for("ACCEPT Q", "agrees with the kernel")
        assert status_of(screen.pid) == {
            "Uid:": "65534",
            "CapEff:": "0000000000000000",
            "NoNewPrivs:": "1",
            "Seccomp:": "2",
        }
        stage.serve(backlog=4, pause_s=1.0)
        visitors = stage.clients(stay_s=0.1)
        stage.loop.every(2, lambda: visitors.connect(stage.here, 12))

        def look() -> bool:
            stage.loop.run(0.3)
            screen.read(0.05)
            text = screen.text
            return "SYN dropped: accept queue full" in text and "✗ 8080" in text

        screen.wait_until(look, "the overflow")
        line = next(line for line in screen.lines if line.startswith(f"0.0.0.0:{WEB}@"))
        assert "/4 " in line
        screen.press("\r")
        screen.wait_for("accept queue ", "/4, peak", "slow or failed")
        keys = cycle([*[DOWN] * 8, *[UP] * 8])

        def open_one() -> bool:
            """The slowest ones need not have lost their SYN: they may have waited for accept()."""
            stage.loop.run(0.3)
            screen.press("\r")
            screen.read(1)
            if "✗ SYN dropped: accept queue full" in screen.text:
                return True
            screen.press("\x1b")
            screen.wait_for("slow or failed")
            screen.press(next(keys))
            return False

        screen.wait_until(open_one, "one whose SYN was dropped")
        screen.press("\x1b")
        screen.wait_for("slow or failed")
        screen.press("\x1b")
        screen.wait_for("ACCEPT Q")
        screen.press("2")
        screen.wait_for("┌ ESTABLISHED ──┐")
        os.kill(screen.pid, signal.SIGTERM)
        assert screen.end() == 0
        assert termios.tcgetattr(screen.descriptor) == screen.before
