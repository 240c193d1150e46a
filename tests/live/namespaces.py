"""Network namespaces: a network of its own for what a scenario must not do to the host's."""

from __future__ import annotations

import contextlib
import ctypes
import os
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from collections.abc import Iterator

_CLONE_NEWNET: Final = 0x40000000
_LIBC: Final = ctypes.CDLL(None, use_errno=True)
_OWN: Final = Path("/proc/thread-self/ns/net")


def tool(*command: str) -> str:
    """Runs a tool that must succeed, and returns what it printed."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
    return done.stdout


def own_inode() -> int:
    """The inode number of the calling thread's network namespace: how lives name it."""
    return _OWN.stat().st_ino


def _enter(namespace: Path) -> None:
    handle = os.open(namespace, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if _LIBC.setns(handle, _CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), f"setns to {namespace}")
    finally:
        os.close(handle)


class Namespace:
    """A named network namespace, its loopback up."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.path = Path("/run/netns", name)
        tool("ip", "netns", "add", name)
        self.inode = self.path.stat().st_ino
        self.ip("link", "set", "lo", "up")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        tool("ip", "netns", "delete", self.name)

    def ip(self, *arguments: str) -> str:
        """Runs `ip` inside, and returns what it printed."""
        return tool("ip", "-n", self.name, *arguments)

    def ip_all(self, *commands: str) -> None:
        """Runs several `ip` commands inside, in one process."""
        done = subprocess.run(
            ["ip", "-n", self.name, "-batch", "-"],
            input="\n".join(commands), capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{commands}: {done.stderr}"

    def add_hole(self, address: str) -> None:
        """Adds an interface into which all that goes to the address's neighbours vanishes."""
        self.ip("link", "add", "hole", "type", "dummy")
        self.ip("address", "add", f"{address}/24", "dev", "hole")
        self.ip("link", "set", "hole", "up")

    def delay(self, device: str, milliseconds: int) -> None:
        """Holds up every packet that leaves by the device."""
        self._emulate(device, "delay", f"{milliseconds}ms")

    def lose_all(self, device: str) -> None:
        """Loses every packet that leaves by the device."""
        self._emulate(device, "loss", "100%")

    def _emulate(self, device: str, *what: str) -> None:
        tool("tc", "-n", self.name, "qdisc", "replace", "dev", device, "root", "netem", *what)

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Moves the calling thread inside: sockets that it makes there stay there."""
        home = os.open(_OWN, os.O_RDONLY | os.O_CLOEXEC)
        _enter(self.path)
        try:
            yield
        finally:
            _enter(Path("/proc/self/fd", str(home)))
            os.close(home)

    def sysctl(self, name: str, value: int | str) -> None:
        """Sets `net.NAME`; a name that this kernel lacks raises FileNotFoundError."""
        with self.inside():
            Path("/proc/sys/net", *name.split(".")).write_text(str(value))


def without_linear_timeouts(namespace: Namespace) -> None:
    """Lets a SYN's timeouts double from the first on, as they do before Linux 6.5."""
    with contextlib.suppress(FileNotFoundError):
        namespace.sysctl("ipv4.tcp_syn_linear_timeouts", 0)
