"""The tables, checked against each other and against RFC 9293."""

from __future__ import annotations

from tcptrace.lifecycle.transitions import ENDED_BY_FIN, FIRST_CLOSER, NEXT
from tcptrace.tcp import State


def test_every_state_has_its_row() -> None:
    assert set(NEXT) == set(State)


def test_close_is_reached_from_every_state() -> None:
    assert all(
        State.CLOSE in following for state, following in NEXT.items() if state != State.CLOSE
    )


def test_no_state_follows_itself() -> None:
    assert not [state for state, following in NEXT.items() if state in following]


def test_who_closed_first_is_told_by_transitions_that_there_are() -> None:
    assert all(new in NEXT[old] for old, new in FIRST_CLOSER)


def test_fins_are_exchanged_only_on_the_way_to_close() -> None:
    after = {following for state in ENDED_BY_FIN for following in NEXT[state]}
    assert after == {State.TIME_WAIT, State.CLOSE}
