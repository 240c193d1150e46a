"""Network namespaces by name: what `ip netns` keeps in /run/netns, by one rule for all who ask.

Anybody may read it. A file there names a namespace only if it is one: `ip netns add` makes the file
before it mounts the namespace there.
"""

from __future__ import annotations

import os
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Final

OWN: Final = Path("/proc/self/ns/net")
_NAMED: Final = Path("/run/netns")
_MOST: Final = 10_000
"""Files that are looked at: as many as names are kept."""


class NoNamespaceError(ValueError):
    """A path leads to something else."""


def path_of(name: str) -> Path:
    """Where a namespace of this name would be."""
    return _NAMED / name


def inode_of(path: Path) -> int:
    """The inode number of the network namespace at a path.

    Raises:
        NoNamespaceError: something else is there.
        OSError: nothing is there.
    """
    status = path.stat()
    if status.st_dev != OWN.stat().st_dev:
        raise NoNamespaceError(f"{path} is no network namespace")
    return status.st_ino


def named() -> dict[int, tuple[str, Path]]:
    r"""Name and path of each, by inode number; of several names the first.

    Bytes of a name that are no UTF-8 are told as `\xff`: whoever made it chose them.
    """
    found: dict[int, tuple[str, Path]] = {}
    for name in sorted(_files()):
        with suppress(OSError, NoNamespaceError):
            told = os.fsencode(name).decode("utf-8", "backslashreplace")
            found.setdefault(inode_of(path_of(name)), (told, path_of(name)))
    return found


def changed_ns() -> int:
    """When a name came or went last, as the file system tells it; 0 if there never was one."""
    try:
        return _NAMED.stat().st_mtime_ns
    except OSError:
        return 0


def _files() -> list[str]:
    try:
        with os.scandir(_NAMED) as entries:
            return [entry.name for entry in islice(entries, _MOST)]
    except OSError:
        return []
