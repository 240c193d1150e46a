"""What a host's owner is told: that all is well, or in one line why tracing can't be."""

from __future__ import annotations

import json
import pwd

import pytest

from .traced import run


@pytest.mark.core
def test_doctor_finds_nothing_missing() -> None:
    done = run("doctor", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(done.stdout)
    assert told["ok"] is True
    assert told["checks"]
    assert all(check["ok"] for check in told["checks"])


def test_doctor_finds_the_missing_privileges() -> None:
    done = run("doctor", "--json", user=_nobody())
    assert done.returncode == 1, done.stdout + done.stderr
    assert json.loads(done.stdout)["ok"] is False


@pytest.mark.parametrize("command", ["port", "record"])
def test_nobody_cannot_trace(command: str, port: int) -> None:
    arguments = {
        "port": ("port", str(port)),
        "record": ("record", "-o", f"/tmp/recording-{port}"),  # noqa: S108 - where nobody may write
    }
    done = run(*arguments[command], user=_nobody())
    assert done.returncode == 3, done.stdout + done.stderr
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert "doctor" in line


def _nobody() -> int:
    return pwd.getpwnam("nobody").pw_uid
