"""Plays chains of connections side by side, each step at its time."""

from __future__ import annotations

import heapq
from itertools import count
from typing import TYPE_CHECKING

from tcptrace.lifecycle.connection import Role
from tcptrace.tcp import State
from unit import samples
from unit.lifecycle.model.closings import Closings
from unit.lifecycle.model.end import Host
from unit.lifecycle.model.openings import Openings
from unit.lifecycle.model.plan import Acceptance, Chain, TimeWaitEnd

if TYPE_CHECKING:
    from collections.abc import Iterable

    from unit.lifecycle.model.scene import Steps

S = State


class World(Host):
    """A host on which chains of connections are played to their ends."""

    def __init__(self, chains: Iterable[Chain]) -> None:
        super().__init__()
        self.chains = tuple(chains)
        turns = count()
        due = [
            (self.stream.now_ns + chain.begins_after_ns, next(turns), Script(self, chain).play())
            for chain in self.chains
        ]
        heapq.heapify(due)
        while due:
            at_ns, _, steps = heapq.heappop(due)
            self.stream.now_ns = max(self.stream.now_ns, at_ns)
            pause_ns = next(steps, None)
            if pause_ns is not None:
                heapq.heappush(due, (self.stream.now_ns + pause_ns, next(turns), steps))
        self.remember()
        self.stream.wait(samples.S)

    def __repr__(self) -> str:
        return f"World({self.chains})"


class Script(Openings, Closings):
    """Plays one chain."""

    def play(self) -> Steps:
        self.open_listener()
        for use, after in zip(self.chain.uses, [*self.chain.uses[1:], None], strict=True):
            yield self.pause_ns
            self.begin(use)
            yield from self.play_opening()
            if self.client.state is S.ESTABLISHED and self.server.state is S.ESTABLISHED:
                if self.use.acceptance is Acceptance.SOON and self.server.role is Role.SERVER:
                    yield self.pause_ns
                    self.accept()
                yield self.pause_ns
                yield from self.play_closing()
            if after is None:
                return
            yield from self.make_room()

    def make_room(self) -> Steps:
        """Before the next connection its ports must be free, or in TIME_WAIT."""
        for end in (self.client, self.server):
            if end.state is S.ESTABLISHED:
                if end.role is Role.SERVER and end.life.accepted_at_ns is None:
                    self.accept()
                end.reset()
                yield self.pause_ns
        for end in list(self.lingering):
            if self.use.timewait_end is not TimeWaitEnd.REUSED:
                is_timer = self.use.timewait_end is TimeWaitEnd.TIMER
                yield 60 * samples.S if is_timer else self.pause_ns
                end.leave_timewait("timer" if is_timer else "killed")
                self.lingering.remove(end)
        yield samples.S
