"""How many clients are served, and how long they are waited for."""

from __future__ import annotations

from typing import NamedTuple


class Limits(NamedTuple):
    """How much of this process clients can have."""

    workers: int = 32
    """Requests served at once; more of them queue."""
    waiting: int = 256
    """Connections parked or queued; the longest parked one has to go for the next."""
    timeout_s: float = 10.0
    """For a request to come, handshake included; and again for its response to be read."""
    idle_timeout_s: float = 120.0
    """Between two requests of one connection: longer than scrapers usually pause."""
    patience_s: float = 1.0
    """How long a client may let a worker wait while others queue."""
