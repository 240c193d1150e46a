"""The image and the package, in the guest's memory: nothing of this is kept."""

from __future__ import annotations

import os
import shutil
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from live.cgroups import mount_cgroups
from live.namespaces import tool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

VM: Final = Path(os.environ.get("TCPTRACE_FLEET_DIR") or Path(__file__).parents[2] / ".vm")
"""Where tests/vm/image has made roots."""
_TOOLS: Final = ("crun", "mount", "nsenter", "setpriv", "unshare")


@pytest.fixture(scope="session", autouse=True)
def _prerequisites() -> None:
    assert os.geteuid() == 0, "these tests must run as root, in a guest: make test-fleet"
    missing = [name for name in _TOOLS if shutil.which(name) is None]
    assert not missing, f"these tests need {', '.join(missing)}"
    mount_cgroups()


@pytest.fixture(scope="session")
def writable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Path]]:
    """Gives a root of .vm/, by its name, that can be written to and forgets it."""
    with ExitStack() as mounts:
        memory = tmp_path_factory.mktemp("roots")
        tool("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", str(memory))
        mounts.callback(tool, "umount", "--lazy", str(memory))

        def overlay(name: str) -> Path:
            lower, here = VM / name, memory / name
            assert lower.is_dir(), f"{lower} is missing: tests/vm/image makes it"
            for part in ("upper", "work", "root"):
                (here / part).mkdir(parents=True)
            told = f"lowerdir={lower},upperdir={here / 'upper'},workdir={here / 'work'}"
            tool("mount", "-t", "overlay", "-o", told, "root", str(here / "root"))
            mounts.callback(tool, "umount", "--lazy", str(here / "root"))
            return here / "root"

        yield overlay
