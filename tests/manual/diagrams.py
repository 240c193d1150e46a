"""The diagram of all states, drawn from the tables in lifecycle/transitions.py.

Where a state stands and what moves a socket is written here; which state may follow which is not:
a transition that the table has and no picture tells, or the other way round, is an error.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from tcptrace.lifecycle.connection import Side
from tcptrace.lifecycle.transitions import ENDED_BY_FIN, FIRST_CLOSER, NEXT
from tcptrace.tcp import State

from .svg import Box, Picture, Point

if TYPE_CHECKING:
    from collections.abc import Mapping

S = State
Edge = tuple[State, State]

OBJECTS: Final[Mapping[str, frozenset[State]]] = {
    "request": frozenset({S.NEW_SYN_RECV}),
    "timewait": frozenset({S.TIME_WAIT}),
}
"""The states of request socket and TIME_WAIT socket; all others are the full socket's."""

PLACES: Final[Mapping[State, Point]] = {
    S.LISTEN: Point(230, 112),
    S.NEW_SYN_RECV: Point(230, 214),
    S.SYN_RECV: Point(230, 316),
    S.SYN_SENT: Point(650, 112),
    S.ESTABLISHED: Point(450, 412),
    S.FIN_WAIT1: Point(230, 514),
    S.CLOSE_WAIT: Point(650, 514),
    S.FIN_WAIT2: Point(100, 610),
    S.CLOSING: Point(360, 610),
    S.LAST_ACK: Point(650, 610),
    S.TIME_WAIT: Point(230, 706),
    S.CLOSE: Point(650, 706),
}
_BORN: Final = Point(440, 40)
"""CLOSE once more, where lives of full sockets begin."""
_BIRTH: Final = frozenset({(S.CLOSE, S.LISTEN), (S.CLOSE, S.SYN_SENT)})


class Told(NamedTuple):
    """What moves a socket over an edge: what comes or is called, and the kernel's function."""

    what: str
    function: str
    at: Point
    align: str = "left"
    via: tuple[Point, ...] = ()


ORDERLY: Final[Mapping[Edge, Told]] = {
    (S.CLOSE, S.LISTEN): Told("listen()", "inet_csk_listen_start", Point(310, 62), "right"),
    (S.CLOSE, S.SYN_SENT): Told("connect()", "tcp_v4_connect", Point(570, 62)),
    (S.NEW_SYN_RECV, S.SYN_RECV): Told(
        "final ACK: the child", "tcp_v4_syn_recv_sock", Point(238, 262)
    ),
    (S.SYN_RECV, S.ESTABLISHED): Told("the same ACK", "tcp_rcv_state_process", Point(352, 356)),
    (S.SYN_SENT, S.ESTABLISHED): Told("SYN-ACK", "tcp_finish_connect", Point(562, 262)),
    (S.SYN_SENT, S.SYN_RECV): Told("a SYN crosses", "", Point(440, 198), "right"),
    (S.ESTABLISHED, S.FIN_WAIT1): Told(
        "close(), shutdown(): FIN", "tcp_close_state", Point(348, 478)
    ),
    (S.ESTABLISHED, S.CLOSE_WAIT): Told("FIN comes", "tcp_fin", Point(566, 452)),
    (S.SYN_RECV, S.FIN_WAIT1): Told(
        "close() first (Fast Open)", "tcp_close_state", Point(222, 404), "right"
    ),
    (S.SYN_RECV, S.CLOSE_WAIT): Told(
        "FIN first (Fast Open)",
        "tcp_fin",
        Point(708, 404),
        "left",
        (Point(700, 316), Point(700, 496)),
    ),
    (S.FIN_WAIT1, S.FIN_WAIT2): Told("ACK of the FIN", "", Point(150, 556), "right"),
    (S.FIN_WAIT1, S.CLOSING): Told("FINs cross", "tcp_fin", Point(312, 550)),
    (S.FIN_WAIT1, S.TIME_WAIT): Told("FIN with the ACK", "", Point(230, 612), "middle"),
    (S.FIN_WAIT2, S.TIME_WAIT): Told("FIN", "", Point(150, 664), "right"),
    (S.CLOSING, S.TIME_WAIT): Told("ACK of the FIN", "tcp_time_wait", Point(312, 662)),
    (S.CLOSE_WAIT, S.LAST_ACK): Told("close(): FIN", "tcp_close_state", Point(658, 560)),
    (S.LAST_ACK, S.CLOSE): Told("ACK of the FIN", "tcp_done", Point(658, 656)),
    (S.TIME_WAIT, S.CLOSE): Told("60 s, or reuse", "inet_twsk_kill", Point(450, 697), "middle"),
    (S.LISTEN, S.CLOSE): Told(
        "close()", "inet_csk_listen_stop", Point(8, 140), "left", (Point(130, 112), Point(110, 112))
    ),
}
"""Transitions of a life in good order. All others that the table has lead to CLOSE at once."""


def edges() -> frozenset[Edge]:
    """Every transition that the table allows."""
    return frozenset((old, new) for old, following in NEXT.items() for new in following)


def abrupt() -> frozenset[State]:
    """The states that may also end at once: by a RST, a timeout, an abort, a lost request."""
    return frozenset(old for old, new in edges() - ORDERLY.keys() if new is S.CLOSE)


def check() -> None:
    """Compares what is drawn with the table.

    Raises:
        AssertionError: they are not the same transitions.
    """
    assert ORDERLY.keys() <= edges(), ORDERLY.keys() - edges()
    left = {edge for edge in edges() - ORDERLY.keys() if edge[1] is not S.CLOSE}
    assert not left, left
    assert PLACES.keys() == NEXT.keys()


def kind_of(state: State) -> str:
    """Which of the three kernel objects has it."""
    return next((name for name, states in OBJECTS.items() if state in states), "full")


def states() -> str:
    """Every transition of a life, over its three objects."""
    check()
    picture = Picture(860, 836, "The states of a connection in the Linux kernel")
    for edge, told in ORDERLY.items():
        _edge(picture, edge, told)
    # A request is born of a SYN: the listener stays what it is.
    listener, request = Box(PLACES[S.LISTEN]), Box(PLACES[S.NEW_SYN_RECV])
    picture.arrow([listener.towards(request.middle), request.towards(listener.middle)], "birth")
    _told(picture, Told("SYN: a new object", "tcp_conn_request", Point(238, 160)))
    for state, place in PLACES.items():
        picture.box(Box(place), state.name, kind_of(state))
    picture.box(Box(_BORN), S.CLOSE.name, "full")
    for state in sorted(abrupt()):
        _cross(picture, Point(PLACES[state].x + 61, PLACES[state].y - 16))
    _cross(picture, Point(104, 112), "")
    _legend(picture, 766)
    return picture.text()


def _edge(picture: Picture, edge: Edge, told: Told) -> None:
    start, end = (Box(PLACES[state]) for state in edge)
    if edge in _BIRTH:
        start = Box(_BORN)
    if told.via:
        # Out of everybody's way. A listener's CLOSE is not drawn again: it just ends.
        picture.arrow([start.towards(Point(told.via[0].x, start.middle.y)), *told.via])
    else:
        picture.arrow([start.towards(end.middle), end.towards(start.middle)])
    _told(picture, told)


def _told(picture: Picture, told: Told) -> None:
    picture.words(told.at, told.what, f"dim halo {told.align}")
    if told.function:
        picture.words(Point(told.at.x, told.at.y + 13), told.function, f"code halo {told.align}")


def _cross(picture: Picture, at: Point, css: str = "bad") -> None:
    picture.parts.append(
        f'<path class="arrow {css}" d="M{at.x - 5:g} {at.y - 5:g} l10 10 m0 -10 l-10 10"/>'
    )


def _legend(picture: Picture, top: float) -> None:
    for number, (kind, words) in enumerate(
        (
            ("request", "request socket"),
            ("full", "full socket"),
            ("timewait", "TIME_WAIT socket"),
        )
    ):
        x = 30 + number * 160
        picture.parts.append(
            f'<rect class="{kind}" x="{x}" y="{top:g}" width="22" height="14" rx="3"/>'
        )
        picture.words(Point(x + 30, top + 11.5), words, "dim left")
    x = 510
    _cross(picture, Point(x + 5, top + 7))
    picture.words(
        Point(x + 18, top + 11.5), "may end here at once: RST, timeout, abort, drop", "dim left"
    )
    first = sorted(
        (old.name, new.name) for (old, new), side in FIRST_CLOSER.items() if side is Side.LOCAL
    )
    orderly = ", ".join(sorted(state.name for state in ENDED_BY_FIN))
    picture.words(
        Point(30, top + 36),
        f"This end closes first: {'; '.join(f'{old} → {new}' for old, new in first)}.",
        "dim left",
    )
    picture.words(Point(30, top + 54), f"CLOSE after both FINs: from {orderly}.", "dim left")
