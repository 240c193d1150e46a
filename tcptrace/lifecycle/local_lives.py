"""Finds the lives that are open at one listener, a slice at a time; frozen ones stay frozen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tcptrace.lifecycle.connection import Role
from tcptrace.tcp import MAPPED_PREFIX, address_text

if TYPE_CHECKING:
    from tcptrace.lifecycle.connection import Connection
    from tcptrace.lifecycle.ledger import Address
    from tcptrace.lifecycle.life import Life
    from tcptrace.lifecycle.objects import Objects

MOST: Final = 200
"""How many are told one by one: the latest."""
_SLICE: Final = 4096
"""How many objects are looked at each time: a few ms."""
_ANY4: Final = "0.0.0.0"  # noqa: S104 - nothing is bound here
_ANY6: Final = "::"


class LocalLives:
    """The lives at one listener.

    Args:
        objects: where the lives are.
        address: the listener's; a wildcard's are all of its port.

    Attributes:
        count: how many there are.
        found: the latest MOST of them, the latest first; of frozen ones copies.
    """

    def __init__(self, objects: Objects, address: Address) -> None:
        self._objects = objects
        self._address = address
        self._left = [*objects.frozen.oldest_first(), *objects.lives]
        self.count = 0
        self.found: list[Connection] = []

    def look(self) -> bool:
        """Looks at some more objects, while nothing changes; returns whether any are left."""
        for _ in range(min(_SLICE, len(self._left))):
            sock = self._left.pop()
            life = self._objects.lives.get(sock)
            if life is None:
                self._look_at_frozen(sock)
            elif life.sock == sock:
                self._look_at(life)
        return bool(self._left)

    def _look_at(self, life: Life) -> None:
        connection = life.connection
        local = connection.local
        if connection.role is not Role.CLIENT and self._is_here(
            connection.netns, local.address, local.port
        ):
            self._take(connection)

    def _look_at_frozen(self, sock: int) -> None:
        frozen = self._objects.frozen.get(sock)
        if frozen is None:
            return
        shape, (netns, local, port, *_) = self._objects.freezer.look(frozen)
        if not self._is_here(netns, local, port) or shape.role is Role.CLIENT:
            return
        if len(self.found) < MOST:
            self._take(self._objects.freezer.thaw(sock, frozen).connection)
        else:
            self.count += 1

    def _take(self, connection: Connection) -> None:
        self.count += 1
        if len(self.found) < MOST:
            self.found.append(connection)

    def _is_here(self, netns: int, local: bytes, port: int) -> bool:
        return is_at(self._address, netns, local, port)


def is_at(address: Address, netns: int, local: bytes, port: int) -> bool:
    """Whether a local end is one of a listener's.

    Args:
        address: the listener's.
        netns: the end's network namespace.
        local: 16 bytes.
        port: in host order.
    """
    if port != address.port or netns != address.netns:
        return False
    if address.address == _ANY6:
        return True
    if address.address == _ANY4:
        return local.startswith(MAPPED_PREFIX)
    return address_text(local) == address.address
