"""What verdicts are asked about: a port, an address, both, or a process."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING, NamedTuple

from tcptrace.sinks.terminal import comm_text, safe_text
from tcptrace.tcp import address_text, wildcards_for

if TYPE_CHECKING:
    from ipaddress import IPv4Network, IPv6Network

    from tcptrace.lifecycle.connection import Process
    from tcptrace.verdicts.verdict import Verdict


class Wanted(NamedTuple):
    """A subject; what is None may be anything.

    Attributes:
        text: as it was asked for.
        port: its port.
        network: where it is: a listener that is bound to all addresses is everywhere.
        name: a part of its process' name, instead of place and port.
    """

    text: str
    port: int | None = None
    network: IPv4Network | IPv6Network | None = None
    name: str | None = None

    def is_in(self, verdict: Verdict) -> bool:
        """Whether a verdict is about it, or names it as the peer that is most concerned."""
        where, peer = verdict.where, verdict.peer
        at = where.address if isinstance(where.address, str) else address_text(where.address)
        is_place = self.network is not None and self.port is None
        is_peer = is_place and bool(peer) and self._contains(address_text(peer))
        return is_peer or self.is_one(at, where.port, verdict.process)

    def is_one(self, address: str, port: int, process: Process | None = None) -> bool:
        """Whether it is this end, or one of this process."""
        if self.name is not None and process is not None:
            comm = comm_text(process.comm)
            if self.name in comm or self.name in safe_text(comm):
                return True
        if self.port is None and self.network is None:
            return False
        return self.port in (None, port) and self._contains(address)

    def _contains(self, address: str) -> bool:
        network = self.network
        if network is None:
            return True
        wildcards = wildcards_for(str(network.network_address))
        return address in wildcards or ip_address(address) in network

    def __str__(self) -> str:
        """`on port 80`, `at 192.0.2.1:80`, `of a process named web`; safe for a terminal."""
        if self.network is not None:
            return f"at {safe_text(self.text)}"
        port = f"on port {self.port}" if self.port is not None else ""
        process = f"of a process named {safe_text(self.name)}" if self.name is not None else ""
        return " or ".join(part for part in (port, process) if part)
