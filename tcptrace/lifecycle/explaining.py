"""What a difference from the kernel comes from, as far as what was counted besides tells. Pure.

A difference is explained only by losses that were counted, and that are as many as all namespaces
differ by to its side.
"""

from __future__ import annotations

from collections import Counter
from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple

from tcptrace.lifecycle.figures import Origin

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from collections.abc import Set as AbstractSet

    from tcptrace.lifecycle.comparison import Comparison
    from tcptrace.lifecycle.figures import Figure
    from tcptrace.wire.head import Losses


class Cause(StrEnum):
    """The likely cause of a difference: a label's values."""

    NONE = "none"
    """There is no difference."""
    UNDER_WAY = "under_way"
    """The numbers differ by no more than what was under way while they were read."""
    LOST_EVENTS = "lost_events"
    """So many of the records that tell of it found the ring full."""
    MISSED_RUNS = "missed_runs"
    """The kernel skipped so many runs of the probes that count it."""
    NO_SLOT = "no_slot"
    """So much was counted for listeners that found no free slot, whose namespace is not known."""
    UNCOUNTED_MISSES = "uncounted_misses"
    """Perhaps missed runs: the probes are kprobes, whose misses this kernel does not count."""
    OTHER_NAMESPACE = "other_namespace"
    """Another namespace has the same difference to the other side."""
    UNKNOWN = "unknown"


EXPLAINED: Final = frozenset(
    {Cause.NONE, Cause.UNDER_WAY, Cause.LOST_EVENTS, Cause.MISSED_RUNS, Cause.NO_SLOT}
)
"""The causes that were counted; the others are guesses."""


class Finding(NamedTuple):
    """A comparison and its likely cause."""

    comparison: Comparison
    cause: Cause

    @property
    def is_explained(self) -> bool:
        """Whether there is no difference, or a counted loss accounts for it."""
        return self.cause in EXPLAINED

    @property
    def direction(self) -> str:
        """Whether tcptrace's figure is above or below the kernel's."""
        difference = self.comparison.difference
        return "equal" if not difference else "above" if difference > 0 else "below"


class Evidence(NamedTuple):
    """What else was counted since the trace began."""

    losses: Losses
    without_slot: Mapping[str, int]
    """What the overflow slot counted, by figure."""
    suspects: AbstractSet[int] = frozenset()
    """Namespaces in which records may be lost that no snapshot has made up for yet."""


def explain(comparisons: Iterable[Comparison], evidence: Evidence) -> list[Finding]:
    """Finds the likely cause of each difference.

    A loss is known by its hook, not by its namespace or by what was lost in it: so it must be as
    large as the differences of all namespaces to one side together.
    """
    told = list(comparisons)
    differing = {(one.figure.name, one.difference) for one in told if one.difference}
    sides = Counter[tuple[str, bool]]()
    for one in told:
        sides[_side(one)] += abs(one.difference)
    return [Finding(one, _cause(one, evidence, differing, sides[_side(one)])) for one in told]


def _side(one: Comparison) -> tuple[str, bool]:
    return one.figure.name, one.difference > 0


def _cause(
    one: Comparison, evidence: Evidence, differing: AbstractSet[tuple[str, int]], together: int
) -> Cause:
    if not one.difference:
        return Cause.NONE if one.kernel == one.ours else Cause.UNDER_WAY
    counted = _counted_cause(one, evidence, together)
    if counted is not None:
        return counted
    if (one.figure.name, -one.difference) in differing:
        return Cause.OTHER_NAMESPACE
    uncounted = dict.fromkeys(map(_hook_of, evidence.losses.uncounted_hooks), 1)
    return Cause.UNCOUNTED_MISSES if _of(one.figure, uncounted) else Cause.UNKNOWN


def _counted_cause(one: Comparison, evidence: Evidence, together: int) -> Cause | None:
    """The largest of the losses that were counted, if they are large enough together."""
    figure, losses = one.figure, evidence.losses
    is_suspect = figure.origin is Origin.SOCKETS and one.netns in evidence.suspects
    if is_suspect and losses.lost_records:
        return Cause.LOST_EVENTS
    counted = {Cause.MISSED_RUNS: _of(figure, losses.missed_by_hook)}
    if one.difference < 0 and figure.origin is Origin.RECORDS:
        counted[Cause.LOST_EVENTS] = _of(figure, losses.lost_by_hook)
    if one.difference < 0 and figure.origin is Origin.LEDGER:
        counted[Cause.NO_SLOT] = evidence.without_slot.get(figure.name, 0)
    if sum(counted.values()) < together:
        return None
    return max(counted, key=lambda cause: counted[cause])


def _of(figure: Figure, by_hook: Mapping[str, int]) -> int:
    """What was counted of the hooks by which a figure is counted; a key may name several hooks."""
    return sum(
        count
        for names, count in by_hook.items()
        if not figure.hooks or not set(figure.hooks).isdisjoint(names.split(", "))
    )


def _hook_of(told: str) -> str:
    """The name of a hook that is told with its carrier."""
    return told.partition(" ")[0]
