from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tcptrace.cli import main
from tcptrace.errors import BadRecording, CannotTrace
from tcptrace.sinks.recording import RecordingWriter
from unit import samples

if TYPE_CHECKING:
    from pathlib import Path

    import click


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["port", "no-such-service"], "neither a port"),
        (["port", "99999"], "no TCP port"),
        (["port"], "Missing argument"),
        (["port", "80", "--json", "--timeline"], "exclude each other"),
        (["port", "80", "--stacks"], "--stacks needs"),
        (["port", "80", "--count", "0"], "--count"),
        (["port", "80", "--netns", "/nowhere"], "no network namespace"),
        (["nonsense"], "nonsense"),
        (["replay", "/nowhere/t.rec"], "No such file"),
        (["replay", "/"], "Is a directory"),
        (["record"], "Missing option"),
    ],
)
def test_a_wrong_command_line_is_one_line_and_2(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run(arguments) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("tcptrace: ")
    assert words in output.err
    assert output.err.count("\n") == 1


def test_without_a_command_it_says_which_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run([]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in ("port", "record", "replay", "doctor"))
    assert main.run(["--version"]) == 0
    assert capsys.readouterr().out.startswith("tcptrace 0.")


def failing(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def fail(_context: click.Context) -> None:
        raise error

    monkeypatch.setattr(main.tcptrace, "invoke", fail)


def test_who_cannot_trace_is_sent_to_doctor(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    failing(monkeypatch, CannotTrace("no\nBTF"))
    assert main.run(["port", "80"]) == 3
    assert capsys.readouterr().err == ("tcptrace: no BTF; `tcptrace doctor` says what is missing\n")


def test_other_ends(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    failing(monkeypatch, BadRecording("evil\x1b[2J"))
    assert main.run(["port", "80"]) == 4
    assert "\x1b" not in capsys.readouterr().err
    failing(monkeypatch, KeyboardInterrupt())
    assert main.run(["port", "80"]) == 130
    monkeypatch.delenv("TCPTRACE_DEBUG", raising=False)
    failing(monkeypatch, ZeroDivisionError("oh\nno"))
    assert main.run(["port", "80"]) == 70
    assert capsys.readouterr().err.count("\n") == 1
    monkeypatch.setenv("TCPTRACE_DEBUG", "1")
    assert main.run(["port", "80"]) == 70
    assert "Traceback" in capsys.readouterr().err


def recording(path: Path, *, ended: bool = True) -> Path:
    with path.open("wb", buffering=0) as file:
        writer = RecordingWriter(file, str(path), samples.head())
        if ended:
            writer.finish(samples.NO_LOSSES, samples.START + samples.S)
    return path


def tcptrace(*arguments: str, stdout: int = subprocess.PIPE) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tcptrace.cli.main", *arguments],
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        timeout=60,
    )


def test_replay_of_whole_cut_and_damaged_recordings(tmp_path: Path) -> None:
    whole = recording(tmp_path / "whole.rec")
    done = tcptrace("replay", str(whole), "--speed", "max")
    assert (done.returncode, done.stdout) == (0, "")
    assert "replaying" in done.stderr
    assert "0 connections in 1.00s" in done.stderr
    cut = recording(tmp_path / "cut.rec", ended=False)
    done = tcptrace("replay", str(cut))
    assert done.returncode == 0
    assert "has no end, its writer was stopped" in done.stderr
    damaged = tmp_path / "damaged.rec"
    damaged.write_bytes(whole.read_bytes() + b"x")
    done = tcptrace("replay", str(damaged))
    assert done.returncode == 4
    assert "damaged" in done.stderr.splitlines()[-1]
    foreign = tmp_path / "foreign.rec"
    foreign.write_bytes(b"\x7fELF" + bytes(99))
    assert tcptrace("replay", str(foreign)).returncode == 4


def test_a_reader_that_goes_away_ends_it_quietly() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = tcptrace("--help", stdout=writing)
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_a_full_disk_behind_stdout_is_5(option: str) -> None:
    command = [sys.executable, "-m", "tcptrace.cli.main", option]
    with open("/dev/full", "wb") as full:  # noqa: PTH123 - a device
        ended = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert ended.returncode == 5
    assert ended.stderr == "tcptrace: can't write the output: No space left on device\n"
