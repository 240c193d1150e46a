"""Ladders: both ends of a recorded connection side by side, each event a rung, time downwards.

Everything in a picture is from a recording, by `tcptrace replay --json`; only which event a packet
went between is read from CAUSES, since tcptrace records sockets, not packets.
"""

from __future__ import annotations

import json
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tcptrace.tcp import State

from .blocks import printed
from .diagrams import kind_of
from .svg import Box, Picture, Point

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

CAUSES: Final[Mapping[tuple[str, str], str]] = {
    ("SYN_SENT", "NEW_SYN_RECV"): "SYN",
    ("SYN_SENT", "syn_dropped"): "SYN",
    ("SYN_SENT", "SYN_RECV"): "SYN with cookie and data",
    ("syn_retransmitted", "NEW_SYN_RECV"): "SYN",
    ("syn_retransmitted", "syn_dropped"): "SYN",
    ("NEW_SYN_RECV", "ESTABLISHED"): "SYN-ACK",
    ("ESTABLISHED", "SYN_RECV"): "ACK",
    ("ESTABLISHED", "ack_dropped"): "ACK",
    ("FIN_WAIT1", "CLOSE_WAIT"): "FIN",
    ("CLOSE_WAIT", "FIN_WAIT2"): "ACK",
    ("LAST_ACK", "TIME_WAIT"): "FIN",
    ("TIME_WAIT", "CLOSE"): "ACK",
    ("FIN_WAIT1", "CLOSING"): "FIN",
    ("CLOSING", "TIME_WAIT"): "ACK",
}
"""What one end did, and what it made happen at the other: the packet between them."""
WORDS: Final[Mapping[str, str]] = {
    "syn_dropped": "✗ SYN dropped",
    "ack_dropped": "✗ final ACK dropped",
    "accepted": "accept()",
    "syn_retransmitted": "SYN again",
    "synack_retransmitted": "SYN-ACK again",
    "reset_sent": "RST sent",
    "reset_received": "RST received",
}
_ROW: Final = 34
_TOP: Final = 74
_LEFT, _RIGHT = 260, 640
_MIDDLE: Final = (_LEFT + _RIGHT) / 2
_REACH: Final = 124


class Rung(NamedTuple):
    """One event of one end."""

    at_ns: int
    end: int
    """0 for the left one, 1 for the right one."""
    name: str
    is_state: bool
    words: str = ""


def ladder(recording: str, title: str, pick: Callable[[dict[str, Any]], bool]) -> str:
    """Draws one pair of lives.

    Args:
        recording: its name in tests/data.
        title: of the picture.
        pick: tells the life whose two ends are drawn.
    """
    lives = [json.loads(line) for line in printed("replay", recording, "--json")[0].splitlines()]
    one = next(life for life in lives if pick(life))
    other = next(life for life in lives if life["id"] == one["peer"])
    ends = sorted((one, other), key=lambda life: (life["role"] != "client", life["id"]))
    rungs = sorted(rung for end, life in enumerate(ends) for rung in _rungs(end, life))
    picture = Picture(930, _TOP + _ROW * len(rungs) + 24, title)
    for x, life in zip((_LEFT, _RIGHT), ends, strict=True):
        name = (life["process"] or life["listening_process"] or {"comm": life["role"]})["comm"]
        picture.words(Point(x, 24), name, "state")
        local = life["local"]
        picture.words(Point(x, 42), f"{local['address']}:{local['port']}", "code")
    for end in (0, 1):
        _draw_states(picture, rungs, end)
    _draw_packets(picture, rungs)
    _draw_events(picture, rungs)
    return picture.text()


def _rungs(end: int, life: Mapping[str, Any]) -> Iterator[Rung]:
    for span in life["states"]:
        yield Rung(span["at_ns"], end, span["state"], is_state=True)
    for event in life["events"]:
        name = event["event"]
        if name in WORDS:
            depth = f" {event['accept_queue_len']}/{event['accept_queue_limit']}"
            full = depth if "accept_queue_full" in (event["stage"] or "") else ""
            yield Rung(event["at_ns"], end, name, is_state=False, words=WORDS[name] + full)


def _y(number: float) -> float:
    return _TOP + _ROW * number


def _draw_states(picture: Picture, rungs: Sequence[Rung], end: int) -> None:
    x = (_LEFT, _RIGHT)[end]
    entered = [
        (number, rung.name)
        for number, rung in enumerate(rungs)
        if rung.end == end and rung.is_state
    ]
    for (number, name), (until, _) in pairwise([*entered, (len(rungs), "")]):
        kind = "none" if name == "CLOSE" else kind_of(State[name])
        last = len(rungs) if name in ("TIME_WAIT", "CLOSE") else until
        height = _ROW * (last - number) - 6
        picture.box(Box(Point(x, _y(number) + height / 2), 118, height), name, kind)


def _draw_packets(picture: Picture, rungs: Sequence[Rung]) -> None:
    for number, rung in enumerate(rungs):
        sent = [
            earlier
            for earlier, before in enumerate(rungs[:number])
            if before.end != rung.end and (before.name, rung.name) in CAUSES
        ]
        if not sent:
            continue
        packet = CAUSES[rungs[sent[-1]].name, rung.name]
        again = [at for at in range(sent[-1], number) if rungs[at].name == "synack_retransmitted"]
        if again and rung.name == "SYN_RECV":
            # The other end answers it, and has no event for that.
            between = (again[-1] + number) / 2
            _draw_packet(picture, (again[-1], between), 1 - rung.end, "SYN-ACK")
            _draw_packet(picture, (between, number), rung.end, packet)
        else:
            css = "bad" if rung.name.endswith("dropped") else ""
            _draw_packet(picture, (sent[-1], number), rung.end, packet, css)


def _draw_packet(
    picture: Picture, rows: tuple[float, float], to: int, words: str, css: str = ""
) -> None:
    towards = 1 if to else -1
    start = Point(_MIDDLE - towards * _REACH, _y(rows[0]) + 6)
    stop = Point(_MIDDLE + towards * _REACH, _y(rows[1]) + 6)
    picture.arrow([start, stop], css)
    picture.words(Point(_MIDDLE, (start.y + stop.y) / 2 - 3), words, "dim halo")


def _draw_events(picture: Picture, rungs: Sequence[Rung]) -> None:
    for number, rung in enumerate(rungs):
        x, align = ((_LEFT - 70, "right"), (_RIGHT + 70, "left"))[rung.end]
        when = f"+{(rung.at_ns - rungs[0].at_ns) / 1e6:.1f} ms"
        bad = " badwords" if rung.name.endswith("dropped") else ""
        words = when if rung.is_state else f"{rung.words} {when}"
        picture.words(Point(x, _y(number) + 10), words, f"dim {align}{bad}")
