"""Whole lives between the same two ends: the two ends of one connection, if nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from tcptrace.wire import columns

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from tcptrace.lifecycle.prototypes import Prototype
    from tcptrace.lifecycle.whole import Alike, Window

    Numbers = npt.NDArray[np.int64]
    Truths = npt.NDArray[np.bool_]

NO_PEER: Final = -1
NOT_SIMPLE: Final = -2
_BOTH: Final = 2
_PORT_BITS: Final = np.uint64(16)


class Candidates:
    """Lives of some shapes, side by side.

    Args:
        window: where they are.
        chosen: those of each shape, with its prototype.

    Attributes:
        lives: their numbers there.
        prints: columns.pair_print() of each.
    """

    def __init__(self, window: Window, chosen: Sequence[tuple[Prototype, Alike]]) -> None:
        sizes = [len(alike.lives) for _, alike in chosen]
        self.lives = np.concatenate([alike.lives for _, alike in chosen])
        first = np.concatenate([alike.first for _, alike in chosen])

        def of_each(numbers: list[int]) -> Numbers:
            return np.repeat(numbers, sizes)

        prototypes = [prototype for prototype, _ in chosen]
        self._is_server = of_each([one.is_server for one in prototypes]).astype(np.bool_)
        self._meets = window.places[first + of_each([one.meets for one in prototypes])]
        established = of_each([one.established or 0 for one in prototypes])
        self._established = window.places[first + established]
        last = first + of_each([one.length - 1 for one in prototypes])
        self._records = window.words.take(last, axis=0)
        self.prints = columns.pair_print(self._records)

    def peers(self) -> Numbers:
        """Which is the other end of each; NO_PEER, or NOT_SIMPLE where more depends on."""
        peers = np.full(len(self.prints), NO_PEER)
        order = np.argsort(self.prints, kind="stable")
        ordered = self.prints.take(order)
        first = np.flatnonzero(np.append([True], ordered[1:] != ordered[:-1]))
        counts = np.diff(first, append=len(order))
        peers[order[np.repeat(counts > _BOTH, counts)]] = NOT_SIMPLE
        two = first[counts == _BOTH]
        one, other = order[two], order[two + 1]
        is_server = self._is_server[one]
        client, server = np.where(is_server, other, one), np.where(is_server, one, other)
        is_pair = self._are_linked(client, server)
        peers[client] = np.where(is_pair, server, NOT_SIMPLE)
        peers[server] = np.where(is_pair, client, NOT_SIMPLE)
        return peers

    def _are_linked(self, client: Numbers, server: Numbers) -> Truths:
        """Whether both ends of a connection know each other.

        As the server's life began, the other one was known by its ends, and not established yet.
        """
        ours, theirs = self._records.take(client, axis=0), self._records.take(server, axis=0)
        ports, other_ports = columns.ports(ours), columns.ports(theirs)
        swapped = columns.low(other_ports << _PORT_BITS) | (other_ports >> _PORT_BITS)
        are: Truths = self._is_server[server] & ~self._is_server[client] & (ports == swapped)
        for word in (0, 1):
            are &= ours[:, columns.LOCAL + word] == theirs[:, columns.REMOTE + word]
            are &= ours[:, columns.REMOTE + word] == theirs[:, columns.LOCAL + word]
        are &= columns.ends_print(ours) != columns.ends_print(theirs)  # a port to itself
        are &= (columns.netns(ours) == columns.netns(theirs)) | ~columns.are_loopback(ours)
        are &= self._meets[client] < self._meets[server]
        are &= self._meets[server] < self._established[client]
        return are
