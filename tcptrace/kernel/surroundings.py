"""Where the sockets of a trace are: names of the cgroups and network namespaces in its records.

Read by the unprivileged collector while it traces: /sys/fs/cgroup and /run/netns are for everybody.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tcptrace.kernel.cgroups import walk_cgroups
from tcptrace.kernel.lookup import Lookup
from tcptrace.lifecycle.names import Names
from tcptrace.lifecycle.workload import parse
from tcptrace.wire.decode import numbers_in

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tcptrace.kernel.pods import PodLookup

_NAMED: Final = Path("/run/netns")
_OWN: Final = Path("/proc/self/ns/net")


class Surroundings:
    """Keeps names up to date.

    Args:
        stride: bytes from one record to the next.
        pods: asks a container runtime, if there is one to ask.

    Attributes:
        names: what is known by now.
    """

    def __init__(self, stride: int, pods: PodLookup | None = None) -> None:
        self.names = Names(own_netns=_OWN.stat().st_ino)
        self._stride = stride
        self._pods = pods
        if pods is not None:
            self.names.containers = pods.known
        self._cgroups = Lookup(walk_cgroups, self.names.cgroups, self._ask_runtime)
        self._namespaces = Lookup(walk_namespaces, self.names.namespaces)
        self._cgroups.walk_once()
        self._namespaces.walk_once()

    def notice(self, batch: bytes) -> None:
        """Looks for what some records name; to be called with every batch, empty ones too."""
        if batch:
            self.want_cgroups(numbers_in(batch, "cgroup", self._stride))
            self._namespaces.want(numbers_in(batch, "netns", self._stride))
        self._cgroups.look()
        self._namespaces.look()
        if self._pods is not None:
            self._pods.look()

    @property
    def is_looking(self) -> bool:
        """Whether it should soon be called again, since something is still to be found."""
        return self._cgroups.is_looking or self._namespaces.is_looking

    def want_cgroups(self, ids: Iterable[int]) -> None:
        """Looks for these cgroups from now on."""
        self._cgroups.want(ids)

    def _ask_runtime(self, cgroup: str) -> None:
        if self._pods is not None:
            self._pods.want(parse(cgroup).container)

    def close(self) -> None:
        """Ends what was started."""
        if self._pods is not None:
            self._pods.close()

    def name_namespace(self, inode: int, name: str) -> None:
        """Takes a namespace's name from who knows it."""
        self.names.namespaces.learn(inode, name)


def walk_namespaces() -> Iterator[tuple[int, str] | None]:
    """Yields each named network namespace's inode number and name."""
    try:
        file_system = _OWN.stat().st_dev
        with os.scandir(_NAMED) as entries:
            for entry in entries:
                yield _namespace(entry, file_system)
    except OSError:
        return


def _namespace(entry: os.DirEntry[str], file_system: int) -> tuple[int, str] | None:
    try:
        status = os.stat(entry.path)  # noqa: PTH116 - entry.stat() is lstat()'s, not the mount's
    except OSError:
        return None
    name = os.fsencode(entry.name).decode("utf-8", "backslashreplace")
    return (status.st_ino, name) if status.st_dev == file_system else None
