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


class Cgroup:
    """A new cgroup, by its path below the root."""

    def __init__(self, path: str) -> None:
        mount_cgroups()
        self._path = _ROOT / path.lstrip("/")
        self._path.mkdir(parents=True, exist_ok=True)

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Moves this process and all its threads inside: sockets that it makes there stay there."""
        home = _ROOT / _OWN.read_text().strip().rpartition("::/")[2]
        _move(self._path)
        try:
            yield
        finally:
            _move(home)

    def remove(self) -> None:
        """Removes it; its parents stay."""
        self._path.rmdir()


def _move(cgroup: Path) -> None:
    (cgroup / "cgroup.procs").write_text(str(os.getpid()))
