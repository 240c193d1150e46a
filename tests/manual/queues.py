"""The diagram of a listener's two queues: the ways through, and at which stage what gets lost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from tcptrace.wire.events import Stage

from .svg import Box, Picture, Point

if TYPE_CHECKING:
    from collections.abc import Mapping

_Y: Final = 168
_QUEUE: Final = (150, 56)
SYN: Final = Box(Point(140, _Y), 158, 40)
SYN_QUEUE: Final = Box(Point(352, _Y), *_QUEUE)
ACK: Final = Box(Point(566, _Y), 178, 40)
ACCEPT_QUEUE: Final = Box(Point(780, _Y), *_QUEUE)
PROCESS: Final = Box(Point(950, _Y), 92, 40)


class Loss(NamedTuple):
    """Where in the picture a stage is, and its number in the page's table."""

    place: Box
    number: int


LOSSES: Final[Mapping[Stage, Loss]] = {
    Stage.SYN_SYN_QUEUE_FULL: Loss(SYN, 1),
    Stage.SYN_ACCEPT_QUEUE_FULL: Loss(SYN, 3),
    Stage.OTHER: Loss(SYN, 4),
    Stage.SYN_LAST_QUARTER: Loss(SYN, 5),
    Stage.ACK_ACCEPT_QUEUE_FULL: Loss(ACK, 6),
    Stage.ABORT_ON_OVERFLOW: Loss(ACK, 7),
    Stage.REQUEST_EXPIRED: Loss(SYN_QUEUE, 8),
    Stage.REQUEST_RESET: Loss(SYN_QUEUE, 10),
    Stage.LISTENER_CLOSED: Loss(ACCEPT_QUEUE, 9),
}
"""Every stage that tcptrace tells."""


def queues() -> str:
    """Draws it.

    Raises:
        AssertionError: a stage has no place in it.
    """
    assert LOSSES.keys() == set(Stage) - {Stage.NONE}
    picture = Picture(1010, 330, "A listener's two queues, and where connections get lost")
    _ways(picture)
    for box, words, kind in (
        (SYN, "tcp_conn_request", "none"),
        (ACK, "tcp_v4_syn_recv_sock", "none"),
        (PROCESS, "accept()", "none"),
    ):
        picture.box(box, words, kind, "code" if "_" in words else "state")
    for box, words, holds, kind in (
        (SYN_QUEUE, "SYN queue", "NEW_SYN_RECV", "request"),
        (ACCEPT_QUEUE, "accept queue", "ESTABLISHED", "full"),
    ):
        picture.box(box, "", kind)
        picture.words(Point(box.middle.x, _Y - 4), words, "state")
        picture.words(Point(box.middle.x, _Y + 14), holds, "dim")
    _losses(picture)
    return picture.text()


def _ways(picture: Picture) -> None:
    stops = [Point(4, _Y)]
    boxes = [SYN, SYN_QUEUE, ACK, ACCEPT_QUEUE, PROCESS]
    for before, after in zip([None, *boxes], boxes, strict=False):
        start = before.towards(after.middle) if before else stops[0]
        picture.arrow([start, after.towards(start)])
    picture.words(Point(30, _Y - 8), "SYN", "dim")
    picture.words(Point(452, _Y - 8), "ACK", "dim halo")
    for begin, box, height, words in (
        (150, ACK, 96, "SYN cookie: nothing is kept, the ACK brings it back"),
        (120, ACCEPT_QUEUE, 48, "Fast Open: the SYN itself makes the child, in SYN_RECV"),
    ):
        top = box.middle.y - box.height / 2 - 2
        x = box.middle.x
        points = [Point(begin, _Y - 22), Point(begin, height), Point(x, height), Point(x, top)]
        picture.arrow(points, "birth")
        picture.words(Point((begin + x) / 2, height - 7), words, "dim halo")


def _losses(picture: Picture) -> None:
    for place in (SYN, SYN_QUEUE, ACK, ACCEPT_QUEUE):
        bottom = Point(place.middle.x, _Y + place.height / 2 + 2)
        picture.arrow([bottom, Point(bottom.x, 228)], "bad")
        stages = [(loss.number, stage) for stage, loss in LOSSES.items() if loss.place is place]
        for row, (number, stage) in enumerate(stages):
            at = Point(place.middle.x, 246 + 18 * row)
            picture.words(at, f"{number} {stage.name.lower()}", "code badwords")
