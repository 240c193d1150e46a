"""Feeds a day of churn to what `serve` runs, from bytes to metrics, and watches its memory.

Connections of all shapes, listeners and namespaces come and go; more are open than are kept. In
every tenth round records are lost. After each round, and a snapshot, the counts of sockets by
namespace, family and state must be exact; at the end memory must be what it was after the first
fifth, or once all that is bounded was full, if that was later.
"""

from __future__ import annotations

import argparse
import gc
import os
import sys
import time
from collections import Counter, deque
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

import numpy as np
from bench.host import Host
from unit import samples
from unit.lifecycle.seen import Count, counted

from tcptrace.exporting import Exporter
from tcptrace.kernel.live import BATCH_RECORDS
from tcptrace.lifecycle.departures import IDLE_NS
from tcptrace.sinks.metrics import text
from tcptrace.sinks.metrics.observed import new_tally
from tcptrace.verdicts.window import WINDOW_NS
from tcptrace.watching import SNAPSHOT_PERIOD_NS, Watch
from tcptrace.wire.layout import RECORD_SIZE
from tcptrace.wire.ledger import LedgerReading

from .template import Template, check_layout, counts_of, make_template

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

ROUNDS_OPEN: Final = 30
"""What is left of a round ends so many rounds later."""
LOSS_EVERY: Final = 10
LOSS_SHARE: Final = 0.01
MOST_GROWTH: Final = 0.05
WARM_ROUNDS: Final = ROUNDS_OPEN + IDLE_NS // SNAPSHOT_PERIOD_NS + 6
"""Then all is full that a run can fill: open listeners, kept and unkept, until what a round leaves
begins to end; and namespaces, which are forgotten some minutes after that."""
_BATCH_BYTES: Final = BATCH_RECORDS * RECORD_SIZE
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")


class Churn(Host):
    """A host whose records are made as they are read."""

    takes_snapshots = True

    def __init__(self, template: Template) -> None:
        self.template = template
        self.lost = 0
        self.number = 0
        self._now_ns = samples.START
        self._waiting: deque[bytes] = deque()
        self._chance = np.random.default_rng(1)

    def now_ns(self) -> int:
        return self._now_ns

    def lost_records(self) -> int:
        return self.lost

    def ledger_reading(self) -> LedgerReading:
        """No listener's: those that the ledger does not know lose their waits in time."""
        return LedgerReading(self._now_ns, 1, [], ())

    def read(self, timeout_s: float) -> bytes | None:  # noqa: ARG002 - reading.Source's
        if not self._waiting:
            return b""
        batch = self._waiting.popleft()
        self._pass_time(batch)
        return batch

    def snapshot(self, between: object) -> set[int]:
        """Finds what is left of the last rounds."""
        covered = set()
        for number in self.open_rounds:
            records = self.template.findings.named(number, _reuse(number))
            records["at_ns"] = self._now_ns
            self._put(records)
            covered |= set(records["netns"].tolist())
            drain = cast("Callable[[], None]", between)
            drain()
        return covered

    @property
    def open_rounds(self) -> range:
        return range(max(0, self.number - ROUNDS_OPEN), self.number)

    def begin_round(self) -> None:
        """Ends what is left of an old round, and lets the next one happen."""
        template, number = self.template, self.number
        later_ns = number * (template.duration_ns + SNAPSHOT_PERIOD_NS + samples.S)
        old = number - ROUNDS_OPEN
        if old >= 0:
            self._put(template.endings.at(old, _reuse(old), samples.START + later_ns))
        records = template.churn.at(number, _reuse(number), later_ns)
        if number % LOSS_EVERY == LOSS_EVERY - 1:
            is_kept = self._chance.random(len(records)) >= LOSS_SHARE
            self.lost += len(records) - int(is_kept.sum())
            records = records[is_kept]
        self._put(records)
        self.number += 1

    def end_round(self) -> None:
        """Time passes, as it does from one snapshot to the next."""
        self._now_ns += SNAPSHOT_PERIOD_NS

    def _put(self, records: npt.NDArray[np.void]) -> None:
        raw = records.tobytes()
        self._waiting += [raw[at : at + _BATCH_BYTES] for at in range(0, len(raw), _BATCH_BYTES)]

    def batches(self) -> int:
        return len(self._waiting)

    def _pass_time(self, batch: bytes) -> None:
        """The clock is the records', whoever reads them."""
        last_ns = int.from_bytes(batch[-RECORD_SIZE : 8 - RECORD_SIZE], "little")
        self._now_ns = max(self._now_ns, last_ns)

    def expected(self) -> Count:
        """How many sockets there are, by namespace, family and state."""
        count: Count = Counter()
        for number in self.open_rounds:
            count.update(counts_of(self.template, number))
        return count


def _reuse(number: int) -> int:
    """Objects' addresses come again once nothing is left at them."""
    return number % (ROUNDS_OPEN + 1)


class Soak:
    """One run."""

    def __init__(self, events: int, most: int) -> None:
        check_layout()
        self.host = Churn(make_template(1))
        self.watch = Watch(self.host, new_tally(), 1000, most, WINDOW_NS)
        # Snapshots are taken at the end of each round alone.
        self.watch._next_snapshot_ns = 1 << 63
        self.watch.agreement.healing.is_due = lambda now_ns: now_ns < 0  # type: ignore[method-assign]
        self.exporter = Exporter()
        self.exporter.watch = self.watch
        self.wanted = events
        self.events = 0
        self.busy_s = 0.0
        self.wrong = 0
        self.sizes: list[float] = []
        """MB resident after each round."""
        # With 20 new namespaces in each round this cache would take 800 to fill.
        for netns in range(text._KEPT_PAIRS):
            text._pair("netns", str(netns))

    def play_round(self) -> None:
        host, watch = self.host, self.watch
        host.begin_round()
        begin = time.process_time()
        while batch := host.read(0):
            watch._step(host.now_ns(), batch)
        host.end_round()
        watch._take_stock()
        self.exporter.render("text/plain")
        self.busy_s += time.process_time() - begin
        self.events = self.watch.tally.events.total()
        self.check()

    def check(self) -> None:
        expected, found = self.host.expected(), counted(self.watch.tracker)
        if expected != found:
            self.wrong += 1
            off = {key: found[key] - expected[key] for key in expected | found}
            wrong = {key: count for key, count in off.items() if count}
            print(f"round {self.host.number}: wrong by {wrong}", flush=True)

    def run(self) -> int:
        tenth = 1
        print(f"{len(self.host.template.churn):,} records a round; before: {_resident():.1f} MB")
        print(
            f"{'events':>14}{'CPU':>10}{'events/s':>11}{'resident':>12}{'kept':>10}{'folded':>12}"
        )
        while self.events < self.wanted:
            self.play_round()
            self.sizes.append(_resident())
            if self.events >= self.wanted * tenth / 10:
                tenth += 1
                self.tell(self.sizes[-1])
        garbage = gc.collect()
        growth = self.growth()
        told = "judged by no run so short" if growth is None else f"{growth:+.1%}"
        print(
            f"memory {told}; {self.wrong} of {len(self.sizes)} rounds with wrong counts;"
            f" {self.watch.tracker.healed:,} lives healed after {self.host.lost:,} lost records;"
            f" {self.watch.tracker.unexpected:,} unexpected records; {garbage} objects in cycles"
        )
        return int((growth or 0.0) > MOST_GROWTH or self.wrong > 0)

    def growth(self) -> float | None:
        """What the last rounds need more than those after the first fifth, as a share.

        Of as many rounds each time as have one with losses, the largest: it marks every life.
        """
        begin = max(WARM_ROUNDS, len(self.sizes) // 5)
        first, last = self.sizes[begin:][:LOSS_EVERY], self.sizes[begin + LOSS_EVERY :]
        return max(last[-LOSS_EVERY:]) / max(first) - 1 if len(last) >= LOSS_EVERY else None

    def tell(self, resident: float) -> None:
        tracker = self.watch.tracker
        print(
            f"{self.events:14,}{self.busy_s:8.0f} s{self.events / self.busy_s:11,.0f}"
            f"{resident:9.1f} MB{tracker.open_count:10,}{tracker.folded:12,}",
            flush=True,
        )


def _resident() -> float:
    """MB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE / 1e6


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--events", type=int, default=100_000_000)
    parser.add_argument("--max-connections", type=int, default=5_000)
    arguments = parser.parse_args()
    return Soak(arguments.events, arguments.max_connections).run()


if __name__ == "__main__":
    sys.exit(main())
