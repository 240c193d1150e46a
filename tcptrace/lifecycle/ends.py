"""Finds lives by their addresses: the other end on this host, and a tuple that is used again."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from tcptrace.lifecycle.index import Index
from tcptrace.lifecycle.waiting import is_silent
from tcptrace.tcp import MAPPED_PREFIX, Endpoint, State

if TYPE_CHECKING:
    from collections.abc import Callable

    from tcptrace.lifecycle.connection import Connection
    from tcptrace.lifecycle.life import Life

_ANYWHERE: Final = -1
_LOOPBACK6: Final = bytes(15) + b"\x01"
_LOOPBACK4: Final = MAPPED_PREFIX + b"\x7f"

SIDES: Final = struct.Struct("<16sH16sH")
"""Local address and port, remote address and port."""

Key = tuple[int, Endpoint, Endpoint]


class Ends:
    """Lives by network namespace, local and remote end.

    An end is also found from another namespace (veth), unless its address is a loopback one, which
    every namespace has.

    Args:
        find: has the life in an object thawed.

    Attributes:
        frozen: objects of frozen lives, by a digest of their two sides; two pairs that have the
            same are thawed together.
        digest_of: makes such a digest of what SIDES packs.
    """

    def __init__(self, find: Callable[[int], object] = lambda _sock: None) -> None:
        self._find = find
        self._lives: dict[Key, Life] = {}
        self.frozen = Index()
        self.digest_of: Callable[[bytes], int] = hash

    def __len__(self) -> int:
        """How many keys lead to a life, frozen ones aside."""
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
        self._thaw_between(connection.local, connection.remote)
        if (connection.netns, connection.local, connection.remote) in self._lives:
            return
        if connection.state is State.TIME_WAIT:
            self._put(life)
        else:
            self.add(life, at_ns)

    def find(self, netns: int, local: Endpoint, remote: Endpoint) -> Life | None:
        """The life with these very ends in this namespace."""
        if self.frozen:
            self._thaw_between(local, remote)
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
        if self.frozen:
            self._thaw_between(connection.local, connection.remote)
        life.keys = keys_of(connection.netns, connection.local, connection.remote)
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
        if self.frozen:
            self._thaw_between(connection.remote, connection.local)
        for key in keys_of(connection.netns, connection.remote, connection.local):
            peer = self._lives.get(key)
            if peer is not None and peer is not life:
                return peer
        return None

    # Frozen lives are found by their sides, and thawed before anything is done with those.

    def lead_to(self, life: Life) -> bool:
        """Whether a life has no ends here, or all of its own."""
        return all(self._lives.get(key) is life for key in life.keys)

    def freeze(self, life: Life) -> None:
        """Keeps only the object of a life that will be frozen."""
        if not life.keys:
            return
        for key in life.keys:
            del self._lives[key]
        self.frozen.add(self._digest(life.connection.local, life.connection.remote), life.sock)

    def thaw(self, life: Life) -> None:
        """Keeps a life again that was frozen."""
        if not life.keys:
            return
        self.frozen.remove(self._digest(life.connection.local, life.connection.remote), life.sock)
        for key in life.keys:
            self._lives[key] = life

    def _thaw_between(self, local: Endpoint, remote: Endpoint) -> None:
        for sock in self.frozen.of(self._digest(local, remote)):
            self._find(sock)

    def _digest(self, local: Endpoint, remote: Endpoint) -> int:
        return self.digest_of(SIDES.pack(*local, *remote))


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


def keys_of(netns: int, local: Endpoint, remote: Endpoint) -> tuple[Key, ...]:
    """By which a life with these ends is found."""
    here = (netns, local, remote)
    if local.address[:13] == _LOOPBACK4 or local.address == _LOOPBACK6:
        return (here,)
    return (here, (_ANYWHERE, local, remote))


def is_known(connection: Connection) -> bool:
    """Whether both ports are known: connect() chooses its own late."""
    return bool(connection.local.port and connection.remote.port)
