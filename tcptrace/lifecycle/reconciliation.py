"""Compares what a trace counted with the kernel's own figures, namespace by namespace. Pure.

The kernel's figures are read before and after ours. What moved in between may or may not be in
ours; and whatever is under way at that moment may be in one of them alone, since the kernel counts
some things before a probe does and others after it. That is over long before the next reading. So
ours of one reading lie anywhere from what the kernel had counted at the one before to what it has
at the one after.

Numbers of sockets, which go up and down, are compared by lifecycle.socket_numbers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from tcptrace.lifecycle.comparison import Comparison, Interval, distance
from tcptrace.lifecycle.figures import COUNTED
from tcptrace.lifecycle.socket_numbers import SocketNumbers

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tcptrace.wire.ledger import LedgerReading, NamespaceFigures


class _Read(NamedTuple):
    """The kernel's figures of a namespace at one reading, by figure."""

    low: dict[str, int]
    """Just before; without what may not have come about since the first reading."""
    high: dict[str, int]
    """Just after."""


class _Past(NamedTuple):
    """The last two comparisons of a namespace."""

    earlier: _Read | None
    """The kernel's figures at the reading before the last one; None if there was none."""
    latest: _Read
    """The same at the last one."""
    ours: Mapping[str, int]
    """Ours at the last one."""


class _Known(NamedTuple):
    """What is known of a namespace since its first reading."""

    first: _Read
    ours: Mapping[str, int]
    uncertain: dict[str, int]
    """The kernel's counters that COUNTED's figures are uncertain by."""


class Reconciliation:
    """The differences since the first reading.

    Attributes:
        differences: for each namespace that is watched, ours minus the kernel's by figure, as of
            the last reading but one; 0 where the two can be the same.
        sockets: the same of numbers of sockets.
    """

    def __init__(self) -> None:
        self.differences: dict[int, dict[str, int]] = {}
        self.sockets = SocketNumbers()
        self._known: dict[int, _Known] = {}
        self._pasts: dict[int, _Past] = {}
        self._zeros: dict[int, dict[str, Interval]] = {}

    def compare(self, reading: LedgerReading, ours: Mapping[int, Mapping[str, int]]) -> None:
        """Compares a reading.

        The first comparison of a namespace takes what was counted before the trace as its zero. A
        namespace that is watched no more is forgotten.

        Args:
            reading: with the kernel's figures; those that it lacks are not compared.
            ours: by namespace and figure's name, as of this reading; what is missing is not
                compared.
        """
        for figures in reading.namespaces:
            netns = figures.netns
            counted = ours.get(netns, {})
            known = self._known.get(netns)
            if known is None:
                known = self._known[netns] = _first(figures, counted)
            read = _read(figures, known.uncertain)
            past = self._pasts.get(netns)
            self._pasts[netns] = _Past(past and past.latest, read, counted)
            if past is None or past.earlier is None:
                self.differences[netns] = dict.fromkeys(read.high.keys() & counted.keys(), 0)
                continue
            around = {
                name: (past.earlier.low[name] - past.ours[name], high - past.ours[name])
                for name, high in read.high.items()
                if name in past.ours and name in counted and name in past.earlier.low
            }
            self._judge(netns, around)
        watched = {figures.netns for figures in reading.namespaces}
        for netns in self._pasts.keys() - watched:
            for told in (self._pasts, self.differences, self._zeros, self._known):
                told.pop(netns, None)
        self.sockets.keep(watched)

    def _judge(self, netns: int, around: dict[str, Interval]) -> None:
        """Compares kernel minus ours, as an interval for each figure, with what it was."""
        zeros = self._zeros.get(netns, around)
        self.differences[netns] = {
            name: distance(zeros.get(name, now), now) for name, now in around.items()
        }
        self._zeros[netns] = {
            name: _narrowed(zeros.get(name, now), now) for name, now in around.items()
        }

    def comparisons(self) -> Iterator[Comparison]:
        """Every figure of every namespace, numbers of sockets last."""
        for netns, past in self._pasts.items():
            known = self._known[netns]
            for name in self.differences[netns]:
                high = past.latest.high[name]
                yield Comparison(
                    netns,
                    COUNTED[name],
                    high - known.first.high[name],
                    past.ours.get(name, 0) - known.ours.get(name, 0),
                    self.differences[netns][name],
                )
        yield from self.sockets.comparisons()


def _first(figures: NamespaceFigures, counted: Mapping[str, int]) -> _Known:
    kernel = figures.kernel_after()
    names = {name for figure in COUNTED.values() for name in figure.uncertain}
    uncertain = {name: kernel[name] for name in names if name in kernel}
    return _Known(_read(figures, uncertain), counted, uncertain)


def _read(figures: NamespaceFigures, uncertain: Mapping[str, int]) -> _Read:
    before, after = figures.kernel_before(), figures.kernel_after()
    low, high = {}, {}
    for name, figure in COUNTED.items():
        if all(part in after for part in figure.kernel):
            high[name] = sum(after[part] for part in figure.kernel)
            low[name] = sum(before[part] for part in figure.kernel) - sum(
                after[part] - uncertain[part] for part in figure.uncertain
            )
    return _Read(low, high)


def _narrowed(zero: Interval, now: Interval) -> Interval:
    """What both have in common; the former where that is nothing."""
    return zero if distance(zero, now) else (max(zero[0], now[0]), min(zero[1], now[1]))
