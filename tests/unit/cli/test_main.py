from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from tcptrace.cli import main
from tcptrace.errors import BadRecording, CannotTrace
from tcptrace.sinks.recording import RecordingWriter
from unit import samples

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    import click

NETNS: Final = "/proc/self/ns/net"
OVERFLOW: Final = str(
    Path(__file__).resolve().parents[2] / "data/faults/accept-queue-overflow.tcptrace"
)


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
        (["serve", "--speed", "2"], "--speed has no use without --replay"),
        (["top", "--speed", "1"], "--speed"),
        (["top", "--replay", OVERFLOW, "--netns", NETNS], "--netns has no use with --replay"),
        (["why", "--replay", OVERFLOW, "--duration", "15s"], "--duration"),
        (["why", "--replay", OVERFLOW, "--cri-socket", "/"], "--cri-socket"),
        (["serve", "--replay", OVERFLOW, "--ring-size", "8M"], "--ring-size"),
        (["serve", "--replay", OVERFLOW, "--attach", "auto"], "--attach"),
        (["serve", "--replay", OVERFLOW, "--user", "root"], "--user"),
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


def tcptrace(
    *arguments: str, stdout: int = subprocess.PIPE, stderr: int = subprocess.PIPE
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tcptrace.cli.main", *arguments],
        stdout=stdout,
        stderr=stderr,
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


@contextmanager
def nobodys_pipe() -> Iterator[int]:
    """Whose reader is gone."""
    reading, writing = os.pipe()
    os.close(reading)
    yield writing
    os.close(writing)


@contextmanager
def full_disk() -> Iterator[int]:
    with open("/dev/full", "wb") as full:  # noqa: PTH123 - a device
        yield full.fileno()


def test_a_reader_that_goes_away_ends_it_quietly() -> None:
    with nobodys_pipe() as pipe:
        done = tcptrace("--help", stdout=pipe)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_reader_that_goes_away_takes_nothing_from_how_it_ends(tmp_path: Path) -> None:
    with nobodys_pipe() as pipe:
        assert tcptrace("why", "--replay", OVERFLOW, stdout=pipe).returncode == 7
        assert tcptrace("why", "--json", "--replay", OVERFLOW, stdout=pipe).returncode == 7
        # What it had to show fits its buffer: it is written when the damage is known.
        damaged = recording(tmp_path / "damaged.rec")
        damaged.write_bytes(damaged.read_bytes() + b"x")
        assert tcptrace("replay", "--json", str(damaged), stdout=pipe).returncode == 4


@pytest.mark.parametrize("stderr", [nobodys_pipe, full_disk])
def test_words_that_nobody_takes_change_nothing_either(
    stderr: Callable[[], AbstractContextManager[int]],
) -> None:
    with stderr() as nowhere:
        done = tcptrace("why", "--json", "--replay", OVERFLOW, stderr=nowhere)
        assert (done.returncode, done.stdout.count("\n")) == (7, 1)
        done = tcptrace("doctor", "--json", stderr=nowhere)
        assert done.returncode == (0 if json.loads(done.stdout)["ok"] else 1)
        assert tcptrace("why", "--replay", __file__, stderr=nowhere).returncode == 4


@pytest.mark.parametrize(
    ("command", "code"),
    [(f"why --replay {OVERFLOW}", 7), (f"why --replay {__file__}", 4), ("doctor --json", None)],
)
def test_a_closed_stderr_is_nobody_who_reads(command: str, code: int | None) -> None:
    closing = f"exec {sys.executable} -m tcptrace.cli.main {command} 2>&-"
    done = subprocess.run(["sh", "-c", closing], capture_output=True, text=True, check=False)
    assert bool(done.stdout) == (code != 4)
    if code is None:
        code = 0 if json.loads(done.stdout)["ok"] else 1
    assert done.returncode == code


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_a_full_disk_behind_stdout_is_5(option: str) -> None:
    command = [sys.executable, "-m", "tcptrace.cli.main", option]
    with open("/dev/full", "wb") as full:  # noqa: PTH123 - a device
        ended = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert ended.returncode == 5
    assert ended.stderr == "tcptrace: can't write the output: No space left on device\n"
