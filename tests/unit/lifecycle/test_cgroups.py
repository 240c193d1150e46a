"""Where lives and listeners were made: the first record that says it counts."""

from __future__ import annotations

import pytest

from tcptrace.tcp import State
from tcptrace.wire.events import Flag, Kind, Stage
from unit.lifecycle.steps import CHILD, CONNECTING, LISTENER, REQUEST, TIMEWAIT
from unit.lifecycle.stream import CLIENT, LISTENING, SERVER, Lives, Stream

S = State
HERE, THERE = 17, 18


@pytest.fixture
def stream() -> Stream:
    return Stream()


def test_a_clients_by_its_connect(stream: Stream) -> None:
    stream.goes(CONNECTING, CLIENT.portless, S.CLOSE, S.SYN_SENT, cgroup=HERE)
    stream.tell(Kind.CONNECT_SENT, CONNECTING, CLIENT, cgroup=HERE)
    stream.goes(CONNECTING, CLIENT, S.SYN_SENT, S.ESTABLISHED, S.FIN_WAIT1, S.FIN_WAIT2)
    stream.tell(Kind.TIMEWAIT_ENTERED, TIMEWAIT, CLIENT, origin=CONNECTING, new_state=S.TIME_WAIT)
    (life,) = Lives.of(stream.records, stream.now_ns).closed
    assert life.cgroup == HERE


def test_a_servers_by_its_listener_s_syn(stream: Stream) -> None:
    stream.goes(LISTENER, LISTENING, S.CLOSE, S.LISTEN, cgroup=HERE)
    stream.tell(Kind.SYN_QUEUED, REQUEST, SERVER, origin=LISTENER, cgroup=HERE)
    stream.tell(Kind.CHILD_CREATED, CHILD, SERVER, origin=REQUEST, cgroup=THERE)
    stream.tell(Kind.ACCEPTED, CHILD, SERVER, new_state=S.ESTABLISHED, cgroup=THERE)
    lives = Lives.of(stream.records, stream.now_ns)
    (life,) = lives.closed
    (listener,) = lives.tracker.listeners
    assert (life.cgroup, listener.cgroup) == (HERE, HERE)


@pytest.mark.parametrize(
    ("kind", "sock", "flags"),
    [
        (Kind.CHILD_CREATED, CHILD, Flag.COOKIE),
        (Kind.ACCEPTED, CHILD, Flag(0)),
        (Kind.SEEN, CHILD, Flag(0)),
    ],
)
def test_one_from_before_by_what_tells_first(
    stream: Stream, kind: Kind, sock: int, flags: Flag
) -> None:
    state = S.ESTABLISHED
    stream.tell(kind, sock, SERVER, old_state=state, new_state=state, flags=flags, cgroup=HERE)
    (life,) = Lives.of(stream.records, stream.now_ns).closed
    assert life.cgroup == HERE


def test_a_dropped_syn_s_is_its_listener_s(stream: Stream) -> None:
    stage = Stage.SYN_ACCEPT_QUEUE_FULL
    stream.tell(Kind.SYN_DROPPED, 0, SERVER, origin=LISTENER, stage=stage, cgroup=HERE)
    lives = Lives.of(stream.records, stream.now_ns)
    (life,) = lives.closed
    (listener,) = lives.tracker.listeners
    assert (life.cgroup, listener.cgroup) == (HERE, HERE)


def test_a_transition_alone_does_not_tell(stream: Stream) -> None:
    stream.goes(CHILD, SERVER, S.ESTABLISHED, S.CLOSE_WAIT)
    stream.tell(Kind.SEEN, CHILD, SERVER, old_state=S.CLOSE_WAIT, cgroup=HERE)
    (life,) = Lives.of(stream.records[:1], stream.now_ns).closed
    assert life.cgroup == 0
    (life,) = Lives.of(stream.records, stream.now_ns).closed
    assert life.cgroup == HERE
