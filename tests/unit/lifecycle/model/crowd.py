"""Listeners that several connections share: both queues fill, overflow, drain and are cut off."""

from __future__ import annotations

import heapq
from itertools import count
from typing import TYPE_CHECKING

from unit import samples
from unit.lifecycle.model.end import Host
from unit.lifecycle.model.guest import Guest
from unit.lifecycle.model.shop import Manners, Shop
from unit.lifecycle.stream import HERE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from unit.lifecycle.model.plan import Chain
    from unit.lifecycle.model.scene import Steps


class Crowd(Host):
    """A host on which chains of connections meet at a few listeners.

    Args:
        shops: the listeners' manners.
        chains: each goes to the listener whose port it names.
        port: of the first listener.
    """

    def __init__(self, shops: Iterable[Manners], chains: Iterable[Chain], port: int) -> None:
        super().__init__()
        self.manners, self.chains = tuple(shops), tuple(chains)
        netns = {chain.server.local.port: chain.server.netns for chain in self.chains}
        opened = {
            port + number: Shop(self, port + number, netns.get(port + number, HERE), manners)
            for number, manners in enumerate(self.manners)
        }
        guests = [Guest(self, chain, opened[chain.server.local.port]) for chain in self.chains]
        self._turns = count()
        self._due: list[tuple[int, int, Guest | Steps]] = []
        for guest in guests:
            self._start(guest, guest.chain.begins_after_ns)
        for shop in opened.values():
            shop.start = self._start
            self._start(shop.close_for_a_while())
        while self._due:
            at_ns, _, player = heapq.heappop(self._due)
            self.stream.now_ns = max(self.stream.now_ns, at_ns)
            pause_ns = next(player.steps if isinstance(player, Guest) else player, None)
            if pause_ns is not None:
                self._start(player, pause_ns)
        self.remember()
        self.stream.wait(samples.S)

    def _start(self, player: Guest | Steps, pause_ns: int = 0) -> None:
        """Has somebody's next step played after a pause."""
        heapq.heappush(self._due, (self.stream.now_ns + pause_ns, next(self._turns), player))

    def __repr__(self) -> str:
        return f"Crowd({self.manners}, {self.chains})"
