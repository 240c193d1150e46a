"""Slow lives of plain course are rebuilt, a bounded number of them, where somebody listens."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from tcptrace.lifecycle import objects
from tcptrace.lifecycle.bulk import Bulk
from tcptrace.lifecycle.observer import Observers
from tcptrace.lifecycle.picking import MOST_A_SECOND, MOST_A_WINDOW, SlowLives
from tcptrace.lifecycle.recent import Recent
from tcptrace.lifecycle.slow import SLOW_NS
from tcptrace.lifecycle.tracker import Tracker
from tcptrace.tcp import State
from tcptrace.wire.events import Kind
from unit import samples
from unit.lifecycle.steps import accept, close_second, listen, make_child, queue_syn
from unit.lifecycle.stream import SERVER, Stream
from unit.lifecycle.tallies import new_tally

if TYPE_CHECKING:
    from tcptrace.lifecycle.connection import Connection

S = State


def server(stream: Stream, handshake_ns: int = 0, wait_ns: int = 0) -> None:
    """One that is accepted, and closed."""
    opened(stream, handshake_ns, wait_ns)
    close_second(stream)


def opened(stream: Stream, handshake_ns: int = 0, wait_ns: int = 0) -> None:
    queue_syn(stream)
    stream.wait(handshake_ns)
    make_child(stream)
    stream.goes(0x30, SERVER, S.SYN_RECV, S.ESTABLISHED)
    stream.wait(wait_ns)
    accept(stream)


class Listening:
    """A tracker fed in windows; notes which lives it told of."""

    def __init__(self, *, listens: bool = True) -> None:
        self.tally = new_tally()
        self.recent = Recent()
        self.ended: list[tuple[int, int]] = []
        observer = Observers(self.tally, self.recent)
        self.tracker = Tracker(lambda _life: None, self._ended, observer)
        self.bulk = Bulk(self.tracker, self.tally)
        self.bulk.leaves_slow = self.tracker.registry.objects.keeps_slow = listens
        stream = Stream()
        listen(stream)
        self.tracker.feed(stream.records)

    def _ended(self, life: Connection) -> None:
        waits_ns = life.handshake_ns or 0, life.accept_wait_ns or 0
        self.ended.append((waits_ns[0] // samples.MS, waits_ns[1] // samples.MS))

    def window(self, stream: Stream) -> None:
        self.bulk.feed(samples.batch(*stream.records))
        self.tracker.advance(stream.now_ns + samples.S)
        stream.records.clear()


@pytest.fixture
def listening() -> Listening:
    return Listening()


def test_slow_ones_among_many_are_told_whole(listening: Listening, stream: Stream) -> None:
    for number in range(30):
        server(stream, handshake_ns=250 * samples.MS * (number == 7))
        server(stream, wait_ns=540 * samples.MS * (number == 9))
    listening.window(stream)
    assert listening.ended == [(250, 0), (0, 540)]
    slowest, second = listening.recent.slow
    assert (slowest.accept_wait_ns or 0) // samples.MS == 540
    assert (second.handshake_ns or 0) // samples.MS == 250
    assert [span.state for span in slowest.spans][-1] is S.CLOSE
    assert listening.tally.accept_wait.count == 60
    assert listening.bulk.slow.left_out == 0


def test_the_slowest_are_told_of_too_many(listening: Listening, stream: Stream) -> None:
    for number in range(MOST_A_WINDOW + 12):
        server(stream, wait_ns=200 * samples.MS + number * samples.MS)
    listening.window(stream)
    assert sorted(wait for _, wait in listening.ended) == list(range(212, 220))
    assert listening.bulk.slow.left_out == 12
    assert listening.tally.accept_wait.count == 20


def test_nobody_listens_and_none_is_rebuilt(stream: Stream) -> None:
    listening = Listening(listens=False)
    for _ in range(20):
        server(stream, wait_ns=540 * samples.MS)
    listening.window(stream)
    assert listening.ended == []
    assert listening.tally.accept_wait.count == 20


def test_a_bounded_number_of_a_second() -> None:
    slow = SlowLives()
    picked = 0
    for _ in range(100):
        slow.begin(samples.START)
        waits = np.full(50, SLOW_NS)
        which = slow.pick(waits)
        picked += 0 if which is None else int(which.sum())
        slow.leave_out(waits if which is None else waits[~which])
    assert picked == MOST_A_SECOND
    assert slow.left_out == 100 * 50 - MOST_A_SECOND
    slow.begin(samples.START + samples.S)
    assert slow.pick(np.full(3, SLOW_NS)) is not None
    assert slow.pick(np.full(3, SLOW_NS - 1)) is None
    assert slow.pick(np.empty(0, np.int64)) is None


def test_a_slow_life_that_rests_is_not_frozen(
    listening: Listening, stream: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its end comes hours later, among many others'; it is told whole."""
    monkeypatch.setattr(objects, "MOST_WARM", 0)
    opened(stream, wait_ns=540 * samples.MS)
    listening.window(stream)
    stream.wait(10 * samples.S)
    listening.tracker.advance(stream.now_ns)
    assert len(listening.tracker.registry.objects.lives) == 1
    close_second(stream)
    for _ in range(30):
        server(stream)
    listening.window(stream)
    assert listening.ended == [(0, 540)]
    (slowest,) = listening.recent.slow
    assert slowest.state is S.CLOSE


def test_a_bounded_number_of_them_is_not_frozen(
    listening: Listening, stream: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects, "MOST_WARM", 0)
    monkeypatch.setattr(objects, "MOST_SLOW", 3)
    for number in range(8):
        ends = SERVER._replace(remote=SERVER.remote._replace(port=1000 + number))
        request, child = 0x1000 + number, 0x2000 + number
        queue_syn(stream, ends, request)
        stream.wait(SLOW_NS)
        stream.tell(Kind.CHILD_CREATED, child, ends, origin=request)
        stream.goes(child, ends, S.SYN_RECV, S.ESTABLISHED)
        stream.tell(Kind.ACCEPTED, child, ends, new_state=S.ESTABLISHED)
    listening.tracker.feed(stream.records)
    stream.wait(10 * samples.S)
    listening.tracker.advance(stream.now_ns)
    kept = listening.tracker.registry.objects
    assert len(kept.lives) == 3
    assert len(kept) == 8
