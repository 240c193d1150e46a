"""What records alone tell of listeners: within a window, and until a ledger is read."""

from __future__ import annotations

from typing import Final

from tcptrace.lifecycle.accept_waits import AcceptWaits
from tcptrace.lifecycle.connection import Listener
from tcptrace.lifecycle.ledger import Address, Ledger
from tcptrace.lifecycle.tally import Tally
from tcptrace.lifecycle.tracker import Tracker
from tcptrace.sinks.verdict_words.causes import evidence
from tcptrace.tcp import Endpoint
from tcptrace.verdicts.inquest import Inquest
from tcptrace.verdicts.records import Records
from tcptrace.verdicts.window import WINDOW_NS
from tcptrace.wire.events import Stage
from unit import samples, slots
from unit.lifecycle.steps import drop_syn, listen
from unit.lifecycle.stream import Stream
from unit.verdicts.test_lives import given_up

S: Final = samples.S
WHERE: Final = Address(slots.NETNS, "0.0.0.0", 80)  # noqa: S104 - a listener's


def test_what_is_older_than_the_window_is_forgotten() -> None:
    listener = Listener(slots.NETNS, Endpoint(slots.packed(WHERE.address), WHERE.port))
    tally = Tally()
    waits = tally.waits[WHERE] = AcceptWaits()
    records = Records(0, WINDOW_NS, tally)

    def seen(from_s: int, until_s: int) -> tuple[int, int]:
        for at_s in range(from_s, until_s + 1):
            records.look([listener], at_s * S)
        mine = records.window.seen(until_s * S).facts.listeners.get(WHERE)
        return (mine.counts[Stage.OTHER], mine.accepts) if mine is not None else (0, 0)

    listener.drops[Stage.OTHER] = 7
    waits.add(S, S)
    assert seen(1, 49) == (7, 1)
    waits.add(S, 50 * S)
    assert seen(50, 59) == (7, 2)
    assert seen(60, 66) == (0, 1)
    listener.drops[Stage.OTHER] = 9
    assert seen(67, 67) == (2, 1)


def inquest_of(drops: int) -> tuple[Inquest, Tracker, Ledger, int]:
    """Of a listener that has dropped so many SYNs; nobody has read a ledger."""
    stream = Stream()
    listen(stream)
    for _ in range(drops):
        drop_syn(stream)
    ledger = Ledger(10)
    inquest = Inquest(ledger, samples.START, tally=Tally())
    tracker = Tracker(inquest.closed, lambda _: None, None)
    tracker.feed(stream.records)
    inquest.look(tracker, stream.now_ns)
    return inquest, tracker, ledger, stream.now_ns


def test_lives_are_forgotten_after_as_long() -> None:
    inquest = Inquest(Ledger(10), samples.START, tally=Tally())
    tracker = Tracker(inquest.closed, lambda _: None, None)
    for _ in range(20):
        inquest.closed(given_up(3))

    def seconds(from_s: int, until_s: int) -> list[float]:
        for at_s in range(from_s, until_s + 1):
            inquest.look(tracker, samples.START + at_s * S)
        verdicts = inquest.verdicts(tracker, samples.START + until_s * S)
        return [verdict.figures["seconds"] for verdict in verdicts]

    assert seconds(1, 30) == [30]
    assert seconds(31, 80) == []


def test_without_a_ledger_nobody_says_that_accept_takes_nobody() -> None:
    inquest, tracker, _, now_ns = inquest_of(5)
    (verdict,) = inquest.verdicts(tracker, now_ns)
    assert verdict.figures["syns_dropped"] == 5
    assert "no accept() was seen" in evidence(verdict)


def test_the_ledger_counts_alone_once_it_is_read() -> None:
    inquest, tracker, ledger, now_ns = inquest_of(5)
    slot = slots.slot(port=80, counts={Stage.SYN_ACCEPT_QUEUE_FULL: 5})
    reading = slots.reading((now_ns - samples.START) / S, {1: slot})
    ledger.absorb(reading)
    inquest.read(reading)
    (verdict,) = inquest.verdicts(tracker, now_ns)
    assert verdict.figures["syns_dropped"] == 5
    assert "accept() takes nobody" in evidence(verdict)
