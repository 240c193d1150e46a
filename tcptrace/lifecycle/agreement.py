"""Holds all that a trace counts against the kernel's own figures, and finds the causes. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tcptrace.lifecycle.explaining import Evidence, Finding, explain
from tcptrace.lifecycle.figures import BY_STATE, CURR_ESTAB, SOCKSTAT, STATES_OF, from_ledger
from tcptrace.lifecycle.healing import Healing
from tcptrace.lifecycle.reconciliation import Reconciliation
from tcptrace.tcp import State
from tcptrace.wire.ledger import COUNTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from tcptrace.lifecycle.ledger import Ledger
    from tcptrace.lifecycle.tally import Tally
    from tcptrace.lifecycle.tracker import Tracker
    from tcptrace.wire.head import Losses, TraceHead
    from tcptrace.wire.ledger import Inventory, LedgerReading

_OPEN: Final = (State.ESTABLISHED, State.CLOSE_WAIT)
_NO_FULL_SOCKET: Final = (State.CLOSE, State.NEW_SYN_RECV)
_NOTHING: Final = (0,) * COUNTS

Numbers = dict[int, list[int]]
"""By namespace, how many sockets are in each state, at its number."""


class Agreement:
    """Compares what ledger, records and state counts say.

    Args:
        tracker: has the state counts.
        tally: has what the records told.
        ledger: has what the probes counted.
        head: of the trace: what none of its hooks tells is not compared, nor what it says.

    Attributes:
        reconciliation: the figures themselves.
        healing: what losses have done to the state counts, and whether that is mended.
    """

    def __init__(self, tracker: Tracker, tally: Tally, ledger: Ledger, head: TraceHead) -> None:
        self.reconciliation = Reconciliation()
        self.healing = Healing()
        self._tracker = tracker
        self._tally = tally
        self._ledger = ledger
        self._hooks = frozenset(hook.name for hook in head.hooks)
        self._uncompared = frozenset(head.uncompared)

    def numbers(self, namespaces: Iterable[int]) -> Numbers:
        """How many sockets are in each state, of the namespaces that are told apart; as of now."""
        told = {netns: self._tracker.counts.by_state(netns) for netns in namespaces}
        return {netns: cells for netns, cells in told.items() if cells is not None}

    def compare(self, reading: LedgerReading, before: Numbers, after: Numbers) -> None:
        """Compares a reading, after the ledger has absorbed it.

        Args:
            reading: with the kernel's figures.
            before: the numbers of sockets just before it.
            after: just after it.
        """
        sums = dict(self._ledger.sums())
        counted = {
            netns: {**from_ledger(sums.get(netns, _NOTHING)), **self._tally.counted(netns)}
            for netns in (figures.netns for figures in reading.namespaces)
        }
        for told_here in counted.values():
            for name in self._uncompared & told_here.keys():
                del told_here[name]
        self.reconciliation.compare(reading, counted)
        for figures in reading.namespaces:
            netns = figures.netns
            if figures.more_after and netns in before and netns in after:
                told = (figures.kernel_before(), figures.kernel_after())
                kernel = (told[0][CURR_ESTAB.name], told[1][CURR_ESTAB.name])
                ours = (_sum(before[netns], _OPEN), _sum(after[netns], _OPEN))
                self.reconciliation.sockets.add(netns, CURR_ESTAB, kernel, ours)

    def compare_sockets(
        self,
        before: Mapping[int, Inventory],
        numbers: Numbers,
        after: Mapping[int, Inventory],
    ) -> None:
        """Compares numbers of sockets with what the kernel told just before and just after."""
        add = self.reconciliation.sockets.add
        for netns, cells in numbers.items():
            if netns not in before or netns not in after:
                continue
            first, last = before[netns], after[netns]
            in_use = sum(cells) - _sum(cells, _NO_FULL_SOCKET)
            add(netns, SOCKSTAT, (first.in_use, last.in_use), (in_use, in_use))
            for name, figure in BY_STATE.items():
                states = STATES_OF[name]
                kernel = tuple(
                    sum(told.by_state.get(state, 0) for state in states) for told in (first, last)
                )
                ours = _sum(cells, states)
                add(netns, figure, (kernel[0], kernel[1]), (ours, ours))

    def findings(self, losses: Losses) -> list[Finding]:
        """Every figure that the kernel has too, compared, with the likely cause of a difference.

        Args:
            losses: the source's, as of now.
        """
        nowhere = dict(self._ledger.sums()).get(0, _NOTHING)
        comparable = [
            one
            for one in self.reconciliation.comparisons()
            if not one.figure.hooks or not self._hooks.isdisjoint(one.figure.hooks)
        ]
        suspects = self.healing.suspects(one.netns for one in comparable)
        evidence = Evidence(losses, from_ledger(nowhere), suspects)
        return explain(comparable, evidence)


def _sum(cells: Sequence[int], states: Iterable[State]) -> int:
    return sum(cells[state] for state in states)
