"""One life's own rules: how a record changes a `Connection`, and what its end means. Pure.

A `Life` is a Connection in the making: what the tracker must remember of it besides.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tcptrace.lifecycle.connection import (
    Connection,
    How,
    Moment,
    Outcome,
    Partial,
    Side,
    StateSpan,
)
from tcptrace.lifecycle.transitions import ENDED_BY_ERROR, ENDED_BY_FIN, FIRST_CLOSER, NEXT
from tcptrace.tcp import Endpoint, State
from tcptrace.wire.events import Kind, Record, Stage

MOST_MOMENTS: Final = 32
"""How many moments a life keeps; further ones are counted."""

STAGES: Final = {int(stage): stage for stage in Stage}

_OUTCOMES: Final = {
    How.FIN: Outcome.CLOSED,
    How.RST_SENT: Outcome.RESET,
    How.RST_RECEIVED: Outcome.RESET,
    How.TIMEOUT: Outcome.TIMEOUT,
    How.REFUSED: Outcome.REFUSED,
    How.ABORT: Outcome.ABORTED,
    How.UNREACHABLE: Outcome.UNREACHABLE,
    How.LOCAL_ERROR: Outcome.FAILED,
    How.EXPIRED: Outcome.EXPIRED,
    How.DROPPED: Outcome.SYN_DROPPED,
    How.LISTENER_CLOSED: Outcome.NEVER_ACCEPTED,
    How.GAVE_UP: Outcome.GAVE_UP,
}


@dataclass(slots=True)
class Life:
    """A connection whose end the tracker has not told of yet."""

    connection: Connection
    sock: int = 0
    """The object that it lives in now, or lived in last."""
    replaced: int = 0
    """The full socket that its TIME_WAIT socket took over from, until that one's CLOSE."""
    listener: int = 0
    syn_was_sent: bool = False
    reset_received: bool = False
    reset_sent: bool = False
    is_reported: bool = False
    is_released: bool = False
    """Its TIME_WAIT socket was ended before its timer."""
    last_syn_ns: int = 0
    last_gap_ns: int = 0
    """While its SYNs are dropped: when the last came, and how long after the one before."""


def remember(connection: Connection, record: Record) -> None:
    """Keeps what happened as a moment of the life."""
    if len(connection.moments) >= MOST_MOMENTS:
        connection.moments_left_out += 1
        return
    connection.moments.append(
        Moment(
            record.at_ns,
            Kind(record.kind),
            STAGES.get(record.stage, Stage.OTHER),
            record.accept_queue_len,
            record.accept_queue_limit,
            record.syn_queue_len,
            record.retransmits,
        )
    )


def begin_unseen(connection: Connection, state: State) -> None:
    """Notes the state that a life was found in."""
    connection.partial.add(Partial.BEGAN_BEFORE)
    connection.spans.append(StateSpan(state, None))


def leave(connection: Connection, state: State) -> None:
    """Checks that the life is in the state that a record says it leaves; a gap is marked."""
    if connection.state is None:
        begin_unseen(connection, state)
    elif connection.state is not state:
        connection.partial.add(Partial.GAP)
        connection.spans.append(StateSpan(state, None))


def enter(connection: Connection, state: State, at_ns: int, stack: tuple[int, ...] = ()) -> bool:
    """Moves the life to its next state.

    Returns:
        Whether the table of transitions has this one.
    """
    is_known = True
    if connection.spans:
        last = connection.spans[-1]
        if last.at_ns is not None:
            last.duration_ns = max(0, at_ns - last.at_ns)
        is_known = state in NEXT[last.state]
        closer = FIRST_CLOSER.get((last.state, state))
        if closer is Side.BOTH or (closer and connection.closed_by is None):
            connection.closed_by, connection.closed_how = closer, How.FIN
    connection.spans.append(StateSpan(state, at_ns, None, stack))
    if state is State.ESTABLISHED and connection.established_at_ns is None:
        connection.established_at_ns = at_ns
    elif state is State.TIME_WAIT and connection.timewait_at_ns is None:
        connection.timewait_at_ns = at_ns
    return is_known


def close(life: Life, record: Record) -> None:
    """Judges a full socket's X → CLOSE by all that is known at that moment."""
    connection = life.connection
    state = State(record.old_state)
    connection.error = record.error
    how = ENDED_BY_ERROR.get(record.error)
    if state is State.SYN_SENT:
        _close_connect(life, how)
    elif life.reset_received:
        _end_by(connection, How.RST_RECEIVED, Side.REMOTE)
    elif life.reset_sent:
        _end_by(connection, How.ABORT if how is How.ABORT else How.RST_SENT, Side.LOCAL)
    elif state in ENDED_BY_FIN and how is not How.TIMEOUT:
        _end_by(connection, How.FIN, None)
    elif how is not None:
        closer = {How.RST_RECEIVED: Side.REMOTE, How.ABORT: Side.LOCAL}.get(how)
        _end_by(connection, how, closer)
    else:
        _end_by(connection, connection.closed_how, None)


def _close_connect(life: Life, how: How | None) -> None:
    connection = life.connection
    if life.reset_received or how is How.RST_RECEIVED:
        _end_by(connection, How.REFUSED, Side.REMOTE)
    elif how is not None:
        _end_by(connection, how, Side.REMOTE if how is How.REFUSED else None)
    elif life.syn_was_sent:
        _end_by(connection, How.GAVE_UP, Side.LOCAL)
    else:
        _end_by(connection, How.LOCAL_ERROR, Side.LOCAL)


def reset_after_close(life: Life) -> None:
    """A RST went out after CLOSE: close() with unread data or linger 0, or data came after close().

    The kernel also runs tcp_reset for the last, which looks like a RST received: this one corrects.
    """
    if life.connection.closed_how is not How.ABORT:
        _end_by(life.connection, How.RST_SENT, Side.LOCAL)


def end_request(life: Life, record: Record) -> None:
    """A request socket left the SYN queue without a child."""
    connection = life.connection
    if life.reset_sent:
        _end_by(connection, How.RST_SENT, Side.LOCAL)
        return
    how, closer, outcome = {
        Stage.REQUEST_EXPIRED: (How.EXPIRED, None, Outcome.EXPIRED),
        Stage.LISTENER_CLOSED: (How.LISTENER_CLOSED, Side.LOCAL, Outcome.NEVER_ACCEPTED),
    }.get(
        STAGES.get(record.stage, Stage.OTHER),
        (How.RST_RECEIVED, Side.REMOTE, Outcome.HALF_OPEN_RESET),
    )
    _end_by(connection, how, closer)
    connection.outcome = outcome


def _end_by(connection: Connection, how: How | None, closer: Side | None) -> None:
    connection.closed_how = how
    if connection.closed_by is None:
        connection.closed_by = closer
    connection.outcome = Outcome.UNKNOWN if how is None else _OUTCOMES[how]


def settle_unaccepted(connection: Connection, *, is_listener_closed: bool) -> None:
    """A child that closes before accept() took it: whose doing was it."""
    if connection.queued_at_ns is None or connection.accepted_at_ns is not None:
        return
    if is_listener_closed and connection.closed_how is How.RST_SENT:
        connection.outcome = Outcome.NEVER_ACCEPTED
        connection.closed_how = How.LISTENER_CLOSED


def give_up_syn(life: Life) -> None:
    """A peer whose SYNs were all dropped comes no more."""
    _end_by(life.connection, How.DROPPED, None)


def local_of(record: Record) -> Endpoint:
    """The local end that a record names."""
    return Endpoint(record.local, record.local_port)


def remote_of(record: Record) -> Endpoint:
    """The remote end that a record names."""
    return Endpoint(record.remote, record.remote_port)
