"""Names cgroups: the id that the kernel gives is the inode number of its directory (cgroup v2)."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Final

_ROOT: Final = "/sys/fs/cgroup"
_PAUSE_S: Final = 10.0
"""Between two walks in search of ids that were not found."""
_MOST: Final = 100_000


class CgroupNames:
    """Finds cgroups' paths by their ids, walking over the hierarchy when one is new."""

    def __init__(self) -> None:
        self._paths: dict[int, str] = {}
        self._walked_s = float("-inf")

    def path(self, cgroup: int) -> str:
        """The path below the hierarchy's root, `/` for the root; "" if it isn't found."""
        found = self._paths.get(cgroup)
        if found is None and cgroup and time.monotonic() - self._walked_s > _PAUSE_S:
            self._walk()
            self._walked_s = time.monotonic()
            found = self._paths.get(cgroup)
        return found or ""

    def _walk(self) -> None:
        self._paths = {}
        # On a host with version 1 the ids would be those of another hierarchy.
        waiting = [_ROOT] if (Path(_ROOT) / "cgroup.controllers").exists() else []
        while waiting and len(self._paths) < _MOST:
            directory = waiting.pop()
            try:
                self._paths[os.stat(directory).st_ino] = _name(directory)  # noqa: PTH116
                with os.scandir(directory) as entries:
                    waiting += [
                        entry.path for entry in entries if entry.is_dir(follow_symlinks=False)
                    ]
            except OSError:
                continue  # gone in between, or not ours to see


def _name(directory: str) -> str:
    r"""The path below the root; bytes that are no UTF-8 as `\xff`: whoever made it chose them."""
    below = directory[len(_ROOT) :] or "/"
    return os.fsencode(below).decode("utf-8", "backslashreplace")
