"""A life as a story: everything in it that has a time, in order, one line each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from tcptrace.sinks.terminal import process_text
from tcptrace.sinks.units import duration
from tcptrace.sinks.words import drop_text, end_words, queue_text, who_and_how
from tcptrace.tcp import State
from tcptrace.wire.events import Kind

if TYPE_CHECKING:
    from tcptrace.lifecycle.connection import Connection, Moment, StateSpan

STATE_WIDTH: Final = len(State.NEW_SYN_RECV.name)
_BAD_KINDS: Final = (Kind.SYN_DROPPED, Kind.ACK_DROPPED, Kind.CHILD_DROPPED, Kind.REQUEST_DROPPED)
_WORRYING_KINDS: Final = (
    Kind.SYN_COOKIE_SENT,
    Kind.SYN_RETRANSMITTED,
    Kind.SYNACK_RETRANSMITTED,
    Kind.RESET_SENT,
    Kind.RESET_RECEIVED,
    Kind.TIMEWAIT_RELEASED,
    Kind.MIGRATED,
)
_TOLD_BY_STATES: Final = (Kind.STATE_CHANGED, Kind.TIMEWAIT_STATE_CHANGED)
_KIND_WORDS: Final = {
    Kind.CONNECT_SENT: "SYN sent",
    Kind.SYN_QUEUED: "SYN queued, SYN-ACK sent",
    Kind.SYN_COOKIE_SENT: "SYN answered with a cookie",
    Kind.CHILD_CREATED: "final ACK taken",
    Kind.CHILD_DROPPED: "dropped: its request was gone",
    Kind.SYN_RETRANSMITTED: "SYN retransmitted",
    Kind.SYNACK_RETRANSMITTED: "SYN-ACK retransmitted",
    Kind.RESET_SENT: "RST sent",
    Kind.RESET_RECEIVED: "RST received",
    Kind.TIMEWAIT_ENTERED: "TIME_WAIT socket took over",
    Kind.TIMEWAIT_RELEASED: "TIME_WAIT cut short",
    Kind.TIMEWAIT_KILLED: "TIME_WAIT over",
    Kind.MIGRATED: "moved to another listener",
}
_REQUEST_GONE: Final = "half-open request dropped"
_TIMEWAIT_ENDS: Final = {"timer": "its timer ran out", "reused": "reused", "killed": "killed"}


class StoryLine(NamedTuple):
    """One line of a story: ordered by time, then by rank where times are equal."""

    at_ns: int
    rank: int
    text: str
    colour: str | None
    stack: tuple[int, ...] = ()


def story(connection: Connection) -> list[StoryLine]:
    """Orders everything that has a time."""
    lines = [_span_line(connection, span) for span in connection.spans if span.at_ns is not None]
    lines += [
        _moment_line(connection, moment)
        for moment in connection.moments
        if moment.kind not in _TOLD_BY_STATES
    ]
    accepted_ns = connection.accepted_at_ns
    told = any(moment.kind is Kind.ACCEPTED for moment in connection.moments)
    if accepted_ns is not None and not told:
        lines.append(StoryLine(accepted_ns, 2, f"│ {_accept_text(connection)}", "good"))
    return sorted(lines, key=lambda line: line[:2])


def _span_line(connection: Connection, span: StateSpan) -> StoryLine:
    at_ns = span.at_ns or 0
    lasted = "" if span.duration_ns is None else duration(span.duration_ns)
    text = f"{span.state.name:{STATE_WIDTH}} {lasted:>6}".rstrip()
    colour = None
    if span.state is State.CLOSE or span.state is State.TIME_WAIT:
        words = _close_words(connection, span)
        text = f"{span.state.name:{STATE_WIDTH}} {lasted:>6}  {words}".rstrip()
        colour = end_words(connection).colour
    return StoryLine(at_ns, 1, text, colour, span.stack)


def _close_words(connection: Connection, span: StateSpan) -> str:
    """Says at TIME_WAIT, or else at CLOSE, who closed, how, and for how long it was open."""
    if span.state is State.CLOSE and connection.timewait_at_ns is not None:
        how = connection.timewait_end
        return f"TIME_WAIT over: {_TIMEWAIT_ENDS.get(how, how)}" if how else ""
    pieces = [with_reason(end_words(connection).text, connection)]
    if connection.established_at_ns is not None and connection.gone_at_ns is not None:
        open_ns = connection.gone_at_ns - connection.established_at_ns
        pieces.append(f"open {duration(open_ns)}")
    return " · ".join(pieces)


def with_reason(text: str, connection: Connection) -> str:
    """Appends who closed and how, where the text doesn't say so already."""
    reason = who_and_how(connection)
    return f"{text}: {reason}" if reason and reason != text else text


def _moment_line(connection: Connection, moment: Moment) -> StoryLine:
    kind = moment.kind
    if kind is Kind.ACCEPTED:
        text = f"│ {_accept_text(connection)}"
        return StoryLine(moment.at_ns, 2, text, "good")
    if kind in (Kind.SYN_DROPPED, Kind.ACK_DROPPED):
        return StoryLine(moment.at_ns, 0, f"✗ {drop_text(moment)}", "bad")
    words = _REQUEST_GONE if kind is Kind.REQUEST_DROPPED else _KIND_WORDS[kind]
    if kind in (Kind.CHILD_CREATED, Kind.MIGRATED):
        words += f" · {queue_text(moment)}"
    if kind is Kind.SYN_QUEUED:
        words += f" · SYN queue {moment.syn_queue_len} · {queue_text(moment)}"
    if kind in _BAD_KINDS:
        return StoryLine(moment.at_ns, 0, f"✗ {words}", "bad")
    colour = "warn" if kind in _WORRYING_KINDS else None
    return StoryLine(moment.at_ns, 0 if kind is Kind.RESET_RECEIVED else 2, f"│ {words}", colour)


def _accept_text(connection: Connection) -> str:
    who = f" by {process_text(connection.process)}" if connection.process else ""
    wait_ns = connection.accept_wait_ns
    after = "" if wait_ns is None else f" after {duration(wait_ns)} in the accept queue"
    return f"accepted{who}{after}"
