"""What the command line asks of the kernel side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from ipaddress import IPv4Network, IPv6Network


@dataclass(frozen=True, slots=True)
class TraceOptions:
    """What to trace, and how. None means no filter."""

    port: int | None = None
    """Local or remote."""
    pid: int | None = None
    netns: int | None = None
    """The network namespace's inode number."""
    cidr: IPv4Network | IPv6Network | None = None
    """Local or remote address within it."""
    family: Literal[4, 6] | None = None
    attach: str = "auto"
    """auto, kprobe or fentry."""
    user: str = "nobody"
    """Whom the collector becomes once everything is attached."""
    stacks: bool = False
    """Whether each record carries its kernel call stack."""
    ledger: bool = False
    """Whether the probes keep the ledger of listeners, and can take stock of all sockets."""
    cri_socket: str | None = None
    """Path of a container runtime's socket, which is asked for names."""
    terminal: bool = False
    """Whether the collector sets up the terminal that it runs on."""
    ring_pages: int = 2048
    """The ring's size in pages, a power of two: 8 MiB hold 70,000 records, about 4,000 connections
    that begin and end while nobody drains."""
