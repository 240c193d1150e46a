"""Values on the command line, each checked with a message of one line.

Each function takes the text, returns the value, and raises click.BadParameter.
"""

from __future__ import annotations

import math
import re
import socket
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

if TYPE_CHECKING:
    from tcptrace.sinks.wanted import Wanted

_MAX_PORT: Final = 65535
_PAGE: Final = 4096
_MIN_RING_PAGES: Final = 2
"""What one message of a sock_diag dump makes the probes send needs more than a page."""
_MAX_RING: Final = 1 << 30
_MAX_DIGITS: Final = 10
_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)?", re.ASCII)
_UNITS: Final = {"ms": 0.001, "s": 1.0, None: 1.0, "m": 60.0, "h": 3600.0}
_MAX_DURATION_S: Final = 1e9


def port(text: str) -> int:
    """Reads a TCP port: 1 to 65535, or a service's name."""
    if _is_number(text):
        number = int(text)
        if not 1 <= number <= _MAX_PORT:
            raise click.BadParameter(f"{number} is no TCP port: they go from 1 to {_MAX_PORT}.")
        return number
    try:
        return socket.getservbyname(text, "tcp")
    except (OSError, ValueError) as error:
        raise click.BadParameter(
            f"{text!r} is neither a port from 1 to {_MAX_PORT} nor a TCP service in /etc/services."
        ) from error


def subject(text: str) -> Wanted:
    """Reads what verdicts are asked about.

    A port or a service's name, an address or network with or without a port, or a process' name.
    """
    from tcptrace.sinks.wanted import Wanted  # noqa: PLC0415 - --help starts fast

    if not text:
        raise click.BadParameter("it is empty: write a port, an address or a process' name.")
    if text.isdigit():
        return Wanted(text, port(text))
    host, _, last = text.rpartition(":")
    for place, number in ((text, ""), (host, last)):
        found = _network_of(place, is_bare=not number)
        if found is not None:
            return Wanted(text, port(number) if number else None, found)
    try:
        return Wanted(text, socket.getservbyname(text, "tcp"), name=text)
    except (OSError, ValueError):
        return Wanted(text, name=text)


def _network_of(text: str, *, is_bare: bool) -> IPv4Network | IPv6Network | None:
    """Reads an address or a network; an IPv6 one is in brackets unless nothing follows it."""
    is_held = text.startswith("[") and text.endswith("]")
    if ":" in text and not (is_bare or is_held):
        return None
    try:
        return ip_network(text[1:-1] if is_held else text, strict=False)
    except ValueError:
        return None


def seconds(text: str) -> float:
    """Reads a duration in seconds: 10s, 500ms, 2m, 1h, or plain seconds."""
    found = _DURATION.fullmatch(text)
    number = float(found[1]) * _UNITS[found[2]] if found else 0.0
    if not 0 < number <= _MAX_DURATION_S:
        raise click.BadParameter(f"{text!r} is no duration: write 10s, 500ms, 2m or 1h.")
    return number


def network(text: str) -> IPv4Network | IPv6Network:
    """Reads an address, or a network as address/bits; bits behind its prefix are ignored."""
    try:
        return ip_network(text, strict=False)
    except ValueError as error:
        raise click.BadParameter(
            f"{text!r} is neither an address nor a network like 10.0.0.0/8."
        ) from error


def network_namespace(text: str) -> int:
    """Reads a network namespace, and returns its inode number.

    Args:
        text: a name as in `ip netns`, a path, or the id of a process in it.
    """
    from tcptrace.kernel import netns  # noqa: PLC0415 - --help starts fast

    path = Path(text) if "/" in text else netns.path_of(text)
    try:
        if _is_number(text) and not path.exists():
            path = Path("/proc") / text / "ns/net"
        return netns.inode_of(path)
    except netns.NoNamespaceError as error:
        raise click.BadParameter(f"{error}.") from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise click.BadParameter(f"no network namespace {text!r}: {reason}.") from error


def process_id(text: str) -> int:
    """Reads the id of a running process."""
    if not _is_number(text) or int(text) < 1:
        raise click.BadParameter(f"{text!r} is no process id.")
    if not Path("/proc", text).is_dir():
        raise click.BadParameter(f"there is no process {text}.")
    return int(text)


def family(text: str) -> int:
    """Reads an address family: 4 or 6."""
    if text not in ("4", "6"):
        raise click.BadParameter(f"{text!r} is no address family: write 4 or 6.")
    return int(text)


def speed(text: str) -> float:
    """Reads how fast to replay: a factor, or `max`, which is infinity."""
    if text == "max":
        return math.inf
    try:
        factor = float(text)
    except ValueError:
        factor = 0.0
    if not 0 < factor < math.inf:
        raise click.BadParameter(f"{text!r} is no speed: write max, 1, 10 or 0.5.")
    return factor


def ring_size(text: str) -> int:
    """Reads the ring's size, 8M or 64k, and returns it in pages, a power of two."""
    found = re.fullmatch(r"(\d{1,9})([kKmM]?)", text, re.ASCII)
    size = int(found[1]) * {"": 1, "k": 1 << 10, "m": 1 << 20}[found[2].lower()] if found else 0
    pages, rest = divmod(size, _PAGE)
    if rest or pages < _MIN_RING_PAGES or pages & (pages - 1) or size > _MAX_RING:
        raise click.BadParameter(f"{text!r} is no size: write a power of two from 8k to 1024M.")
    return pages


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS
