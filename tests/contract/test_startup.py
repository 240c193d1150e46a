from __future__ import annotations

import subprocess
import sys

import pytest

COMMANDS = ("why", "top", "port", "record", "replay", "doctor")
HEAVY = ("bcc", "tcptrace.kernel", "ctypes", "hypothesis", "textual", "rich")


@pytest.mark.parametrize("arguments", [["--help"], *([name, "--help"] for name in COMMANDS)])
def test_help_is_told(arguments: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tcptrace.cli.main", *arguments],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("Usage: tcptrace ")
    assert max(map(len, done.stdout.splitlines())) <= 100


def test_the_command_line_imports_nothing_heavy() -> None:
    script = (
        "import sys, tcptrace.cli.port, tcptrace.cli.record, tcptrace.cli.replay\n"
        "import tcptrace.cli.doctor, tcptrace.cli.main, tcptrace.cli.top\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


def test_a_trace_of_lines_does_without_numpy() -> None:
    script = (
        "import sys, tcptrace.kernel.live, tcptrace.session\n"
        "from tcptrace.cli.options import printer_maker\n"
        "printer_maker(timeline=False, as_json=False, at_once=True)\n"
        "print('numpy' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"
