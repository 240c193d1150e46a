"""Which lives are slow: those that somebody wants to see whole, though their course is plain."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tcptrace.lifecycle.connection import Connection

SLOW_NS: Final = 100_000_000
"""A handshake, or a wait for accept(), that takes as long is slow. No network on the same continent
does, and the kernel's shortest retransmit timer is twice as long."""


def slowness_ns(connection: Connection) -> int:
    """The longer of its handshake and its wait for accept(), as far as they are over; else 0."""
    return max(connection.handshake_ns or 0, connection.accept_wait_ns or 0)
