"""SYN floods of a listener that could serve: who is dropped, who gets a cookie?"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final

from live.namespaces import Namespace
from live.overflows import as_counters, settled
from live.packets import send_packets
from live.serving import Serving
from live.sockets import counters, listen

from .faults import NONE, Fault
from .rows import Row, Scene

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterator

_COOKIES: Final = (0, 1, 2)
_SYNS: Final = 2000
_ACKS: Final = 300
_BACKLOG: Final = 128
_HERE: Final = ("10.9.2.1", 8001)
"""Not a loopback address, from which no answer to a made-up host would leave."""
_LOAD: Final = (
    f"syncookies 0, 1, 2: {_SYNS:,} SYNs from made-up hosts, 500/s; {_ACKS} ACKs from nowhere"
)
_PROVOKED: Final = ("ListenDrops", "TCPReqQFullDrop", "SyncookiesSent", "SyncookiesFailed")


def flood(attach: str, fault: Fault = NONE) -> Iterator[Row]:
    """Floods a listener in each of three namespaces, and compares TcpExt."""
    with ExitStack() as stack:
        namespaces = [_namespace(stack, cookies) for cookies in _COOKIES]
        serving = stack.enter_context(Serving("--attach", attach, *fault.options))
        serving.wait_until_tracing()
        with fault.lasting(serving), ThreadPoolExecutor(len(namespaces)) as pool:
            list(pool.map(_flood, namespaces))
        inodes = [namespace.inode for namespace in namespaces]
        scrape = settled(serving, inodes)
        counted = [_counters(namespace) for namespace in namespaces]
    ours = [as_counters(scrape, inode) for inode in inodes]
    scene = Scene(f"SYN flood, {attach}", _LOAD, fault.with_losses(scrape))
    for name in ours[0]:
        pairs = [(kernel[name], told[name]) for kernel, told in zip(counted, ours, strict=True)]
        yield scene.row(name, pairs, is_provoked=name in _PROVOKED)


def _namespace(stack: ExitStack, cookies: int) -> Namespace:
    namespace = stack.enter_context(Namespace(f"flood-{cookies}"))
    namespace.sysctl("ipv4.tcp_syncookies", cookies)
    namespace.sysctl("ipv4.tcp_max_syn_backlog", 2 * _BACKLOG)
    # Where the SYN-ACKs vanish.
    namespace.add_hole(_HERE[0])
    namespace.ip("route", "add", "default", "via", "10.9.2.2")
    namespace.ip("neighbour", "add", "10.9.2.2", "lladdr", "02:00:00:00:00:01", "dev", "hole")
    with namespace.inside():
        stack.enter_context(listen(_HERE, _BACKLOG))
    return namespace


def _flood(namespace: Namespace) -> None:
    send_packets(namespace, _HERE, "--syn", _SYNS)
    send_packets(namespace, _HERE, "--ack", _ACKS)


def _counters(namespace: Namespace) -> Counter[str]:
    with namespace.inside():
        return counters()
