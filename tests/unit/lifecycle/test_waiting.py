from __future__ import annotations

from tcptrace.lifecycle import waiting
from tcptrace.lifecycle.life import Life
from tcptrace.lifecycle.waiting import MOST_WAITING, Waiting, is_silent
from tcptrace.wire.events import Kind, Record
from unit import samples

S = samples.S


def knock(at_ns: int, port: int = 40_000) -> Record:
    return samples.record(at_ns, Kind.SYN_DROPPED)._replace(remote_port=port)


def life() -> Life:
    return Life(samples.dropped())


def test_found_by_its_ends() -> None:
    knocking, one = Waiting(), life()
    knocking.put(knock(S), one)
    assert knocking.find(knock(2 * S)) is one
    assert knocking.find(knock(2 * S, port=1)) is None
    knocking.remove(knock(2 * S))
    assert knocking.find(knock(2 * S)) is None
    assert len(knocking) == 0


def test_patience_grows_with_the_gap_between_two_syns() -> None:
    """1, 2, 4 … seconds: TCP's own timer, and half as much to spare."""
    knocking, one = Waiting(), life()
    at_ns = 100 * S
    for gap in (1, 2, 4, 8, 16, 32, 64):
        knocking.put(knock(at_ns), one)
        assert not is_silent(one, at_ns + gap * S)
        at_ns += gap * S
    assert is_silent(one, at_ns + 170 * S)


def test_given_up_when_silent_for_too_long() -> None:
    knocking, early, late = Waiting(), life(), life()
    knocking.put(knock(100 * S), early)
    knocking.put(knock(103 * S, port=1), late)
    assert knocking.given_up(104 * S) == []
    assert knocking.given_up(105 * S) == [early]
    assert knocking.given_up(109 * S) == [late]
    assert len(knocking) == 0


def test_one_that_may_still_come_does_not_keep_the_others() -> None:
    knocking, patient, one = Waiting(), life(), life()
    knocking.put(knock(40 * S), patient)
    knocking.put(knock(100 * S), patient)
    knocking.put(knock(101 * S, port=1), one)
    assert knocking.given_up(110 * S) == [one]


def test_it_looks_once_a_second() -> None:
    """A SYN flood must not make each batch look at every peer."""
    knocking, one = Waiting(), life()
    knocking.put(knock(100 * S), one)
    assert knocking.given_up(105 * S - 1) == []
    assert knocking.given_up(105 * S) == []
    assert knocking.given_up(106 * S) == [one]


def test_the_longest_silent_makes_room() -> None:
    knocking = Waiting()
    lives = [life() for _ in range(MOST_WAITING + 1)]
    gone = [knocking.put(knock(S + number, number), one) for number, one in enumerate(lives)]
    assert gone == [[]] * MOST_WAITING + [[lives[0]]]
    assert len(knocking) == waiting.MOST_WAITING


def test_all_are_taken_at_the_end() -> None:
    knocking, one = Waiting(), life()
    knocking.put(knock(S), one)
    assert knocking.take_all() == [one]
    assert len(knocking) == 0
