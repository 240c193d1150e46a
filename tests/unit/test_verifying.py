"""What a verification does about losses before it compares."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from tcptrace.lifecycle.healing import HEAL_AFTER_NS
from tcptrace.lifecycle.tally import Tally
from tcptrace.stopping import Limits, Stop
from tcptrace.verifying import verify
from tcptrace.watching import Watch
from unit import samples, slots
from unit.hosts import FakeHost

if TYPE_CHECKING:
    from tcptrace.sinks.verification import Report


def verified(host: FakeHost) -> tuple[Watch, Report]:
    watch = Watch(host, Tally(), 10)
    watch.tracker.counts.place(slots.NETNS, "ipv4")
    return watch, verify(watch, 0.0, Stop(Limits()), io.StringIO(), "comparing")


def test_a_loss_is_healed_by_a_snapshot_that_can_heal_it() -> None:
    host = FakeHost()
    host.lost = [3]
    watch, report = verified(host)
    last_ns = watch.agreement.healing.last_loss_ns
    assert last_ns is not None
    assert host.snapshots_ns[-1] - last_ns >= HEAL_AFTER_NS
    assert (report.heals, report.unhealed) == (1, ())


def test_one_that_goes_on_is_not_waited_for() -> None:
    late = samples.batch(samples.record(samples.START + 1000 * samples.S))
    host = FakeHost(*[late] * 1000)
    host.lost_records = lambda: host.reads  # type: ignore[method-assign]
    _, report = verified(host)
    assert host.now_ns() < samples.START + 100 * samples.S
    assert report.heals == 0
    assert slots.NETNS in report.unhealed


def test_without_one_there_is_no_further_snapshot() -> None:
    host = FakeHost()
    _, report = verified(host)
    assert len(host.snapshots_ns) == 1
    assert (report.heals, report.unhealed) == (0, ())
