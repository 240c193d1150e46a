"""Which figures the kernel counts too, and what they are made of here."""

from __future__ import annotations

import pytest

from tcptrace.lifecycle.figures import BY_STATE, COUNTED, FIGURES, STATES_OF, figure_of, from_ledger
from tcptrace.tcp import State
from tcptrace.wire.events import Flag, Kind, Stage
from tcptrace.wire.ledger import COUNTERS, MORE_COUNTERS, Count
from unit.slots import counts


def test_what_the_kernel_must_have_counted_too() -> None:
    of: tuple[Stage | Count, ...] = (*list(Stage)[1:9], *Count)
    one = {what: 10**place for place, what in enumerate(of)}
    overflows = (
        one[Stage.SYN_ACCEPT_QUEUE_FULL]
        + one[Stage.ACK_ACCEPT_QUEUE_FULL]
        + one[Stage.ABORT_ON_OVERFLOW]
    )
    full, quarter = one[Stage.SYN_SYN_QUEUE_FULL], one[Stage.SYN_LAST_QUARTER]
    assert from_ledger(counts(one)) == {
        "ListenOverflows": overflows,
        "ListenDrops": overflows + full + quarter + one[Stage.OTHER],
        "TCPReqQFullDoCookies": one[Count.COOKIE_SENT] + one[Count.COOKIE_WANTED_DROPPED],
        "TCPReqQFullDrop": full,
        "SyncookiesSent": one[Count.COOKIE_SENT],
        "SyncookiesRecv": one[Count.COOKIE_VALID],
        "SyncookiesFailed": one[Count.COOKIE_INVALID],
        "PassiveOpens": one[Count.CHILD_CREATED] + one[Count.CHILD_REPEATED],
    }


def test_what_is_compared_is_read() -> None:
    read = {*COUNTERS, *MORE_COUNTERS}
    for figure in COUNTED.values():
        assert {*figure.kernel, *figure.uncertain} <= read


def test_every_state_is_in_one_figure_but_close() -> None:
    states = [state for of in STATES_OF.values() for state in of]
    assert sorted(states) == sorted(set(State) - {State.CLOSE})
    assert STATES_OF.keys() == BY_STATE.keys()
    assert FIGURES.keys() >= BY_STATE.keys() | COUNTED.keys()


@pytest.mark.parametrize(
    ("kind", "old", "new", "flags", "figure"),
    [
        (Kind.CONNECT_SENT, 0, 0, 0, "ActiveOpens"),
        (Kind.STATE_CHANGED, State.ESTABLISHED, State.CLOSE, 0, "EstabResets"),
        (Kind.STATE_CHANGED, State.CLOSE_WAIT, State.CLOSE, 0, "EstabResets"),
        (Kind.STATE_CHANGED, State.ESTABLISHED, State.CLOSE_WAIT, 0, None),
        (Kind.STATE_CHANGED, State.SYN_SENT, State.CLOSE, 0, None),
        (Kind.TIMEWAIT_ENTERED, State.FIN_WAIT2, State.FIN_WAIT2, 0, "TW+TWKilled"),
        (Kind.SYN_RETRANSMITTED, 0, State.SYN_SENT, 0, "TCPSynRetrans"),
        (Kind.SYNACK_RETRANSMITTED, 0, State.NEW_SYN_RECV, 0, "TCPSynRetrans"),
        (Kind.CHILD_CREATED, 0, State.SYN_RECV, 0, None),
        (Kind.CHILD_CREATED, 0, State.SYN_RECV, Flag.COOKIE, None),
        (Kind.CHILD_CREATED, 0, State.SYN_RECV, Flag.FASTOPEN, "TCPFastOpenPassive"),
        (Kind.SEEN, State.ESTABLISHED, State.ESTABLISHED, 0, None),
    ],
)
def test_records_and_their_figures(
    kind: Kind, old: int, new: int, flags: int, figure: str | None
) -> None:
    assert figure_of(kind, old, new, flags) == figure
