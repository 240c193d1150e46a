"""The diagrams of docs/: what draws each, by name: docs/img/diagram-NAME.svg."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from .diagrams import states
from .ladders import ladder
from .queues import queues

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

PLAIN: Final = "A connection from the first SYN to the last ACK"


def _is_server(life: Mapping[str, Any]) -> bool:
    return str(life["role"]) == "server"


def _has_drops(life: Mapping[str, Any]) -> bool:
    return bool(life["drops"])


def _is_fast(life: Mapping[str, Any]) -> bool:
    return bool(life["fastopen"])


PICTURES: Final[Mapping[str, Callable[[], str]]] = {
    "states": states,
    "queues": queues,
    "plain": partial(ladder, "plain-6.12.tcptrace", PLAIN, _is_server),
    "syn-dropped": partial(
        ladder,
        "syn-dropped-6.12.tcptrace",
        "A SYN is dropped three times before it is answered",
        _has_drops,
    ),
    "ack-dropped": partial(
        ladder,
        "ack-dropped-6.12.tcptrace",
        "A final ACK is dropped, and taken when it comes again",
        _has_drops,
    ),
    "fast-open": partial(
        ladder, "fast-open-6.12.tcptrace", "A SYN with a Fast Open cookie and data", _is_fast
    ),
    "simultaneous-close": partial(
        ladder, "simultaneous-close-6.12.tcptrace", "Both FINs cross", _is_server
    ),
}
