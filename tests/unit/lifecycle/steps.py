"""The steps that stories of connections have in common, as the probes tell of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tcptrace.tcp import State
from tcptrace.wire.events import Flag, Kind, Stage
from unit.lifecycle.stream import CLIENT, CURL, LISTENING, NGINX, SERVER, Ends, Lives, Stream, story

if TYPE_CHECKING:
    from tcptrace.lifecycle.connection import Connection

S = State
NO_FLAGS = Flag(0)
LISTENER, REQUEST, CHILD, CONNECTING, TIMEWAIT = 0x10, 0x20, 0x30, 0x40, 0x50
"""Objects."""


def listen(stream: Stream, sock: int = LISTENER) -> None:
    stream.goes(sock, LISTENING, S.CLOSE, S.LISTEN, process=NGINX, accept_queue_limit=5)


def connect(stream: Stream, sock: int = CONNECTING, ends: Ends = CLIENT) -> None:
    stream.goes(sock, ends.portless, S.CLOSE, S.SYN_SENT, process=CURL)
    stream.tell(Kind.CONNECT_SENT, sock, ends, CURL)


def queue_syn(stream: Stream, ends: Ends = SERVER, sock: int = REQUEST) -> None:
    stream.tell(Kind.SYN_QUEUED, sock, ends, origin=LISTENER, accept_queue_limit=5, syn_queue_len=1)


def make_child(stream: Stream, ends: Ends = SERVER, flags: Flag = NO_FLAGS) -> None:
    stream.tell(Kind.CHILD_CREATED, CHILD, ends, origin=REQUEST, accept_queue_len=1, flags=flags)


def accept(stream: Stream, state: State = S.ESTABLISHED) -> None:
    stream.tell(Kind.ACCEPTED, CHILD, SERVER, NGINX, new_state=state)


def open_client(stream: Stream) -> None:
    connect(stream)
    stream.goes(CONNECTING, CLIENT, S.SYN_SENT, S.ESTABLISHED)


def open_server(stream: Stream) -> None:
    queue_syn(stream)
    make_child(stream)
    stream.goes(CHILD, SERVER, S.SYN_RECV, S.ESTABLISHED)
    accept(stream)


def open_both(stream: Stream) -> None:
    """In the order in which one host sees them."""
    listen(stream)
    connect(stream)
    queue_syn(stream)
    stream.goes(CONNECTING, CLIENT, S.SYN_SENT, S.ESTABLISHED)
    make_child(stream)
    stream.goes(CHILD, SERVER, S.SYN_RECV, S.ESTABLISHED)
    accept(stream)


def enter_timewait(stream: Stream, sock: int = CONNECTING, ends: Ends = CLIENT) -> None:
    """From ESTABLISHED, with close(): a TIME_WAIT socket takes over in FIN_WAIT2."""
    stream.goes(sock, ends, S.ESTABLISHED, S.FIN_WAIT1, S.FIN_WAIT2)
    replace(stream, S.FIN_WAIT2, S.FIN_WAIT2, sock, ends)
    stream.tell(Kind.TIMEWAIT_STATE_CHANGED, TIMEWAIT, ends, new_state=S.TIME_WAIT)


def replace(
    stream: Stream, old: State, new: State, sock: int = CONNECTING, ends: Ends = CLIENT
) -> None:
    stream.tell(Kind.TIMEWAIT_ENTERED, TIMEWAIT, ends, origin=sock, old_state=old, new_state=new)
    stream.goes(sock, ends, old, S.CLOSE)


def kill_timewait(
    stream: Stream, ends: Ends = CLIENT, *, released: bool, substate: State = S.TIME_WAIT
) -> None:
    if released:
        stream.tell(Kind.TIMEWAIT_RELEASED, TIMEWAIT, ends, new_state=substate)
    stream.tell(Kind.TIMEWAIT_KILLED, TIMEWAIT, ends, new_state=substate)


def close_second(stream: Stream, sock: int = CHILD, ends: Ends = SERVER) -> None:
    stream.goes(sock, ends, S.ESTABLISHED, S.CLOSE_WAIT, S.LAST_ACK, S.CLOSE)


def close_at_once(stream: Stream, sock: int, ends: Ends, old: State = S.ESTABLISHED) -> None:
    """close() with linger 0 or unread data: the RST follows CLOSE."""
    stream.goes(sock, ends, old, S.CLOSE)
    stream.tell(Kind.RESET_SENT, sock, ends, old_state=S.CLOSE)


def drop_ack(
    stream: Stream, stage: Stage = Stage.ACK_ACCEPT_QUEUE_FULL, flags: Flag = NO_FLAGS
) -> None:
    stream.tell(
        Kind.ACK_DROPPED,
        REQUEST,
        SERVER,
        origin=LISTENER,
        stage=stage,
        accept_queue_len=6,
        accept_queue_limit=5,
        flags=flags,
    )


def drop_request(stream: Stream, stage: Stage) -> None:
    stream.tell(Kind.REQUEST_DROPPED, REQUEST, SERVER, origin=LISTENER, stage=stage)


def drop_syn(stream: Stream) -> None:
    stream.tell(Kind.SYN_DROPPED, 0, SERVER, origin=LISTENER, stage=Stage.SYN_ACCEPT_QUEUE_FULL)


def told_by(stream: Stream) -> list[Connection]:
    """The lives in the order of their births; every record must have been expected."""
    lives = Lives.of(stream.records, stream.now_ns)
    assert lives.tracker.unexpected == 0
    return sorted(lives.ended, key=lambda life: life.id)


def stories(stream: Stream) -> list[str]:
    return [story(life) for life in told_by(stream)]


CLIENT_OPENS = "client | SYN_SENT→ESTABLISHED"
SERVER_OPENS = "server | NEW_SYN_RECV→SYN_RECV→ESTABLISHED"
CLOSED_SECOND = "→CLOSE_WAIT→LAST_ACK→CLOSE | remote fin | closed"
