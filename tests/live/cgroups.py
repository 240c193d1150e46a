"""Cgroups (version 2): places that scenarios make their sockets in."""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from .namespaces import tool

if TYPE_CHECKING:
    from collections.abc import Iterator

_ROOT: Final = Path("/sys/fs/cgroup")
_OWN: Final = Path("/proc/self/cgroup")


def mount_cgroups() -> None:
    """Mounts the hierarchy where systemd would, if nobody has."""
    if not (_ROOT / "cgroup.controllers").exists():
        tool("mount", "-t", "cgroup2", "cgroup2", str(_ROOT))


@contextmanager
def inside(path: str) -> Iterator[None]:
    """Moves this process into a new cgroup: sockets that it makes now stay there.

    All its threads go with it. Afterwards the cgroup is gone; its parents stay.
    """
    mount_cgroups()
    home = _ROOT / _OWN.read_text().strip().rpartition("::/")[2]
    cgroup = _ROOT / path.lstrip("/")
    cgroup.mkdir(parents=True, exist_ok=True)
    _move(cgroup)
    try:
        yield
    finally:
        _move(home)
        cgroup.rmdir()


def _move(cgroup: Path) -> None:
    (cgroup / "cgroup.procs").write_text(str(os.getpid()))
