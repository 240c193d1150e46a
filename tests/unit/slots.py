"""Slots and readings of the ledger that look like real ones."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

from tcptrace.tcp import MAPPED_PREFIX
from tcptrace.wire.events import Stage
from tcptrace.wire.ledger import (
    COUNTERS,
    COUNTS,
    MORE_COUNTERS,
    Count,
    LedgerReading,
    NamespaceFigures,
    Slot,
)
from unit import samples

if TYPE_CHECKING:
    from collections.abc import Mapping

NETNS = 4026531840
NOTHING = (0,) * COUNTS


def counts(of: Mapping[Stage | Count, int] | None = None) -> tuple[int, ...]:
    return tuple((of or {}).get(_meaning(place), 0) for place in range(COUNTS))


def _meaning(place: int) -> Stage | Count:
    return Stage(place) if place < Count.COOKIE_SENT else Count(place)


def packed(address: str) -> bytes:
    if ":" in address:
        return socket.inet_pton(socket.AF_INET6, address)
    return MAPPED_PREFIX + socket.inet_pton(socket.AF_INET, address)


def slot(address: str = "0.0.0.0", port: int = 80, **changes: Any) -> Slot:  # noqa: S104
    """A listener's slot, used for the first time; `counts` may be a mapping."""
    if isinstance(changes.get("counts"), dict):
        changes["counts"] = counts(changes["counts"])
    whole = Slot(
        sequence=2,
        sock=0xFFFF_0000_1234_5678,
        opened_at_ns=samples.START,
        closed_at_ns=0,
        inode=12345,
        cgroup=0,
        local=packed(address),
        comm=b"nginx".ljust(16, b"\0"),
        netns=NETNS,
        pid=1234,
        port=port,
        family=socket.AF_INET6 if ":" in address else socket.AF_INET,
        syncookies=1,
        max_syn_backlog=1024,
        somaxconn=4096,
        accept_queue_len=0,
        accept_queue_limit=128,
        syn_queue_len=0,
        syn_queue_young=0,
        defer_accept=0,
        accept_queue_peaks=(0, 0),
        syn_queue_peaks=(0, 0),
        counts=NOTHING,
    )
    return whole._replace(**changes)


def overflow(of: Mapping[Stage | Count, int] | None = None) -> Slot:
    """The slot of those that found none free: it has no identity."""
    nobody = slot("::", 0, sequence=0, sock=0, opened_at_ns=0, inode=0, netns=0, pid=0)
    return nobody._replace(comm=bytes(16), counts=counts(of), syncookies=0, accept_queue_limit=0)


def figures(
    before: Mapping[str, int] | None = None,
    after: Mapping[str, int] | None = None,
    netns: int = NETNS,
    name: str = "",
) -> NamespaceFigures:
    """The kernel's counters; `after` is as `before` unless it is given."""
    told = [
        tuple((of or {}).get(counter, 0) for counter in names)
        for names in (COUNTERS, MORE_COUNTERS)
        for of in (before, after or before)
    ]
    return NamespaceFigures(netns, name, 28_232, told[0], told[1], told[2], told[3], 2)


def reading(
    at_s: float = 1, slots: Mapping[int, Slot] | None = None, **parts: Any
) -> LedgerReading:
    """A reading so many seconds after the start, the overflow slot among its slots."""
    found = {0: overflow(), **(slots or {})}
    whole = LedgerReading(
        samples.START + int(at_s * samples.S), int(at_s), sorted(found.items()), ()
    )
    return whole._replace(**parts)
