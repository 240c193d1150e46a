"""Walks over the cgroups: the id that the kernel gives is the inode number of a directory (v2)."""

from __future__ import annotations

import os
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_ROOT: Final = "/sys/fs/cgroup"
_ROOT_ID: Final = 1
"""Of the hierarchy's true root, as the kernel numbers them."""
_MOST: Final = 50_000
_LINKS_OF_LEAF: Final = 2
"""A directory's own, and its name's; each directory in it has one more."""
_LONGEST: Final = 512
"""Characters of a path; deeper ones are somebody's joke, and have no names. kind's have 300."""


def what_is_there() -> str:
    """Says for people which cgroups can be named here."""
    root = Path(_ROOT)
    try:
        if not (root / "cgroup.controllers").exists():
            return f"{_ROOT} has version 1, or nothing: containers and units are not named"
        if root.stat().st_ino != _ROOT_ID:
            return f"{_ROOT} is this container's own part: mount the host's to name the others"
    except OSError as error:
        return f"{_ROOT}: {error.strerror}: containers and units are not named"
    return f"version 2 at {_ROOT}: containers and units are named"


def walk_cgroups() -> Iterator[tuple[int, str] | None]:
    """Yields each cgroup's id and path, `/` for the root, the outer ones first.

    Nothing on a host with version 1: its ids would be those of another hierarchy. In a container
    with a cgroup namespace of its own only what is below that container's is there.
    """
    try:
        if not (Path(_ROOT) / "cgroup.controllers").exists():
            return
        yield os.stat(_ROOT).st_ino, "/"  # noqa: PTH116 - there may be 100,000 of them
    except OSError:
        return
    waiting = deque([_ROOT])
    left = _MOST
    while waiting and left:
        try:
            with os.scandir(waiting.popleft()) as entries:
                below = [entry for entry in entries if entry.is_dir(follow_symlinks=False)]
        except OSError:
            continue  # gone in between, or not ours to see
        for entry in below[:left]:
            name = _name(entry.path)
            if len(name) > _LONGEST:
                continue
            yield entry.inode(), name
            if not _is_leaf(entry):
                waiting.append(entry.path)
        left -= len(below[:left])
        yield None


def _is_leaf(entry: os.DirEntry[str]) -> bool:
    """Whether a cgroup has none below: most have not, and 50 files to read past."""
    try:
        return entry.stat(follow_symlinks=False).st_nlink == _LINKS_OF_LEAF
    except OSError:
        return True


def _name(directory: str) -> str:
    r"""The path below the root; bytes that are no UTF-8 as `\xff`: whoever made it chose them."""
    return os.fsencode(directory[len(_ROOT) :]).decode("utf-8", "backslashreplace")
