"""What scripts rely on, over every command: schemas of JSON, exit codes, colours where wanted."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

import click
import jsonschema
import pytest

from tcptrace import errors
from tcptrace.cli import main
from tcptrace.cli.main import tcptrace

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT: Final = Path(__file__).resolve().parents[2]
RECORDING: Final = str(ROOT / "tests/data/demo-6.12.tcptrace")
FAULT: Final = str(ROOT / "tests/data/faults/accept-queue-overflow.tcptrace")
HEALTHY: Final = str(ROOT / "tests/data/faults/healthy.tcptrace")
SCHEMAS: Final = {
    "port": "connection-v1",
    "replay": "connection-v1",
    "listeners": "listener-v1",
    "why": "verdict-v1",
    "verify": "verification-v1",
    "doctor": "examination-v1",
}
CONTEXT: Final = click.Context(tcptrace)
COMMANDS: Final = tcptrace.list_commands(CONTEXT)
NEED_ROOT: Final = ("port", "listeners", "serve", "record", "verify", "why", "top")
SGR: Final = re.compile(r"\x1b\[[0-9;]*m")


def run(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tcptrace.cli.main", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env=os.environ | environ,
        cwd=ROOT,
    )


def schema(name: str) -> dict[str, Any]:
    told: dict[str, Any] = json.loads((ROOT / f"docs/schema/{name}.json").read_text("utf-8"))
    return told


def command_of(name: str) -> click.Command:
    command = tcptrace.get_command(CONTEXT, name)
    assert command is not None
    return command


# JSON.


def test_every_json_has_a_schema() -> None:
    with_json = {
        name for name in COMMANDS if any("--json" in one.opts for one in command_of(name).params)
    }
    assert with_json == set(SCHEMAS)
    files = {path.stem for path in (ROOT / "docs/schema").glob("*.json")}
    assert set(SCHEMAS.values()) <= files
    for name in files:
        told = schema(name)
        jsonschema.Draft202012Validator.check_schema(told)
        assert told["$id"] == f"tcptrace.{name.replace('-v', '.v')}"
        assert told["description"]


def test_what_doctor_really_says() -> None:
    done = run("doctor", "--json")
    told = json.loads(done.stdout)
    jsonschema.validate(told, schema("examination-v1"), cls=jsonschema.Draft202012Validator)
    assert done.returncode == (0 if told["ok"] else 1)


def test_what_a_recording_really_says() -> None:
    done = run("replay", RECORDING, "--speed", "max", "--json")
    lives = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(lives) > 10
    check = jsonschema.Draft202012Validator(schema("connection-v1"))
    for life in lives:
        check.validate(life)


def test_what_why_really_says() -> None:
    done = run("why", "--replay", FAULT, "--json")
    assert done.stdout
    check = jsonschema.Draft202012Validator(schema("verdict-v1"))
    for line in done.stdout.splitlines():
        check.validate(json.loads(line))


# Exit codes.


def codes() -> dict[int, str]:
    """Every error's code, with what the class says of itself."""
    found: dict[int, str] = {}
    kinds = [errors.TcptraceError]
    while kinds:
        kind = kinds.pop()
        kinds += kind.__subclasses__()
        found[kind.exit_code] = str(kind.__doc__)
    return found


def test_the_tables_have_every_code() -> None:
    expected = {0, 130, *codes()}
    assert set(main.EXIT_CODES) == expected
    readme = (ROOT / "README.md").read_text(encoding="utf-8").partition("### Exit codes")[2]
    assert {int(code) for code in re.findall(r"^\| (\d+) \|", readme, re.MULTILINE)} == expected
    listed = re.findall(r"^\| (\d+) \|", str(errors.__doc__), re.MULTILINE)
    assert {int(code) for code in listed} == expected


def test_the_help_has_them_too() -> None:
    told = run("--help").stdout.partition("Exit codes:")[2]
    listed = [int(code) for code in re.findall(r"^  (\d+) ", told, re.MULTILINE)]
    assert listed == [*main.EXIT_CODES]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_is_0_and_a_wrong_option_2(command: str) -> None:
    assert run(command, "--help").returncode == 0
    wrong = run(command, "--no-such-option")
    assert wrong.returncode == 2
    assert wrong.stderr.startswith("tcptrace: No such option")
    assert wrong.stderr.count("\n") == 1


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """Anybody may write there; pytest's own are for who runs it alone."""
    with TemporaryDirectory() as directory:
        Path(directory).chmod(0o777)
        yield Path(directory)


@pytest.mark.parametrize("command", [name for name in COMMANDS if name in NEED_ROOT])
def test_without_root_it_is_3(command: str, open_directory: Path) -> None:
    arguments = {
        "port": ["80"],
        "record": ["-o", str(open_directory / "t.rec")],
        "serve": ["--listen", "127.0.0.1:0"],
    }.get(command, [])
    script = (
        "import os, sys\n"
        "os.geteuid() or os.setuid(65534)\n"
        "from tcptrace.cli.main import run\n"
        f"sys.exit(run({[command, *arguments]!r}))"
    )
    # As nobody, who may not read a checkout in somebody's home: all is imported before.
    modules = "import tcptrace.cli.main, tcptrace.cli." + command + "\n"
    done = subprocess.run(
        [sys.executable, "-c", modules + script],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        timeout=60,
    )
    assert done.returncode == 3, done.stderr
    assert "root" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["replay", RECORDING, "--speed", "max"], 0),
        (["why", "--replay", HEALTHY], 0),
        (["why", "--replay", FAULT], 7),
        (["port"], 2),
        (["port", "0"], 2),
        (["no-such-command"], 2),
        (["replay", "/nowhere"], 2),
        (["why", "--replay", "/nowhere"], 2),
        (["serve", "--replay", "/nowhere"], 2),
        (["replay", "README.md"], 4),
        (["why", "--replay", "README.md"], 4),
        (["serve", "--replay", "README.md", "--listen", "127.0.0.1:0"], 4),
        (["serve", "--replay", RECORDING, "--textfile", "/nowhere/at/all"], 5),
        (["record", "-o", "/nowhere/t.rec"], 5),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, list) else "",
)
def test_codes(arguments: list[str], code: int) -> None:
    done = run(*arguments)
    assert done.returncode == code, done.stderr


@pytest.mark.parametrize("command", ["replay", "why"])
def test_a_full_disk_is_5(command: str) -> None:
    arguments = {"replay": [RECORDING, "--speed", "max"], "why": ["--replay", FAULT]}[command]
    with open("/dev/full", "wb") as full:  # noqa: PTH123 - a device
        done = subprocess.run(
            [sys.executable, "-m", "tcptrace.cli.main", command, *arguments],
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
            cwd=ROOT,
            timeout=300,
        )
    assert done.returncode == 5, done.stderr


def test_an_error_that_nobody_foresaw_is_70(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_context: click.Context) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(main.tcptrace, "invoke", fail)
    assert main.run(["doctor"]) == 70


# Colours.

SHOWN: Final = {
    "replay": ["replay", RECORDING, "--speed", "max"],
    "timeline": ["replay", RECORDING, "--speed", "max", "--timeline"],
    "why": ["why", "--replay", FAULT],
    "doctor": ["doctor"],
    "serve": ["serve", "--replay", "README.md", "--listen", "127.0.0.1:0"],
    "verify": ["verify", "--user", "no-such-user"],
    "port": ["port", "x"],
    "record": ["record"],
    "listeners": ["listeners", "--user", "no-such-user"],
}


def on_a_terminal(arguments: list[str], **environ: str) -> str:
    """What a command writes, stdout and stderr, to a terminal that has colours."""
    ours, theirs = pty.openpty()
    told = {"TERM": "xterm-256color", "COLUMNS": "120", "FORCE_COLOR": "", "NO_COLOR": ""}
    with subprocess.Popen(
        [sys.executable, "-m", "tcptrace.cli.main", *arguments],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=os.environ | told | environ,
        cwd=ROOT,
    ):
        os.close(theirs)
        text = b""
        with suppress(OSError):  # the terminal's other side is closed
            while part := os.read(ours, 65536):
                text += part
    os.close(ours)
    return text.decode()


@pytest.mark.parametrize("shown", SHOWN)
def test_no_colour_is_obeyed(shown: str) -> None:
    text = on_a_terminal(SHOWN[shown], NO_COLOR="1")
    assert text
    assert not SGR.search(text)


@pytest.mark.parametrize("shown", ["replay", "timeline", "why", "doctor"])
def test_a_terminal_has_colours_and_a_pipe_if_forced(shown: str) -> None:
    assert SGR.search(on_a_terminal(SHOWN[shown]))
    done = run(*SHOWN[shown], NO_COLOR="", FORCE_COLOR="")
    assert not SGR.search(done.stdout + done.stderr)
    forced = run(*SHOWN[shown], NO_COLOR="", FORCE_COLOR="1")
    assert SGR.search(forced.stdout + forced.stderr)


def test_json_has_no_colours_ever() -> None:
    done = run("replay", RECORDING, "--speed", "max", "--json", FORCE_COLOR="1", NO_COLOR="")
    assert "\x1b" not in done.stdout


def test_colours_come_from_one_place() -> None:
    """Whatever is painted asks Paint, which asks the environment."""
    found = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "tcptrace").rglob("*.py")
        if re.search(r"\\x1b\[[0-9;]*m|\\033\[|click\.style|secho", path.read_text("utf-8"))
    }
    assert found == {"tcptrace/sinks/terminal.py"}
