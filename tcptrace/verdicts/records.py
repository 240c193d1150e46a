"""Gathers what records alone tell of listeners, where no ledger is read: drops, and accept()."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tcptrace.lifecycle.ledger import Address
from tcptrace.tcp import address_text
from tcptrace.verdicts.gathering import NOTHING, Calls, Counted
from tcptrace.verdicts.window import Window
from tcptrace.wire.ledger import COUNTS, Count

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tcptrace.lifecycle.connection import Listener
    from tcptrace.lifecycle.tally import Tally


class Records:
    """Evidence of some time back until now.

    Args:
        began_ns: when the trace began.
        length_ns: how far back.
        tally: of accept() and connect(); None where lives alone tell of them.

    Attributes:
        window: the facts.
    """

    def __init__(self, began_ns: int, length_ns: int, tally: Tally | None) -> None:
        self.window = Window(began_ns, length_ns)
        self._tally = tally
        self._counted: dict[Address, Counted] = {}
        self._calls = Calls()

    def look(self, listeners: Iterable[Listener], at_ns: int) -> None:
        """Takes what has changed since the last time.

        Args:
            listeners: all that the records have told of.
            at_ns: the time; never earlier than the last.
        """
        now = self.window.now(at_ns)
        before, self._counted = self._counted, self._count(listeners)
        for address, counted in self._counted.items():
            former = before.get(address, NOTHING)
            is_well = counted.counts == former.counts
            if is_well and counted.accepts == former.accepts:
                continue
            mine = now.listener(address, is_well=is_well)
            if mine is None:
                continue
            mine.counts[:] = map(sum, zip(mine.counts, counted.grown(former), strict=True))
            mine.accepts += counted.accepts - former.accepts
            mine.wait_ns += counted.wait_ns - former.wait_ns
            mine.lives += counted.accepts - former.accepts  # as many came to be, at least
        for one in listeners:
            known = now.listeners.get(_address_of(one))
            if known is not None and not one.folded:
                known.accept_peak = max(known.accept_peak, one.accept_queue_peak)
                known.syn_peak = max(known.syn_peak, one.syn_queue_peak)
        if self._tally is not None:
            self._calls.add(now.connects, self._tally)

    def _count(self, listeners: Iterable[Listener]) -> dict[Address, Counted]:
        """Adds up the listeners of each address: one after the other, or in a reuseport group."""
        counts: dict[Address, list[int]] = {}
        for one in listeners:
            if one.folded:
                continue
            mine = counts.setdefault(_address_of(one), [0] * COUNTS)
            for stage, number in one.drops.items():
                mine[stage] += number
            mine[Count.COOKIE_SENT] += one.cookies_sent
        waits = self._tally.waits if self._tally is not None else {}
        return {
            address: Counted(tuple(mine), *waits[address].total if address in waits else (0, 0))
            for address, mine in counts.items()
        }


def _address_of(listener: Listener) -> Address:
    local = listener.local
    return Address(listener.netns, address_text(local.address), local.port)
