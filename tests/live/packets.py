"""Packets of our own making, from hosts that do not answer or are not there."""

from __future__ import annotations

import socket
import struct
import subprocess
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from .lives import Address
    from .namespaces import Namespace

SYN: Final = 0x02
RST: Final = 0x04
ACK: Final = 0x10
_WINDOW: Final = 64_240
_HEADER_WORDS: Final = 5
_SENT_S: Final = 120.0


def send_syn(source: Address, destination: Address) -> None:
    """Sends one SYN from an address and port that no socket has."""
    send_segment(source, destination, SYN)


def send_segment(
    source: Address, destination: Address, flags: int, sequence: int = 1, acknowledged: int = 0
) -> None:
    """Sends one TCP segment without data, whatever the sockets of its two ends have said.

    Source: RFC 9293 section 3.1.
    """

    def segment(checksum: int) -> bytes:
        return struct.pack(
            "!HHIIBBHHH",
            source[1],
            destination[1],
            sequence,
            acknowledged,
            _HEADER_WORDS << 4,
            flags,
            _WINDOW,
            checksum,
            0,
        )

    ends = socket.inet_aton(source[0]) + socket.inet_aton(destination[0])
    plain = segment(0)
    pseudo = ends + struct.pack("!HH", socket.IPPROTO_TCP, len(plain))
    sent = segment(_checksum(pseudo + plain))
    header = struct.pack(
        "!BBHHHBBH", 0x40 | _HEADER_WORDS, 0, 20 + len(sent), 0, 0, 64, socket.IPPROTO_TCP, 0
    )
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
        raw.sendto(header + ends + sent, destination)


def send_packets(namespace: Namespace, to: Address, flag: str, count: int) -> None:
    """Sends so many from made-up addresses, 500 a second, by hping3.

    Args:
        namespace: where the destination is, and the packets come from.
        to: the destination, IPv4.
        flag: hping3's, `--syn` or `--ack`.
        count: how many.
    """
    done = subprocess.run(
        [
            *("ip", "netns", "exec", namespace.name, "hping3", "--quiet", flag, "--rand-source"),
            *("--count", str(count), "--interval", "u2000", "--destport", str(to[1]), to[0]),
        ],
        capture_output=True,
        text=True,
        check=False,  # no answer is an error for hping3
        timeout=_SENT_S,
    )
    assert f"{count} packets transmitted" in done.stdout + done.stderr, done.stderr


def _checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    total: int = sum(word for (word,) in struct.iter_unpack("!H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
