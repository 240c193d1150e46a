"""A loader that gets no memory: the collector says so in one line; nothing stays attached."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Final

import pytest
from live.namespaces import tool
from live.probes import Probes
from live.traced import START_DEADLINE_S, TCPTRACE
from live.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_CANNOT_TRACE: Final = 3
_COMMAND: Final = (TCPTRACE, "port", "1", "--duration", "1s")


def _one_line(*command: str) -> tuple[int, str]:
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=START_DEADLINE_S
    )
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1, done.stderr
    return done.returncode, done.stderr


@pytest.mark.parametrize("megabytes", [150, 230, 250])
def test_address_space(megabytes: int, before: Probes) -> None:
    status, said = _one_line("prlimit", f"--as={megabytes << 20}", *_COMMAND)
    print(said)
    assert status == _CANNOT_TRACE
    until(lambda: Probes.now() == before, "all to be detached")


@pytest.fixture
def cgroup(tmp_path: Path) -> Iterator[Path]:
    """A memory cgroup in which the OOM killer has its way."""
    root = tmp_path / "cgroup"
    root.mkdir()
    tool("mount", "-t", "cgroup2", "cgroup2", str(root))
    (root / "cgroup.subtree_control").write_text("+memory")
    small = root / "small"
    small.mkdir()
    (small / "memory.max").write_text(str(35 << 20))
    yield small
    small.rmdir()
    tool("umount", str(root))


def test_the_oom_killer(cgroup: Path, before: Probes) -> None:
    enter = f"echo $$ > {cgroup}/cgroup.procs && exec {' '.join(_COMMAND)}"
    status, said = _one_line("sh", "-c", enter)
    assert status == _CANNOT_TRACE
    assert "the loader was killed, as when memory is short" in said
    assert "oom_kill 1" in (cgroup / "memory.events").read_text()
    until(lambda: Probes.now() == before, "all to be detached")
