"""Finds lives by their addresses: the other end on this host, and a tuple that is used again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tcptrace.lifecycle.waiting import is_silent
from tcptrace.tcp import MAPPED_PREFIX, Endpoint, State

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

    def add(self, life: Life, at_ns: int) -> None:
        """Makes a life known by its ends, and links it to its other end if that one is here."""
        connection = life.connection
        self._put(life)
        peer = self._peer(life)
        if peer is not None and _is_free(peer, at_ns):
            connection.peer_id = peer.connection.id
            peer.connection.peer_id = connection.id

    def add_if_free(self, life: Life, at_ns: int) -> None:
        """The same, unless another life has these ends: that one was told of by more.

        What is in TIME_WAIT already is linked to nothing: its other end may be in its next use.
        """
        connection = life.connection
        if (connection.netns, connection.local, connection.remote) in self._lives:
            return
        if connection.state is State.TIME_WAIT:
            self._put(life)
        else:
            self.add(life, at_ns)

    def find(self, netns: int, local: Endpoint, remote: Endpoint) -> Life | None:
        """The life with these very ends in this namespace."""
        return self._lives.get((netns, local, remote))

    def remove(self, life: Life) -> None:
        """Forgets a life, but not another that has taken its ends since."""
        for key in life.keys:
            if self._lives.get(key) is life:
                del self._lives[key]
        life.keys = ()

    def _put(self, life: Life) -> None:
        connection = life.connection
        self.remove(life)
        life.keys = _keys(connection.netns, connection.local, connection.remote)
        for key in life.keys:
            self._lives[key] = life

    def unlink(self, life: Life) -> None:
        """Forgets a life as if it had never been added: its other end has none now."""
        peer = self._peer(life)
        if peer is not None and peer.connection.peer_id == life.connection.id:
            peer.connection.peer_id = None
        self.remove(life)

    def _peer(self, life: Life) -> Life | None:
        connection = life.connection
        for key in _keys(connection.netns, connection.remote, connection.local):
            peer = self._lives.get(key)
            if peer is not None and peer is not life:
                return peer
        return None


def _is_free(life: Life, at_ns: int) -> bool:
    """Whether a life may still be linked to a new other end.

    One that is over, or in TIME_WAIT, is so for its peer too: what comes now is the next use of the
    two ports. A SYN may meet several request sockets in a row; of dropped ones nothing is kept but
    the ends.
    """
    state = life.connection.state
    if state is None:
        return not is_silent(life, at_ns)
    if state is State.TIME_WAIT or state is State.CLOSE:
        return False
    return life.connection.peer_id is None or state is State.SYN_SENT


def _keys(netns: int, local: Endpoint, remote: Endpoint) -> tuple[Key, ...]:
    here = (netns, local, remote)
    if local.address[:13] == _LOOPBACK4 or local.address == _LOOPBACK6:
        return (here,)
    return (here, (_ANYWHERE, local, remote))


def is_known(connection: Connection) -> bool:
    """Whether both ports are known: connect() chooses its own late."""
    return bool(connection.local.port and connection.remote.port)
