"""Finds lives by their addresses: the other end on this host, and a tuple that is used again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tcptrace.tcp import MAPPED_PREFIX, Endpoint

if TYPE_CHECKING:
    from tcptrace.lifecycle.connection import Connection
    from tcptrace.lifecycle.life import Life

_ANYWHERE: Final = -1
_LOOPBACK6: Final = bytes(15) + b"\x01"
_LOOPBACK4: Final = MAPPED_PREFIX + b"\x7f"

Key = tuple[int, Endpoint, Endpoint]


class Ends:
    """Lives by network namespace, local and remote end.

    An end is also found from another namespace (veth), unless its address is a loopback one, which
    every namespace has.
    """

    def __init__(self) -> None:
        self._lives: dict[Key, Life] = {}

    def __len__(self) -> int:
        """How many keys lead to a life."""
        return len(self._lives)

    def add(self, life: Life) -> None:
        """Makes a life known by its ends, and links it to its other end if that one is here."""
        connection = life.connection
        for key in _keys(connection.netns, connection.local, connection.remote):
            self._lives[key] = life
        for key in _keys(connection.netns, connection.remote, connection.local):
            peer = self._lives.get(key)
            if peer is not None and peer is not life:
                connection.peer_id = peer.connection.id
                peer.connection.peer_id = connection.id
                return

    def find(self, netns: int, local: Endpoint, remote: Endpoint) -> Life | None:
        """The life with these very ends in this namespace."""
        return self._lives.get((netns, local, remote))

    def remove(self, life: Life) -> None:
        """Forgets a life, but not another that has taken its ends since."""
        connection = life.connection
        for key in _keys(connection.netns, connection.local, connection.remote):
            if self._lives.get(key) is life:
                del self._lives[key]


def _keys(netns: int, local: Endpoint, remote: Endpoint) -> tuple[Key, ...]:
    here = (netns, local, remote)
    if local.address[:13] == _LOOPBACK4 or local.address == _LOOPBACK6:
        return (here,)
    return (here, (_ANYWHERE, local, remote))


def is_known(connection: Connection) -> bool:
    """Whether both ports are known: connect() chooses its own late."""
    return bool(connection.local.port and connection.remote.port)
