"""The one definition of a ledger slot: what the kernel side counts for one listener.

The probes keep a table of slots, which the collector maps and reads; nothing in it depends on the
ring. From this definition come the C struct (cheader), the `struct` format and docs/events.md.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import TYPE_CHECKING, Annotated, Final, NamedTuple

from tcptrace.wire.events import Wire
from tcptrace.wire.layout import lay_out

if TYPE_CHECKING:
    from collections.abc import Mapping

OVERFLOW_SLOT: Final = 0
"""Counts for listeners that found no free slot; it has no identity."""


class Count(IntEnum):
    """What a slot counts, by its place in `counts`. Places 1 to 9 are the stages'."""

    CHILD_REPEATED = 0
    """A final ACK made a second child, which is thrown away: two CPUs took it at once."""
    COOKIE_SENT = 10
    """A SYN was answered with a cookie (SyncookiesSent)."""
    COOKIE_VALID = 11
    """A final ACK carried a valid cookie (SyncookiesRecv)."""
    COOKIE_INVALID = 12
    """A final ACK carried an invalid cookie (SyncookiesFailed)."""
    COOKIE_WANTED_DROPPED = 13
    """A SYN was to get a cookie, and was dropped after that (TCPReqQFullDoCookies counts both)."""
    SYN_QUEUED = 14
    """A SYN made a request socket."""
    CHILD_CREATED = 15
    """A final ACK (or a Fast Open SYN) made a child."""


COUNTS: Final = 16


class Slot(NamedTuple):
    """One listener, from its LISTEN (or when it was found) to its CLOSE, and until reused."""

    sequence: Annotated[
        int, Wire("u64", "grows by 2 at each use; odd while its identity is written", "the probe")
    ]
    sock: Annotated[
        int, Wire("u64", "object id", "address of the listener, XORed with the trace's secret")
    ]
    opened_at_ns: Annotated[
        int, Wire("u64", "ns, CLOCK_MONOTONIC", "inet_csk_listen_start; 0 if it was there before")
    ]
    closed_at_ns: Annotated[
        int, Wire("u64", "ns, CLOCK_MONOTONIC", "LISTEN → CLOSE; 0 while it listens")
    ]
    inode: Annotated[int, Wire("u64", "inode number of its socket", "socket_alloc.vfs_inode.i_ino")]
    cgroup: Annotated[int, Wire("u64", "cgroup v2 id, 0 if unknown", "sk_cgrp_data")]
    local: Annotated[
        bytes, Wire("u8[16]", "address, IPv4 mapped", "skc_rcv_saddr, skc_v6_rcv_saddr")
    ]
    comm: Annotated[
        bytes, Wire("u8[16]", "bytes, NUL-padded", "task_struct.comm of who called listen()")
    ]
    netns: Annotated[int, Wire("u32", "inode number", "skc_net.net->ns.inum")]
    pid: Annotated[int, Wire("u32", "process id (tgid)", "who called listen(); 0 if unknown")]
    port: Annotated[int, Wire("u16", "port, host order", "inet_sport")]
    family: Annotated[int, Wire("u8", "AF_INET or AF_INET6", "skc_family")]
    syncookies: Annotated[int, Wire("u8", "0, 1 or 2", "net.ipv4.tcp_syncookies")]
    max_syn_backlog: Annotated[int, Wire("u32", "request sockets", "net.ipv4.tcp_max_syn_backlog")]
    somaxconn: Annotated[int, Wire("u32", "sockets", "net.core.somaxconn")]
    accept_queue_len: Annotated[int, Wire("u32", "sockets", "sk_ack_backlog")]
    accept_queue_limit: Annotated[int, Wire("u32", "sockets", "sk_max_ack_backlog")]
    syn_queue_len: Annotated[int, Wire("u32", "request sockets", "icsk_accept_queue.qlen")]
    syn_queue_young: Annotated[int, Wire("u32", "request sockets", "icsk_accept_queue.young")]
    defer_accept: Annotated[
        int,
        Wire(
            "u32",
            "timeouts that requests wait for data; 0: none",
            "icsk_accept_queue.rskq_defer_accept (TCP_DEFER_ACCEPT)",
        ),
    ]
    accept_queue_peaks: Annotated[
        tuple[int, ...],
        Wire("u64[2]", "epoch * 2**32 + sockets, for even and odd epochs", "sk_ack_backlog"),
    ]
    syn_queue_peaks: Annotated[
        tuple[int, ...],
        Wire("u64[2]", "epoch * 2**32 + request sockets", "icsk_accept_queue.qlen"),
    ]
    counts: Annotated[
        tuple[int, ...], Wire(f"u64[{COUNTS}]", "by Stage and Count, since opened", "the probes")
    ]


class NamespaceFigures(NamedTuple):
    """What the kernel itself counts for one network namespace, read around a table of slots."""

    netns: int
    """Inode number."""
    name: str
    """As `ip netns` names it, or ""."""
    ephemeral_ports: int
    """How many ports net.ipv4.ip_local_port_range has."""
    before: tuple[int, ...]
    after: tuple[int, ...]
    """TcpExt counters, as COUNTERS names them, just before and just after the slots were read."""
    more_before: tuple[int, ...] = ()
    more_after: tuple[int, ...] = ()
    """The same of Tcp and TcpExt, as MORE_COUNTERS names them; () in older recordings."""
    tw_reuse: int | None = None
    """net.ipv4.tcp_tw_reuse: 0, 1 or 2; None in older recordings."""

    def kernel_before(self) -> dict[str, int]:
        """All counters by name, just before."""
        return _by_name(self.before, self.more_before)

    def kernel_after(self) -> dict[str, int]:
        """All counters by name, just after."""
        return _by_name(self.after, self.more_after)


def _by_name(counters: tuple[int, ...], more: tuple[int, ...]) -> dict[str, int]:
    named = dict(zip(COUNTERS, counters, strict=True))
    if more:
        named.update(zip(MORE_COUNTERS, more, strict=True))
    return named


class Inventory(NamedTuple):
    """How many sockets the kernel itself says that a namespace has at one moment."""

    in_use: int
    """Full and TIME_WAIT sockets in its hash tables, by sockstat."""
    by_state: Mapping[int, int]
    """By sock_diag: a request socket as SYN_RECV, a TIME_WAIT socket as what it stands for."""


class LedgerReading(NamedTuple):
    """The whole ledger at one moment."""

    at_ns: int
    """CLOCK_MONOTONIC."""
    epoch: int
    """The epoch of peaks that has just ended."""
    slots: list[tuple[int, Slot]]
    """Number and content of every slot that was ever used."""
    namespaces: tuple[NamespaceFigures, ...]
    """Those that are watched; one that is no more had no socket left."""
    owners: Mapping[int, tuple[int, bytes]] = {}
    """Who held the sockets that were there before: inode number to pid and comm."""
    cgroups: Mapping[int, str] = {}
    """Paths by the ids in the slots of open listeners, as far as they are known."""


COUNTERS: Final = (
    "ListenOverflows",
    "ListenDrops",
    "TCPReqQFullDoCookies",
    "TCPReqQFullDrop",
    "SyncookiesSent",
    "SyncookiesRecv",
    "SyncookiesFailed",
)
"""The kernel's TcpExt counters that the ledger is compared with."""

MORE_COUNTERS: Final = (
    "ActiveOpens",
    "PassiveOpens",
    "EstabResets",
    "CurrEstab",
    "TW",
    "TWKilled",
    "TCPSynRetrans",
    "TCPRetransFail",
    "TCPFastOpenPassive",
    "TCPFastOpenPassiveAltKey",
)
"""More of Tcp and TcpExt, that ledger, records and state counts are compared with."""

FIELDS: Final = lay_out(Slot)
_PACKED: Final = struct.Struct("<" + "".join(field.code for field in FIELDS))
SLOT_SIZE: Final = _PACKED.size
_ARRAYS: Final = tuple(field.items for field in FIELDS)


def decode_slot(raw: bytes | memoryview) -> Slot:
    """Decodes one slot.

    Args:
        raw: SLOT_SIZE bytes.
    """
    values = iter(_PACKED.unpack(raw))
    fields = [
        tuple(next(values) for _ in range(count)) if count else next(values) for count in _ARRAYS
    ]
    return Slot._make(fields)


def encode_slot(slot: Slot) -> bytes:
    """The inverse of decode_slot."""
    values: list[object] = []
    for value in slot:
        values += value if isinstance(value, tuple) else (value,)
    return _PACKED.pack(*values)
