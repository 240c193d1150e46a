"""Compares numbers of sockets with the kernel's, sample by sample. Pure.

They go up and down, so that nothing bounds them as readings bound what only grows: they are the
same if they are so in any of the last few samples, or once above and once below.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple

from tcptrace.lifecycle.comparison import Comparison, Interval, distance

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tcptrace.lifecycle.figures import Figure

SAMPLES: Final = 5
"""So many in a row must differ to the same side before numbers of sockets do."""


class _Numbers(NamedTuple):
    """One sample of a number of sockets."""

    kernel: int
    ours: int
    distance: int


class SocketNumbers:
    """Compares numbers of sockets, sample by sample."""

    def __init__(self) -> None:
        self._samples: dict[tuple[int, Figure], deque[_Numbers]] = {}

    def add(self, netns: int, figure: Figure, kernel: Interval, ours: Interval) -> None:
        """Takes a sample: each side's number before and after, in whatever order."""
        samples = self._samples.setdefault((netns, figure), deque(maxlen=SAMPLES))
        low, high = sorted(kernel)
        # distance() tells how far the second lies below the first.
        below = distance((low, high), (min(ours), max(ours)))
        samples.append(_Numbers(kernel[-1], ours[-1], -below))

    def keep(self, namespaces: set[int]) -> None:
        """Forgets all other namespaces."""
        for key in [key for key in self._samples if key[0] not in namespaces]:
            del self._samples[key]

    def restart(self) -> None:
        """Forgets the samples: a snapshot has put the numbers right."""
        self._samples.clear()

    def comparisons(self) -> Iterator[Comparison]:
        """Every figure of every namespace, as of the last samples."""
        for (netns, figure), samples in self._samples.items():
            last = samples[-1]
            yield Comparison(netns, figure, last.kernel, last.ours, _lasting(samples))


def _lasting(samples: deque[_Numbers]) -> int:
    """The smallest difference of them all, if all are to one side and there are enough."""
    least = min((one.distance for one in samples), key=abs)
    is_one_sided = all(one.distance * least > 0 for one in samples)
    return least if is_one_sided and len(samples) == SAMPLES else 0
