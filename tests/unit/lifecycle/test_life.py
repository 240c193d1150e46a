"""One life's own rules, where no story of the tracker's reaches them."""

from __future__ import annotations

import errno
from typing import Any

import pytest

from tcptrace.lifecycle import life as rules
from tcptrace.lifecycle.connection import How, Outcome, Partial, Side
from tcptrace.lifecycle.life import MOST_MOMENTS, Life, ends_in, has_ends_of
from tcptrace.tcp import Endpoint, State
from tcptrace.wire.events import Kind, Stage
from unit import samples


def fresh() -> Life:
    """A life without a past, of the ends that samples.record has."""
    connection = samples.server()
    connection.spans.clear()
    connection.established_at_ns = connection.closed_by = connection.closed_how = None
    connection.outcome = Outcome.OPEN
    return Life(connection, ends=ends_in(samples.record()))


def test_moments_are_bounded() -> None:
    connection = fresh().connection
    for number in range(MOST_MOMENTS + 3):
        rules.remember(connection, samples.record(number, Kind.SYN_DROPPED))
    assert [moment.at_ns for moment in connection.moments] == list(range(MOST_MOMENTS))
    assert connection.moments_left_out == 3


def test_an_unknown_stage_is_another() -> None:
    connection = fresh().connection
    rules.remember(connection, samples.record()._replace(stage=99))
    assert connection.moments[0].stage is Stage.OTHER


def test_a_clock_that_goes_back_makes_no_negative_duration() -> None:
    """Two CPUs may reserve their records in another order than they read the clock."""
    connection = fresh().connection
    assert rules.enter(connection, State.SYN_SENT, 1000)
    assert rules.enter(connection, State.ESTABLISHED, 999)
    assert connection.spans[0].duration_ns == 0


def test_a_transition_that_is_not_in_the_tables_is_told_all_the_same() -> None:
    connection = fresh().connection
    rules.enter(connection, State.SYN_SENT, 1)
    assert not rules.enter(connection, State.LAST_ACK, 2)
    assert [span.state for span in connection.spans] == [State.SYN_SENT, State.LAST_ACK]


def test_a_gap_hides_the_duration_before_it() -> None:
    connection = fresh().connection
    rules.enter(connection, State.ESTABLISHED, 1)
    rules.leave(connection, State.CLOSE_WAIT)
    assert Partial.GAP in connection.partial
    assert [span.duration_ns for span in connection.spans] == [None, None]


@pytest.mark.parametrize(
    ("error", "state", "how", "closer", "outcome"),
    [
        (errno.ECONNRESET, State.ESTABLISHED, How.RST_RECEIVED, Side.REMOTE, Outcome.RESET),
        (errno.EPIPE, State.CLOSE_WAIT, How.RST_RECEIVED, Side.REMOTE, Outcome.RESET),
        (errno.ECONNABORTED, State.ESTABLISHED, How.ABORT, Side.LOCAL, Outcome.ABORTED),
        (errno.EHOSTUNREACH, State.ESTABLISHED, How.UNREACHABLE, None, Outcome.UNREACHABLE),
        (errno.EHOSTUNREACH, State.LAST_ACK, How.FIN, None, Outcome.CLOSED),
        (0, State.CLOSING, How.FIN, None, Outcome.CLOSED),
        (0, State.ESTABLISHED, None, None, Outcome.UNKNOWN),
        (9999, State.ESTABLISHED, None, None, Outcome.UNKNOWN),
    ],
)
def test_how_a_close_is_judged_by_its_error(
    error: int, state: State, how: How | None, closer: Side | None, outcome: Outcome
) -> None:
    life = fresh()
    rules.close(life, state, error)
    connection = life.connection
    assert (connection.closed_how, connection.closed_by) == (how, closer)
    assert (connection.outcome, connection.error) == (outcome, error)


def test_a_lost_end_leaves_what_time_wait_told() -> None:
    told, untold = fresh(), fresh()
    rules.finish_fins(told)
    told.is_reported = True
    for life in (told, untold):
        rules.lose_end(life)
        assert life.connection.partial == {Partial.END_LOST}
    assert (told.connection.closed_how, told.connection.outcome) == (How.FIN, Outcome.CLOSED)
    assert (untold.connection.closed_how, untold.connection.outcome) == (None, Outcome.UNKNOWN)


@pytest.mark.parametrize(
    ("is_released", "is_reset", "how", "outcome"),
    [
        (False, False, How.TIMEOUT, Outcome.TIMEOUT),
        (True, True, How.RST_SENT, Outcome.RESET),
        (True, False, None, Outcome.RESET),
    ],
)
def test_how_a_half_closed_timewait_socket_ends(
    *, is_released: bool, is_reset: bool, how: How | None, outcome: Outcome
) -> None:
    life = fresh()
    life.is_released, life.reset_sent = is_released, is_reset
    rules.lose_half_closed(life)
    assert (life.connection.closed_how, life.connection.outcome) == (how, outcome)


class TestWhoseRecord:
    def test_its_own(self) -> None:
        assert has_ends_of(fresh(), samples.record())

    @pytest.mark.parametrize(
        "field", [{"remote_port": 1}, {"local_port": 1}, {"netns": 1}, {"remote": bytes(16)}]
    )
    def test_anothers(self, field: dict[str, Any]) -> None:
        assert not has_ends_of(fresh(), samples.record()._replace(**field))

    def test_connect_that_has_no_port_yet_is_known_by_its_remote_end(self) -> None:
        life = fresh()
        unbound = samples.record()._replace(local_port=0)
        life.ends = ends_in(unbound)
        life.connection.local = Endpoint(unbound.local, 0)
        assert has_ends_of(life, samples.record())
        assert not has_ends_of(life, samples.record()._replace(remote_port=1))


def test_lives_that_lack_the_same_share_what_says_so() -> None:
    """A loss marks every life that there is."""
    one, other = fresh().connection, fresh().connection
    for life in (one, other):
        rules.lack(life, Partial.BEGAN_BEFORE)
        rules.lack(life, Partial.GAP)
    assert one.partial == {Partial.BEGAN_BEFORE, Partial.GAP}
    assert one.partial is other.partial
