"""What a host's owner is told: that all is well, or in one line why tracing can't be."""

from __future__ import annotations

import json
import platform
import pwd
import subprocess

import pytest

from .traced import START_DEADLINE_S, TCPTRACE, run


@pytest.mark.core
def test_doctor_finds_nothing_missing() -> None:
    done = run("doctor", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(done.stdout)
    assert told["ok"] is True
    assert told["checks"]
    assert all(check["ok"] for check in told["checks"])
    found = {check["name"]: check["found"] for check in told["checks"]}
    assert "tp_btf" in found["inet_sock_set_state"]  # not merely what it falls back to
    judged = "by the queues' lengths" if _is_5_10() else "by the kernel's own counters"
    assert found["stages of drops"].startswith(judged)


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


def test_without_btf_and_headers_it_says_what_to_install(port: int) -> None:
    """In a mount namespace of its own, where nothing is in the places of both."""
    hide = "for place in /sys/kernel/btf /lib/modules; do mount -t tmpfs none $place || exit; done"
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", f'{hide}; exec "$@"', "sh", TCPTRACE, "port", str(port)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=START_DEADLINE_S,
    )
    assert done.returncode == 3, done.stdout + done.stderr
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert "no BTF" in line
    assert f"linux-headers-{platform.release()}" in line


def _is_5_10() -> bool:
    """Debian's was built with a pahole that left per-CPU variables out of BTF."""
    return platform.release().startswith("5.10.")


def _nobody() -> int:
    return pwd.getpwnam("nobody").pw_uid
