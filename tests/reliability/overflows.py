"""Queues that overflow in every way: are the drops the kernel's, stage by stage?"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Final

from live.overflows import CASES, as_counters, make_namespace, play_all, settled
from live.serving import Serving

from .faults import NONE, Fault
from .rows import Row, Scene

if TYPE_CHECKING:
    from collections.abc import Iterator

_LOAD: Final = (
    f"{len(CASES)} namespaces: syncookies 0, 1, 2 × abort_on_overflow 0, 1 × IPv4, IPv6, SYN flood"
)
_PROVOKED: Final = ("ListenOverflows", "ListenDrops", "SyncookiesSent", "SyncookiesRecv")


def overflow(attach: str, fault: Fault = NONE) -> Iterator[Row]:
    """Overflows the listeners of all cases at once, and compares TcpExt."""
    with ExitStack() as stack:
        namespaces = {case: make_namespace(stack, case) for case in CASES}
        serving = stack.enter_context(Serving("--attach", attach, *fault.options))
        serving.wait_until_tracing()
        with fault.lasting(serving):
            counted = play_all(namespaces)
        inodes = {case: namespace.inode for case, namespace in namespaces.items()}
        scrape = settled(serving, inodes.values())
    ours = {case: as_counters(scrape, inode) for case, inode in inodes.items()}
    scene = Scene(f"queues overflow, {attach}", _LOAD, fault.with_losses(scrape))
    for name in ours[CASES[0]]:
        pairs = [(counted[case][name], ours[case][name]) for case in CASES]
        yield scene.row(name, pairs, is_provoked=name in _PROVOKED)
