"""Outputs that go away or fill up."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final

import pytest
from live.namespaces import tool
from live.probes import Probes
from live.sockets import LOOPBACK, accept, connect, listen, reset, wait_for_reset
from live.traced import TCPTRACE, Trace, replayed
from live.waiting import DEADLINE_S, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_PORT: Final = 20_900
_OUTPUT_FAILED: Final = 5


def _meet() -> None:
    with listen((LOOPBACK, _PORT)) as listener:
        client = connect((LOOPBACK, _PORT))
        server = accept(listener)
        reset(client)
        wait_for_reset(server)
        server.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    tool("mount", "-t", "tmpfs", "-o", "size=1m,mode=1777", "tmpfs", str(disk))
    os.chmod(tmp_path, 0o755)  # noqa: PTH101, S103
    yield disk
    tool("umount", str(disk))


def test_a_textfile_on_a_full_disk(small_disk: Path, before: Probes) -> None:
    """The former file stays whole; once there is room it is written again."""
    file = small_disk / "tcptrace.prom"
    filler = small_disk / "filler"
    for parent in small_disk.parents:
        if str(parent).startswith("/tmp/"):  # noqa: S108 - pytest's are root's alone
            parent.chmod(0o755)
    with Trace("serve", "--textfile", str(small_disk)) as trace:
        trace.ready = "serving "
        trace.wait_until_tracing()
        whole = file.read_text()
        assert whole.count("\n") > 100
        _fill(filler)
        until(lambda: "No space left on device" in trace.stderr, "the disk to be full")
        assert file.read_text().count("\n") > 100
        assert sorted(path.name for path in small_disk.iterdir()) == ["filler", "tcptrace.prom"]
        filler.unlink()
        written_ns = file.stat().st_mtime_ns
        until(lambda: file.stat().st_mtime_ns > written_ns, "the file to be written again")
        trace.end()
    assert not file.exists()
    until(lambda: Probes.now() == before, "all to be detached")


def _fill(filler: Path) -> None:
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(1024))
        except OSError:
            return


def test_a_textfile_on_a_disk_that_was_full_before(small_disk: Path, before: Probes) -> None:
    for parent in small_disk.parents:
        if str(parent).startswith("/tmp/"):  # noqa: S108
            parent.chmod(0o755)
    _fill(small_disk / "filler")
    with Trace("serve", "--textfile", str(small_disk)) as trace:
        assert trace.wait(2 * DEADLINE_S) == _OUTPUT_FAILED
        assert "No space left on device" in trace.stderr.splitlines()[-1]
    until(lambda: Probes.now() == before, "all to be detached")


def test_the_terminal_goes_away(tmp_path: Path, before: Probes) -> None:
    """SIGHUP: the recording is ended, the last lives are shown, nothing stays attached."""
    recording = tmp_path / "recording"
    with ExitStack() as stack:
        record = stack.enter_context(Trace("record", "-o", str(recording), "--port", str(_PORT)))
        trace = stack.enter_context(Trace("port", str(_PORT), "--json"))
        for one in (record, trace):
            one.wait_until_tracing()
        _meet()
        for one in (record, trace):
            one.process.send_signal(signal.SIGHUP)
            assert one.wait() == 0
        assert len(trace.lives_so_far()) == 2
    done = subprocess.run(
        [TCPTRACE, "replay", str(recording), "--speed", "max"],
        capture_output=True, text=True, check=True, timeout=DEADLINE_S,
    )  # fmt: skip
    assert "has no end" not in done.stderr
    assert len(replayed(recording)) == 2
    until(lambda: Probes.now() == before, "all to be detached")


def test_the_reader_of_the_pipe_goes_away(before: Probes) -> None:
    """It ends as `| head -1` expects: silently, with 0."""
    with subprocess.Popen(
        [TCPTRACE, "port", str(_PORT)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        until(lambda: process.stderr.readline().startswith("tracing "), "tracing to begin")  # type: ignore[union-attr]
        process.stdout.close()
        until(lambda: _has_ended_after_another(process), "the write to fail")
        assert process.returncode == 0
        assert "Error" not in process.stderr.read()
    until(lambda: Probes.now() == before, "all to be detached")


def _has_ended_after_another(process: subprocess.Popen[str]) -> bool:
    _meet()
    return process.poll() is not None


def test_no_standard_output_at_all(before: Probes) -> None:
    done = subprocess.run(
        ["sh", "-c", f"exec {TCPTRACE} port 1 >&-"],
        capture_output=True, text=True, check=False, timeout=DEADLINE_S,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (
        _OUTPUT_FAILED,
        "tcptrace: standard output is closed\n",
    )
    assert Probes.now() == before
