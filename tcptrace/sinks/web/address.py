"""Where to listen: `host:port` as people write it, and the socket."""

from __future__ import annotations

import errno
import re
import socket
from typing import Final

from tcptrace.errors import BadArgument, NotThere, OutputFailed
from tcptrace.sinks.web.text import one_line

_ADDRESS: Final = re.compile(r"(?:\[(?P<six>[^\[\]]*)\]|(?P<host>[^:\[\]]*)):(?P<port>[0-9]{1,5})")
_LAST_PORT: Final = 0xFFFF
_LISTEN_BACKLOG: Final = 1024
"""The kernel caps it at net.core.somaxconn."""
_KINDS: Final = {
    **dict.fromkeys((errno.EADDRINUSE, errno.EACCES, errno.EPERM), OutputFailed),
    # While a host boots an address, or who knows a name's, may come later than this.
    **dict.fromkeys((errno.EADDRNOTAVAIL, socket.EAI_AGAIN), NotThere),
}
"""What is raised, by errno; for any other the argument is wrong."""


def parse_address(text: str) -> tuple[str, int]:
    """Reads `127.0.0.1:9100`, `[::1]:9100`, `name:9100` or `:9100` (every address).

    Raises:
        BadArgument: it is something else.
    """
    match = _ADDRESS.fullmatch(text)
    if not match or int(match["port"]) > _LAST_PORT:
        raise BadArgument(
            f"{one_line(text)}: is no address to listen on; write :9100 or [::1]:9100"
        )
    return match["six"] or match["host"] or "", int(match["port"])


def address_text(host: str, port: int) -> str:
    """Writes what `parse_address` reads."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def listen(host: str, port: int) -> socket.socket:
    """Opens a listening socket.

    Args:
        host: an address or a name; empty, or `::`, means every address, of IPv4 too.
        port: 0 lets the kernel choose.

    Raises:
        BadArgument: there can be no such address here.
        NotThere: this host has no such address now.
        OutputFailed: the port is taken, or not allowed.
    """
    where = one_line(address_text(host, port))
    try:
        return _open(host, port)
    except (OSError, UnicodeError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or "no such address"
        kind = _KINDS.get(getattr(error, "errno", 0), BadArgument)
        raise kind(f"can't listen on {where}: {reason}") from error


def _open(host: str, port: int) -> socket.socket:
    if host in {"", "::"} and not _has_ipv6():
        host = "0.0.0.0"  # noqa: S104 - everywhere is what was asked for
    found = socket.getaddrinfo(host or "::", port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    # A name may have addresses of both families: IPv4 is what scrapers try.
    family, kind, protocol, _, address = min(found, key=lambda each: each[0] != socket.AF_INET)
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.bind(address)
        listener.listen(_LISTEN_BACKLOG)
        listener.settimeout(0)
    except BaseException:
        listener.close()
        raise
    return listener


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.bind(("::", 0))
    except OSError:
        return False
    return True
