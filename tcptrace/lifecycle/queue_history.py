"""The last 15 minutes of every listener, step by step, from the ledger's readings. Pure.

Of a listener at which nothing happens nothing is kept: its steps are all alike. So ten thousand of
them cost little, as long as not all of them are busy.
"""

from __future__ import annotations

from array import array
from collections import Counter, deque
from typing import TYPE_CHECKING, Final, NamedTuple

from tcptrace.lifecycle.ledger import DROP_STAGES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tcptrace.lifecycle.accept_waits import AcceptWaits
    from tcptrace.lifecycle.ledger import Address, Listening
    from tcptrace.wire.events import Stage

STEP_NS: Final = 5_000_000_000
STEPS: Final = 180
"""How many steps are kept: 15 minutes."""
MOST_BUSY: Final = 1_000
"""Of how many listeners the steps are kept at which anything happened: 5 kB each."""
_LARGEST: Final = (1 << 32) - 1
_US: Final = 1_000


class Step(NamedTuple):
    """What a listener did within one step.

    Attributes:
        accept_queue_peak: how long the accept queue of its socket was at most, by the kernel's own
            peak; of several sockets the sum of the peaks. One that closed meanwhile is not in it.
        accept_queue_limit: at the step's end; of several sockets the sum.
        syn_queue_peak: the same of its SYN queue.
        syn_queue_limit: the same.
        drops: SYNs, final ACKs and requests that it dropped.
        accepts: connections that accept() took, as far as records told.
        accept_wait_us: how long these had waited on average; 0 without any.
    """

    accept_queue_peak: int
    accept_queue_limit: int
    syn_queue_peak: int
    syn_queue_limit: int
    drops: int
    accepts: int
    accept_wait_us: int

    @property
    def quiet(self) -> Step:
        """The same if nothing had happened."""
        return Step(0, self.accept_queue_limit, 0, self.syn_queue_limit, 0, 0, 0)


Series = tuple[list[int | None], ...]
"""Many steps: for each field of Step its values, None where there was none."""
_WIDTH: Final = len(Step._fields)


class Past:
    """One listener's last 15 minutes.

    Args:
        listening: the listener.
        number: that of the first step in which it is known.

    Attributes:
        last: its last step.
        last_drops: what it dropped in that, by stage; without zeros.
        drops: what it dropped in all of them, by stage; without zeros.
    """

    __slots__ = (
        "_accepts", "_busy_in", "_counts", "_dropped", "_first", "_steps", "_unkept_in",
        "_waits_ns", "drops", "last", "last_drops", "listening",
    )  # fmt: skip

    def __init__(self, listening: Listening, number: int) -> None:
        self.listening = listening
        self.last = Step(*(0,) * _WIDTH)
        self.last_drops: dict[Stage, int] = {}
        self.drops: Counter[Stage] = Counter()
        self._first = number
        self._counts: tuple[int, ...] = ()
        self._accepts = 0
        self._waits_ns = 0
        self._dropped: deque[tuple[int, dict[Stage, int]]] = deque()
        self._steps: array[int] | None = None
        self._busy_in = number
        self._unkept_in = number - STEPS

    @property
    def is_kept(self) -> bool:
        """Whether its steps take memory: something happened."""
        return self._steps is not None

    def add(self, number: int, waits: AcceptWaits | None, *, may_grow: bool) -> None:
        """A step is over.

        Args:
            number: its number: one more than the last one's.
            waits: for accept(), until now.
            may_grow: whether there is room for one more listener's steps.
        """
        quiet = self.last.quiet
        self.last = self._look(waits)
        self._count_drops(number)
        if number == self._first:
            quiet = self.last.quiet
        if self.last != quiet:
            self._busy_in = number
            if self._steps is None and may_grow:
                self._steps = array("I", quiet * STEPS)
            if self._steps is None:
                self._unkept_in = number
        elif number - self._busy_in >= STEPS:
            self._steps = None
        if self._steps is not None:
            place = number % STEPS * _WIDTH
            self._steps[place : place + _WIDTH] = array("I", self.last)

    def series(self, last: int, count: int) -> Series | None:
        """Its last steps, the oldest first; None for those before it was known.

        Args:
            last: the number of the last one.
            count: how many, at most STEPS.

        Returns:
            None if they are not kept: too many listeners were busy.
        """
        if last - self._unkept_in < STEPS:
            return None
        unknown: list[int | None] = [None] * min(count, max(0, self._first - (last - count + 1)))
        known = count - len(unknown)
        if self._steps is None:
            return tuple(unknown + [value] * known for value in self.last.quiet)
        begin = (last - known + 1) % STEPS * _WIDTH
        ordered = self._steps[begin:] + self._steps[:begin]
        return tuple(
            [*unknown, *ordered[column : known * _WIDTH : _WIDTH]] for column in range(_WIDTH)
        )

    def _look(self, waits: AcceptWaits | None) -> Step:
        listening = self.listening
        accept_peak = syn_peak = 0
        for member in listening.members.values():
            peaks = member.take_peaks()
            accept_peak += peaks[0]
            syn_peak += peaks[1]
        accepts = mean_ns = 0
        if waits is not None and waits.count > self._accepts:
            accepts = waits.count - self._accepts
            mean_ns = max(0, waits.sum_ns - self._waits_ns) // accepts
        if waits is not None:
            self._accepts, self._waits_ns = waits.count, waits.sum_ns
        counts, self.last_drops = listening.counts, {}
        if counts != self._counts:
            before = self._counts or (0,) * len(counts)
            grown = {stage: counts[stage] - before[stage] for stage in DROP_STAGES}
            self.last_drops = {stage: number for stage, number in grown.items() if number > 0}
            self._counts = counts
        told = (
            accept_peak,
            listening.accept_queue_limit,
            syn_peak,
            listening.syn_queue_limit,
            sum(self.last_drops.values()),
            accepts,
            mean_ns // _US,
        )
        return Step(*(min(value, _LARGEST) for value in told))

    def _count_drops(self, number: int) -> None:
        if self.last_drops:
            self._dropped.append((number, self.last_drops))
            self.drops.update(self.last_drops)
        while self._dropped and self._dropped[0][0] <= number - STEPS:
            self.drops.subtract(self._dropped.popleft()[1])
            self.drops = +self.drops


class QueueHistory:
    """Every listener's last 15 minutes.

    Attributes:
        times_ns: when each step ended that is kept, the oldest first.
        seconds: how long the last one was.
        pasts: by listener.
    """

    def __init__(self) -> None:
        self.times_ns: deque[int] = deque(maxlen=STEPS)
        self.seconds = 0.0
        self.pasts: dict[Address, Past] = {}
        self._number = -1

    def series_of(self, past: Past) -> Series | None:
        """A listener's steps, at `times_ns`; None if too many listeners were busy to keep them."""
        return past.series(self._number, len(self.times_ns))

    def take(
        self, listeners: Iterable[Listening], waits: Mapping[Address, AcceptWaits], at_ns: int
    ) -> None:
        """Ends a step if it is time.

        The first one has all that was counted before.

        Args:
            listeners: every one, as of now.
            waits: for accept(), by listener.
            at_ns: when they were read.
        """
        if self.times_ns:
            passed_ns = at_ns - self.times_ns[-1]
            if passed_ns < STEP_NS:
                return
            self.seconds = passed_ns / 1e9
        self._number += 1
        self.times_ns.append(at_ns)
        before, self.pasts = self.pasts, {}
        kept = sum(past.is_kept for past in before.values())
        for listening in listeners:
            address = listening.address
            past = before.get(address)
            if past is None or past.listening is not listening:
                past = Past(listening, self._number)
            was_kept = past.is_kept
            past.add(self._number, waits.get(address), may_grow=kept < MOST_BUSY)
            kept += past.is_kept - was_kept
            self.pasts[address] = past
