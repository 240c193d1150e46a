"""TCP's states, flags and addresses as the Linux kernel has them.

Source: include/net/tcp_states.h, RFC 9293 section 3.3.2.
"""

from __future__ import annotations

import socket
from enum import IntEnum
from functools import lru_cache
from typing import Final, NamedTuple

MAPPED_PREFIX = bytes(10) + b"\xff\xff"
"""The first 12 bytes of an IPv4-mapped IPv6 address (RFC 4291, section 2.5.5.2)."""


_LOOPBACK = bytes(15) + b"\x01"


class State(IntEnum):
    """A socket's state, by the kernel's numbers and names."""

    ESTABLISHED = 1
    SYN_SENT = 2
    SYN_RECV = 3
    FIN_WAIT1 = 4
    FIN_WAIT2 = 5
    TIME_WAIT = 6
    CLOSE = 7
    CLOSE_WAIT = 8
    LAST_ACK = 9
    LISTEN = 10
    CLOSING = 11
    NEW_SYN_RECV = 12


class Endpoint(NamedTuple):
    """One end of a connection: 16 raw address bytes (IPv4 mapped) and a port in host order."""

    address: bytes
    port: int

    @property
    def is_ipv4(self) -> bool:
        """Whether the packets are IPv4 (the socket may be a dual-stack IPv6 one)."""
        return self.address[:12] == MAPPED_PREFIX

    @property
    def is_loopback(self) -> bool:
        """Whether it never leaves its host."""
        return self.address[:13] == MAPPED_PREFIX + b"\x7f" or self.address == _LOOPBACK

    def __str__(self) -> str:
        """`192.0.2.1:80` or `[2001:db8::1]:80`."""
        text = address_text(self.address)
        return f"{text}:{self.port}" if self.is_ipv4 else f"[{text}]:{self.port}"


WILDCARDS: Final = ("0.0.0.0", "::")  # noqa: S104 - what listeners are bound to
"""In words, the addresses of a listener at all addresses: of IPv4, and of both."""


def wildcards_for(address: str) -> tuple[str, ...]:
    """Those at which a listener takes connections to this address."""
    return WILDCARDS[1:] if ":" in address else WILDCARDS


@lru_cache(maxsize=4096)
def address_text(address: bytes) -> str:
    """Presents 16 raw bytes as people write the address: dotted quad where it is IPv4-mapped."""
    if address[:12] == MAPPED_PREFIX:
        return socket.inet_ntop(socket.AF_INET, address[12:])
    return socket.inet_ntop(socket.AF_INET6, address)


def family_name(address: bytes) -> str:
    """`ipv4` or `ipv6`: the family of the packets, whatever the socket's own family."""
    return "ipv4" if address[:12] == MAPPED_PREFIX else "ipv6"
