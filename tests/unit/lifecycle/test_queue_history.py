from __future__ import annotations

import pytest

from tcptrace.lifecycle import queue_history
from tcptrace.lifecycle.accept_waits import AcceptWaits
from tcptrace.lifecycle.ledger import Address, Ledger
from tcptrace.lifecycle.queue_history import STEPS, QueueHistory, Step
from tcptrace.wire.events import Stage
from unit import samples
from unit.slots import NETNS, reading, slot

WEB = Address(NETNS, "0.0.0.0", 80)  # noqa: S104 - in a table
WAITS: dict[Address, AcceptWaits] = {}


class Host:
    """A ledger that is read, and its history."""

    def __init__(self, most: int = 20_000) -> None:
        self.ledger = Ledger(most)
        self.history = QueueHistory()
        self.now_s = 0.0

    def read(self, **slots: object) -> int:
        """A second later; returns how many steps there are."""
        self.now_s += 1
        numbered = {int(name[1:]): one for name, one in slots.items()}
        self.ledger.absorb(reading(self.now_s, numbered))  # type: ignore[arg-type]
        at_ns = samples.START + int(self.now_s * samples.S)
        self.history.take(self.ledger.listeners, WAITS, at_ns)
        return len(self.history.times_ns)

    def steps(self, address: Address = WEB) -> list[Step | None]:
        series = self.history.series_of(self.history.pasts[address])
        assert series is not None
        return [
            None if values[0] is None else Step(*values) for values in zip(*series, strict=True)
        ]


@pytest.fixture
def host() -> Host:
    WAITS.clear()
    return Host()


def test_a_step_is_over_every_five_seconds(host: Host) -> None:
    assert [host.read(n1=slot()) for _ in range(11)] == [1] * 5 + [2] * 5 + [3]
    assert len(host.steps()) == 3
    assert host.history.seconds == 5


def test_peaks_between_two_steps_are_not_missed(host: Host) -> None:
    host.read(n1=slot())
    host.read(n1=slot(accept_queue_len=1, accept_queue_peaks=(2 << 32 | 7, 0)))
    for _ in range(3):
        host.read(n1=slot())
    host.read(n1=slot(syn_queue_len=3))
    for _ in range(5):
        host.read(n1=slot())
    assert host.steps() == [
        Step(0, 128, 0, 128, 0, 0, 0),
        Step(7, 128, 3, 128, 0, 0, 0),
        Step(0, 128, 0, 128, 0, 0, 0),
    ]


def test_drops_are_told_by_step_and_stage(host: Host) -> None:
    for drops in ({}, {Stage.OTHER: 2}, {Stage.OTHER: 2, Stage.ACK_ACCEPT_QUEUE_FULL: 10}):
        for _ in range(5):
            host.read(n1=slot(counts=drops))
    host.read(n1=slot(counts={Stage.OTHER: 2, Stage.ACK_ACCEPT_QUEUE_FULL: 10}))
    past = host.history.pasts[WEB]
    assert [step.drops for step in host.steps() if step] == [0, 2, 10, 0]
    assert past.drops == {Stage.OTHER: 2, Stage.ACK_ACCEPT_QUEUE_FULL: 10}
    assert past.last_drops == {}


def test_accepts_and_their_waits(host: Host) -> None:
    waits = WAITS[WEB] = AcceptWaits()
    host.read(n1=slot())
    for wait_us in (100, 300):
        waits.add(wait_us * samples.US, samples.START)
    for _ in range(10):
        host.read(n1=slot())
    told = [(step.accepts, step.accept_wait_us) for step in host.steps() if step]
    assert told == [(0, 0), (2, 200), (0, 0)]


def test_a_listener_has_no_steps_from_before_it_listened(host: Host) -> None:
    for _ in range(6):
        host.read(n1=slot())
    for _ in range(5):
        host.read(n1=slot(), n2=slot(port=81))
    assert host.steps(WEB._replace(port=81)) == [None, None, Step(0, 128, 0, 128, 0, 0, 0)]


def test_a_limit_that_was_raised_stays_what_it_was_before(host: Host) -> None:
    for _ in range(11):
        host.read(n1=slot(accept_queue_limit=5))
    for _ in range(5):
        host.read(n1=slot(accept_queue_limit=500))
    assert [step.accept_queue_limit for step in host.steps() if step] == [5, 5, 5, 500]


def test_fifteen_minutes_are_kept(host: Host) -> None:
    host.read(n1=slot(counts={Stage.OTHER: 1}))
    for _ in range(5 * (STEPS - 1)):
        host.read(n1=slot(counts={Stage.OTHER: 1}))
    assert len(host.steps()) == STEPS
    assert host.steps()[0] == Step(0, 128, 0, 128, 1, 0, 0)
    assert host.history.pasts[WEB].is_kept
    for _ in range(5):
        host.read(n1=slot(counts={Stage.OTHER: 1}))
    assert len(host.steps()) == STEPS
    assert not any(step.drops for step in host.steps() if step)
    assert not host.history.pasts[WEB].drops
    assert not host.history.pasts[WEB].is_kept, "nothing has happened since"


def test_ten_thousand_quiet_listeners_take_no_steps(host: Host) -> None:
    slots = {f"n{port}": slot(port=port) for port in range(1, 10_001)}
    for _ in range(6):
        host.read(**slots)
    assert not any(past.is_kept for past in host.history.pasts.values())
    assert host.steps(WEB) == [Step(0, 128, 0, 128, 0, 0, 0)] * 2


def test_of_too_many_busy_ones_some_are_told_without_steps(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue_history, "MOST_BUSY", 10)
    slots = {f"n{port}": slot(port=port, syn_queue_len=port) for port in range(1, 31)}
    host.read(**slots)
    pasts = host.history.pasts.values()
    told = [host.history.series_of(past) is not None for past in pasts]
    assert told == [True] * 10 + [False] * 20
    assert [past.last.syn_queue_peak for past in pasts] == list(range(1, 31))


def test_a_listener_that_is_gone_makes_room(host: Host) -> None:
    host.read(n1=slot(counts={Stage.OTHER: 1}))
    for _ in range(5):
        host.read(n1=slot(counts={Stage.OTHER: 1}, closed_at_ns=samples.START))
    host.now_s += 400
    host.read()
    assert not host.history.pasts
