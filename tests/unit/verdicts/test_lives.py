"""What a client's life tells of the other end: answered, answered late, or not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from tcptrace.lifecycle.connection import How, Outcome
from tcptrace.tcp import State
from tcptrace.verdicts.lives import take
from tcptrace.verdicts.window import Slice
from unit import samples

if TYPE_CHECKING:
    from tcptrace.lifecycle.connection import Connection

BEGAN: Final = samples.START


def told(connection: Connection, after_s: float = 20) -> tuple[int, int]:
    """How many were silent and late, after so long."""
    facts = Slice(BEGAN)
    take(facts, connection, BEGAN + int(after_s * samples.S), 0)
    remotes = list(facts.remotes.values())
    return sum(one.silent for one in remotes), sum(one.late for one in remotes)


def waiting(resent: int) -> Connection:
    """Its SYN was sent so often again, and nothing came."""
    life = samples.client(BEGAN)
    life.established_at_ns = life.timewait_at_ns = None
    life.syn_retransmits = resent
    life.spans = samples.spans((State.SYN_SENT, BEGAN, None))
    life.outcome, life.closed_by, life.closed_how = Outcome.OPEN, None, None
    return life


def given_up(resent: int) -> Connection:
    life = waiting(resent)
    life.spans = samples.spans((State.SYN_SENT, BEGAN, samples.S), (State.CLOSE, BEGAN, None))
    life.closed_how, life.outcome = How.TIMEOUT, Outcome.TIMEOUT
    return life


def test_who_was_answered_at_last_was_answered() -> None:
    assert told(samples.client(BEGAN)) == (0, 1)


@pytest.mark.parametrize(("resent", "silent"), [(0, 0), (1, 0), (2, 1)])
def test_who_waits_still_may_be_on_a_slow_path(resent: int, silent: int) -> None:
    """The answer may be under way when the SYN is sent again first: after 1 s."""
    assert told(waiting(resent)) == (silent, 0)


@pytest.mark.parametrize(("resent", "silent"), [(0, 0), (1, 1)])
def test_who_has_given_up_was_not_answered(resent: int, silent: int) -> None:
    assert told(given_up(resent)) == (silent, 0)


def test_how_long_the_caller_has_patience_is_no_timers_doing() -> None:
    facts = Slice(BEGAN)
    for life, after_s in ((given_up(3), 3.54), (given_up(3), 3.5), (waiting(2), 3.6)):
        take(facts, life, BEGAN + int(after_s * samples.S), 0)
    (remote,) = facts.remotes.values()
    assert (remote.silent, remote.waiting) == (3, 1)
    assert remote.given_up == {(35, 3): 2}
    assert not remote.delays


def test_a_life_that_lost_the_record_of_its_answer_was_answered() -> None:
    life = given_up(1)
    life.spans[1:1] = samples.spans((State.ESTABLISHED, None, None))
    assert told(life) == (0, 0)
