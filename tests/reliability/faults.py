"""What is done to tcptrace and its kernel while a scenario plays."""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from live.serving import Scrape, Serving

_CPU: Final = Path("/sys/devices/system/cpu/cpu1/online")
_HOUR_S: Final = 3600.0
_EVERY_S: Final = 0.5


class Fault(NamedTuple):
    """A way to make it hard.

    Attributes:
        words: what it is, for the table; "none" for none.
        options: what `tcptrace serve` is given for it.
        lasting: what goes on while the scenario plays.
        loses: whether records must get lost by it.
    """

    words: str = "none"
    options: tuple[str, ...] = ()
    lasting: Callable[[Serving], AbstractContextManager[None]] = lambda _: nullcontext()
    loses: bool = False

    def with_losses(self, scrape: Scrape) -> str:
        """The words, and what was lost.

        Raises:
            AssertionError: nothing was.
        """
        lost = losses(scrape)
        assert lost or not self.loses, f"{self.words}: nothing was lost"
        return f"{self.words}: {lost}" if lost else self.words


def losses(scrape: Scrape) -> str:
    """What tcptrace itself says that it has lost, or ""."""
    events = scrape.total("tcptrace_events_lost_total")
    misses = scrape.total("tcptrace_hook_misses_total")
    parts = [f"{events:,} events lost"] if events else []
    parts += [f"{misses:,} runs of a probe skipped"] if misses else []
    return ", ".join(parts)


def lost_by(scrape: Scrape, hooks: Iterable[str]) -> int:
    """How many records of these hooks and runs of their probes were lost."""
    names = ("tcptrace_hook_events_lost_total", "tcptrace_hook_misses_total")
    told = [item for name in names for item in scrape.by("hook", name).items()]
    wanted = set(hooks)
    return sum(count for hook, count in told if not wanted.isdisjoint(hook.split(", ")))


@contextmanager
def _stopped(serving: Serving) -> Iterator[None]:
    os.kill(serving.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(serving.pid, signal.SIGCONT)


@contextmanager
def _repeated(step: Callable[[int], object]) -> Iterator[None]:
    """Calls with 0, 1, 0, 1 … as long as it lasts, an equal number of times each."""
    stop = threading.Event()

    def work() -> None:
        number = 0
        while not stop.wait(_EVERY_S) or number % 2:
            step(number % 2)
            number += 1

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _unplugged(_: Serving) -> AbstractContextManager[None]:
    return _repeated(lambda is_on: _CPU.write_text(str(is_on), encoding="ascii"))


def _stepped(_: Serving) -> AbstractContextManager[None]:
    def step(is_back: int) -> None:
        now_s = time.clock_gettime(time.CLOCK_REALTIME)
        time.clock_settime(time.CLOCK_REALTIME, now_s + (_HOUR_S if is_back else -_HOUR_S))

    return _repeated(step)


NONE: Final = Fault()
TINY_RING: Final = Fault("ring of 8 kB", ("--ring-size", "8k"))
STOPPED: Final = Fault(
    "ring of 8 kB, collector stopped", ("--ring-size", "8k"), _stopped, loses=True
)
CPU_UNPLUGGED: Final = Fault("CPU 1 unplugged and plugged in all the time", (), _unplugged)
CLOCK_STEPPED: Final = Fault("wall clock set back and forth by 1 h all the time", (), _stepped)
