"""What a verdict is: one cause, where it is, what it does to connections, and the numbers."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tcptrace.lifecycle.connection import Process
    from tcptrace.lifecycle.ledger import Address
    from tcptrace.tcp import Endpoint
    from tcptrace.wire.events import Stage


class Cause(StrEnum):
    """What is wrong. Names are the JSON's."""

    ACCEPT_QUEUE_TOO_SMALL = "accept_queue_too_small"
    """Bursts fill a listener's accept queue, though accept() soon takes what is in it."""
    ACCEPT_LOOP_SLOW = "accept_loop_slow"
    """accept() takes less than comes, or nothing: a longer queue would only wait longer."""
    SYN_QUEUE_FULL = "syn_queue_full"
    """Peers that do answer find the SYN queue full: they get cookies, or are dropped."""
    SYN_FLOOD_WITH_COOKIES = "syn_flood_with_cookies"
    """SYNs whose senders never answer fill the SYN queue; cookies let the others in."""
    SYN_FLOOD_WITHOUT_COOKIES = "syn_flood_without_cookies"
    """The same, and the others are dropped."""
    SOMAXCONN_CAPS_BACKLOG = "somaxconn_caps_backlog"
    """The accept queue is too small, and net.core.somaxconn keeps it so."""
    REMOTE_SILENT = "remote_silent"
    """A remote answers SYNs with nothing: filtered, or gone."""
    REMOTE_LATE = "remote_late"
    """A remote's answers come only after the SYN was sent again: lost, dropped, or far away."""
    REMOTE_REFUSES = "remote_refuses"
    """A remote answers SYNs with RSTs: nobody listens there."""
    REMOTE_LISTENER_DROPS = "remote_listener_drops"
    """A listener that is traced too drops the SYNs of clients on this host."""
    SYN_ACK_LOST = "syn_ack_lost"
    """SYN-ACKs had to be sent again before the final ACK came: packets get lost."""
    CLOSE_WAIT_LEAK = "close_wait_leak"
    """A process does not close connections that their peers have closed."""
    EPHEMERAL_PORTS_IN_TIME_WAIT = "ephemeral_ports_in_time_wait"
    """connect() runs out of local ports: TIME_WAIT holds them."""
    RESET_STORM = "reset_storm"
    """A large part of the connections ends by RSTs."""
    ABORT_ON_OVERFLOW = "abort_on_overflow"
    """The accept queue overflows, and tcp_abort_on_overflow resets clients that could wait."""
    HALF_OPEN_EXPIRY = "half_open_expiry"
    """Half-open requests wait for final ACKs that never come, and no flood is why."""


class Confidence(StrEnum):
    """How sure it is."""

    LIKELY = "likely"
    """The evidence fits, and something else might too."""
    CERTAIN = "certain"
    """The kernel said so, often enough."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """One fault.

    Attributes:
        cause: what is wrong.
        confidence: how sure that is.
        netns: the network namespace's inode number.
        where: a listener here, or a remote end.
        process: whose listener or sockets; None if unknown.
        cgroup: id of the cgroup of the listener or the sockets; 0 if unknown.
        stage: where packets are dropped, if they are.
        hurt: connections that it hurt; of a flood without cookies, SYNs that were dropped.
        of: of how many.
        delays_ns: what it makes connections wait, the usual ones; () if none was seen.
        figures: the numbers behind it; keys are those of docs/schema/verdict-v1.json.
        last_at_ns: CLOCK_MONOTONIC of the last evidence.
        peer: the other end's address, where most of it comes from one; b"" elsewhere.
    """

    cause: Cause
    confidence: Confidence
    netns: int
    where: Address | Endpoint
    process: Process | None
    cgroup: int
    stage: Stage | None
    hurt: int
    of: int
    delays_ns: tuple[int, ...]
    figures: Mapping[str, int | float]
    last_at_ns: int
    peer: bytes = b""

    @property
    def share(self) -> float:
        """Of the connections that it hurt."""
        return self.hurt / self.of if self.of else 0.0
