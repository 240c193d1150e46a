"""Completion in a real, interactive bash; what the scripts for all shells hold."""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from click.shell_completion import get_completion_class

from tcptrace.cli import completion, main
from tcptrace.cli.main import tcptrace

if TYPE_CHECKING:
    from collections.abc import Iterator

SCRIPTS: Final = Path(__file__).resolve().parents[2] / "packaging/completions"
DEADLINE_S: Final = 60.0
FILES = {"bash": "tcptrace.bash", "zsh": "_tcptrace", "fish": "tcptrace.fish"}


@pytest.mark.parametrize(("shell", "name"), FILES.items())
def test_the_scripts_are_what_click_makes(shell: str, name: str) -> None:
    """`_TCPTRACE_COMPLETE=bash_source tcptrace > packaging/completions/tcptrace.bash` mends it."""
    kind = get_completion_class(shell)
    assert kind is not None
    source = kind(tcptrace, {}, "tcptrace", completion.VARIABLE)
    made = source.source_template % source.source_vars()
    assert (SCRIPTS / name).read_text(encoding="utf-8").rstrip("\n") == made.rstrip("\n")


class Bash:
    """An interactive bash on a terminal, with the script and a `tcptrace` on its PATH."""

    def __init__(self, directory: Path) -> None:
        bash = shutil.which("bash")
        assert bash is not None
        tool = directory / "bin/tcptrace"
        tool.parent.mkdir()
        tool.write_text(f'#!/bin/sh\nexec {sys.executable} -m tcptrace.cli.main "$@"\n')
        tool.chmod(0o755)
        (directory / "inputrc").write_text(
            "set enable-bracketed-paste off\nset bell-style none\nset page-completions off\n"
            "set completion-query-items 0\n"
        )
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            os.chdir(directory)
            environ = os.environ | {
                "PATH": f"{tool.parent}:{os.environ['PATH']}",
                "INPUTRC": str(directory / "inputrc"),
                "PYTHONPATH": str(SCRIPTS.parents[1]),
                "PS1": "$ ",
                "TERM": "dumb",
                "COLUMNS": "200",
            }
            os.execve(bash, [bash, "--noprofile", "--norc", "-i"], environ)  # noqa: S606 - as it is
        self.told = ""
        self.type(f"source {SCRIPTS / 'tcptrace.bash'}; echo rea''dy\n")
        self.until("ready\r\n")

    def type(self, text: str) -> None:
        os.write(self.terminal, text.encode())

    def until(self, pattern: str) -> str:
        end_s = time.monotonic() + DEADLINE_S
        while not (found := re.search(pattern, self.told)):
            left_s = end_s - time.monotonic()
            assert left_s > 0, f"{pattern!r} never came: {self.told!r}"
            if select.select([self.terminal], [], [], left_s)[0]:
                self.told += os.read(self.terminal, 65536).decode()
        before, self.told = self.told[: found.end()], self.told[found.end() :]
        return before

    def completed(self, line: str) -> str:
        """What a line becomes by one Tab."""
        self.type(f"{line}\t")
        self.type("\x01echo [\x05]\n")  # to its begin, to its end
        told = re.findall(r"^\[(.*)\]\r$", self.until(r"\n\[.*\]\r\n"), re.MULTILINE)
        (shown,) = told
        return str(shown).rstrip()

    def listed(self, line: str, last: str) -> str:
        """What is offered after two of them, up to a word."""
        self.type(f"{line}\t\t")
        shown = self.until(re.escape(last))
        self.type("\x15echo done\n")
        self.until("\ndone\r\n")
        return shown

    def close(self) -> None:
        self.type("\x15exit\n")
        os.close(self.terminal)
        os.waitpid(self.pid, 0)


@pytest.fixture
def bash(tmp_path: Path) -> Iterator[Bash]:
    (tmp_path / "night.tcptrace").write_bytes(b"")
    shell = Bash(tmp_path)
    yield shell
    shell.close()


def test_bash_completes(bash: Bash) -> None:
    assert bash.completed("tcptrace liste") == "tcptrace listeners"
    assert bash.completed("tcptrace port --time") == "tcptrace port --timeline"
    assert bash.completed("tcptrace serve --attach fe") == "tcptrace serve --attach fentry"
    assert bash.completed("tcptrace replay ni") == "tcptrace replay night.tcptrace"
    assert bash.completed("tcptrace serve --replay ni") == "tcptrace serve --replay night.tcptrace"
    shown = bash.listed("tcptrace serve --w", "web-config")
    assert "Traceback" not in shown
    assert "replay" in bash.listed("tcptrace re", "replay")


def test_namespaces_are_offered_but_no_trap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("blue", "black", "red", "bl;reboot", "bl$(id)", "-blunt", "bl ue", "bl\nue"):
        (tmp_path / name).touch()
    monkeypatch.setattr(completion, "_NAMESPACES", tmp_path)
    assert asked(monkeypatch, capsys, "tcptrace port --netns bl") == ["black", "blue"]
    monkeypatch.setattr(completion, "_NAMESPACES", tmp_path / "nowhere")
    assert asked(monkeypatch, capsys, "tcptrace port --netns bl") == []


def test_ports_that_somebody_listens_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "tcp"
    table.write_text(
        "  sl  local_address rem_address   st tx_queue rx_queue\n"
        "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000\n"
        "   1: 0100007F:1F91 0100007F:C001 01 00000000:00000000\n"
        "   2: 00000000:0050 00000000:0000 0A 00000000:00000000\n"
        "rubbish\n"
    )
    monkeypatch.setattr(completion, "_TABLES", (table, tmp_path / "tcp6"))
    assert asked(monkeypatch, capsys, "tcptrace port 8") == ["80", "8080"]
    assert asked(monkeypatch, capsys, "tcptrace record --port 808") == ["8080"]


def asked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], line: str
) -> list[str]:
    words = line.split()
    monkeypatch.setenv(completion.VARIABLE, "bash_complete")
    monkeypatch.setenv("COMP_WORDS", line)
    monkeypatch.setenv("COMP_CWORD", str(len(words) - 1))
    assert main.run([]) == 0
    return [told.removeprefix("plain,") for told in capsys.readouterr().out.splitlines() if told]
