"""One life's own rules: how a record changes a `Connection`, and what its end means. Pure.

A `Life` is a Connection in the making: what the tracker must remember of it besides.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final

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

if TYPE_CHECKING:
    from tcptrace.lifecycle.counts import Place
    from tcptrace.lifecycle.ends import Key

MOST_MOMENTS: Final = 32
"""How many moments a life keeps; further ones are counted."""

MOST_SPANS: Final = 64
"""The same of states; a life that is whole has eight at most. The first and the last are kept."""

STAGES: Final = {int(stage): stage for stage in Stage}
STATES: Final = {int(state): state for state in State}
_KINDS: Final = {int(kind): kind for kind in Kind}
_STEPS: Final = {
    old: {new: FIRST_CLOSER.get((old, new)) for new in following} for old, following in NEXT.items()
}
"""For each transition that there is, who closed first if it tells."""

# What every record needs: an enum's attribute takes 120 ns before Python 3.12.
_BOTH: Final = Side.BOTH
_ESTABLISHED: Final = State.ESTABLISHED
_TIME_WAIT: Final = State.TIME_WAIT

ends_in: Final = itemgetter(
    *map(Record._fields.index, ("netns", "local", "local_port", "remote", "remote_port"))
)
"""The connection that a record is about: where, and between which ends."""

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
_CLOSERS: Final = {
    How.RST_RECEIVED: Side.REMOTE,
    How.REFUSED: Side.REMOTE,
    How.ABORT: Side.LOCAL,
}
"""Whose doing an error is; the others are nobody's. keepalive's timeout sends a RST, but late."""


@dataclass(slots=True)
class Life:
    """A connection whose end the tracker has not told of yet."""

    connection: Connection
    sock: int = 0
    """The object that it lives in now, or lived in last."""
    other: int = 0
    """A second object that is its own for a while: the full socket that its TIME_WAIT socket took
    over from, until that one's CLOSE; or a second child of its request, until one is dropped."""
    other_ns: int = 0
    """Since when."""
    ends: tuple[Any, ...] = ()
    """As ends_in() gives them of its records."""
    request: int = 0
    """The request socket that it began in."""
    listener: int = 0
    keys: tuple[Key, ...] = ()
    """By which it is found in Ends."""
    is_timewait: bool = False
    """It has moved to a TIME_WAIT socket."""
    is_released: bool = False
    """Its TIME_WAIT socket was ended before its timer."""
    is_reported: bool = False
    was_established: bool = False
    """And the observer has heard of it."""
    syn_was_sent: bool = False
    reset_received: bool = False
    reset_sent: bool = False
    last_syn_ns: int = 0
    last_gap_ns: int = 0
    """While its SYNs are dropped: when the last came, and how long after the one before."""
    born_ns: int = 0
    """The time of its first record."""
    is_sighted: bool = False
    """That record was a snapshot's."""
    seen_in: int = 0
    """The number of the last snapshot that found it."""
    counted: State | None = None
    """In which state it is counted."""
    place: Place | None = None
    """Where it is counted: its namespace and family."""


def has_ends_of(life: Life, record: Record) -> bool:
    """Whether a record is about this very connection, not another in the same object.

    A connect() that has not chosen its port yet matches by its remote end.
    """
    ends = ends_in(record)
    if life.ends == ends:
        return True
    is_portless = not life.connection.local.port
    return is_portless and life.ends[0] == ends[0] and life.ends[3:] == ends[3:]


def remember(connection: Connection, record: Record) -> None:
    """Keeps what happened as a moment of the life."""
    if len(connection.moments) >= MOST_MOMENTS:
        connection.moments_left_out += 1
        return
    connection.moments.append(
        Moment(
            record.at_ns,
            _KINDS[record.kind],
            STAGES.get(record.stage, Stage.OTHER),
            record.accept_queue_len,
            record.accept_queue_limit,
            record.syn_queue_len,
            record.retransmits,
        )
    )


def lack(connection: Connection, reason: Partial) -> None:
    """Marks a life as not whole."""
    connection.partial = _with(connection.partial, reason)


@cache
def _with(reasons: frozenset[Partial], reason: Partial) -> frozenset[Partial]:
    """One set for all lives that lack the same: a loss marks every life."""
    return reasons | {reason}


def begin_unseen(
    connection: Connection, state: State, reason: Partial = Partial.BEGAN_BEFORE
) -> None:
    """Notes the state that a life was found in."""
    lack(connection, reason)
    connection.spans.append(StateSpan(state, None))


def leave(connection: Connection, state: State) -> None:
    """Checks that the life is in the state that a record says it leaves; a gap is marked."""
    spans = connection.spans
    if not spans:
        begin_unseen(connection, state)
    elif spans[-1].state is not state:
        lack(connection, Partial.GAP)
        _append(connection, StateSpan(state, None))


def enter(connection: Connection, state: State, at_ns: int, stack: tuple[int, ...] = ()) -> bool:
    """Moves the life to its next state.

    Returns:
        Whether the table of transitions has this one.
    """
    is_known = True
    spans = connection.spans
    if spans:
        last = spans[-1]
        if last.at_ns is not None:
            # Two CPUs may put their records in the ring in another order than their clocks say.
            last.duration_ns = at_ns - last.at_ns if at_ns > last.at_ns else 0
        steps = _STEPS[last.state]
        is_known = state in steps
        closer = steps.get(state)
        if closer is not None and (connection.closed_by is None or closer is _BOTH):
            connection.closed_by, connection.closed_how = closer, How.FIN
    _append(connection, StateSpan(state, at_ns, None, stack))
    if state is _ESTABLISHED and connection.established_at_ns is None:
        connection.established_at_ns = at_ns
    elif state is _TIME_WAIT and connection.timewait_at_ns is None:
        connection.timewait_at_ns = at_ns
    return is_known


def _append(connection: Connection, span: StateSpan) -> None:
    spans = connection.spans
    if len(spans) >= MOST_SPANS:
        del spans[1]
        lack(connection, Partial.GAP)
    spans.append(span)


def close(life: Life, state: State, error: int) -> None:
    """Judges a full socket's `state` → CLOSE by all that is known at that moment.

    Args:
        life: the one that closes.
        state: the state that it leaves.
        error: sk_err.
    """
    connection = life.connection
    connection.error = error
    how = ENDED_BY_ERROR.get(error)
    if state is State.SYN_SENT:
        _close_connect(life, how)
    elif life.reset_received:
        _end_by(connection, How.RST_RECEIVED, Side.REMOTE)
    elif life.reset_sent and how is not How.TIMEOUT:
        _end_by(connection, How.ABORT if how is How.ABORT else How.RST_SENT, Side.LOCAL)
    elif state in ENDED_BY_FIN and how is not How.TIMEOUT:
        _end_by(connection, How.FIN, None)
    elif how is not None:
        _end_by(connection, how, _CLOSERS.get(how))
    else:
        _end_by(connection, connection.closed_how, None)


def _close_connect(life: Life, how: How | None) -> None:
    connection = life.connection
    if life.reset_received or how is How.RST_RECEIVED:
        _end_by(connection, How.REFUSED, Side.REMOTE)
    elif how is not None:
        _end_by(connection, how, _CLOSERS.get(how))
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
    cause = ENDED_BY_ERROR.get(record.error)
    if cause is not None:
        _end_by(connection, cause, _CLOSERS.get(cause))
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


def finish_fins(life: Life) -> None:
    """Both FINs have been exchanged: TIME_WAIT."""
    life.connection.closed_how = How.FIN
    life.connection.outcome = Outcome.CLOSED


def lose_half_closed(life: Life) -> None:
    """A TIME_WAIT socket that stood in for FIN_WAIT2 went without the peer's FIN.

    By its timer; or before: a RST came, or data after close() that was answered with one, which
    the records don't always tell apart.
    """
    connection = life.connection
    if not life.is_released:
        _end_by(connection, How.TIMEOUT, None)
    elif life.reset_sent or life.reset_received:
        _end_by(connection, How.RST_SENT if life.reset_sent else How.RST_RECEIVED, None)
    else:
        connection.closed_how, connection.outcome = None, Outcome.RESET


def lose_end(life: Life) -> None:
    """Its object began another life first, or a snapshot misses it: how it ended was not seen.

    What TIME_WAIT told already stays true.
    """
    connection = life.connection
    lack(connection, Partial.END_LOST)
    if not life.is_reported and connection.state is not _TIME_WAIT:
        connection.closed_how, connection.outcome = None, Outcome.UNKNOWN


def close_listener(connection: Connection) -> None:
    """It was about to be queued when its listener closed."""
    _end_by(connection, How.LISTENER_CLOSED, Side.LOCAL)


def give_up(life: Life) -> None:
    """A peer whose SYNs, or whose final ACKs after a cookie, were all dropped comes no more."""
    _end_by(life.connection, How.DROPPED, None)


def is_only_sighted(life: Life) -> bool:
    """Whether nothing but snapshots has told of a life until now."""
    connection = life.connection
    return (
        life.is_sighted
        and not life.other
        and len(connection.spans) == 1
        and not connection.moments
        and connection.accepted_at_ns is None
        and not (life.syn_was_sent or life.is_released)
    )


def last_told_ns(life: Life) -> int:
    """The time of the last record that left a trace in a life."""
    connection = life.connection
    times = [life.born_ns, connection.syn_at_ns or 0, connection.accepted_at_ns or 0]
    if connection.spans:
        times.append(connection.spans[-1].at_ns or 0)
    if connection.moments:
        times.append(connection.moments[-1].at_ns)
    return max(times)


def local_of(record: Record) -> Endpoint:
    """The local end that a record names."""
    return Endpoint(record.local, record.local_port)


def remote_of(record: Record) -> Endpoint:
    """The remote end that a record names."""
    return Endpoint(record.remote, record.remote_port)
