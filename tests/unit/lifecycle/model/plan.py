"""What a history may consist of."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from unit.lifecycle.stream import Ends


class Opening(Enum):
    """How a connection begins, or fails to."""

    NORMAL = auto()
    LOCAL_ERROR = auto()
    REFUSED = auto()
    TIMEOUT = auto()
    UNREACHABLE = auto()
    GAVE_UP = auto()
    SYN_DROPPED = auto()
    SYN_DROPPED_FOR_EVER = auto()
    EXPIRED = auto()
    HALF_OPEN_RESET = auto()
    ACK_DROPPED = auto()
    ABORT_ON_OVERFLOW = auto()
    COOKIE = auto()
    COOKIE_AFTER_DROPS = auto()
    COOKIE_UNANSWERED = auto()
    COOKIE_REFUSED = auto()
    FAST_OPEN = auto()
    WINNER_FIRST = auto()
    LOSER_FIRST = auto()
    LOSER_DROPPED_FIRST = auto()
    CHILD_FAILS = auto()
    BOTH_AT_ONCE = auto()


class Closing(Enum):
    """How an established connection ends."""

    CLIENT_FIRST = auto()
    SERVER_FIRST = auto()
    BOTH_AT_ONCE = auto()
    CLIENT_RESETS = auto()
    SERVER_RESETS = auto()
    CLIENT_IS_ABORTED = auto()
    CLIENT_GETS_DATA_AFTER_CLOSE = auto()
    CLIENT_TIMES_OUT = auto()
    NO_ROOM_FOR_TIME_WAIT = auto()
    SERVERS_FIN_NEVER_COMES = auto()
    LISTENER_CLOSES = auto()
    NOT_AT_ALL = auto()


POSSIBLE_WHILE_QUEUED: Final = (
    Closing.CLIENT_RESETS,
    Closing.CLIENT_IS_ABORTED,
    Closing.NOT_AT_ALL,
)
"""Without the server's doing; the others want its accept() first."""


class Acceptance(Enum):
    """When accept() takes it."""

    SOON = auto()
    AFTER_THE_END = auto()
    NEVER = auto()


class TimeWaitEnd(Enum):
    """How TIME_WAIT is left; reused, if another connection follows on these ports."""

    TIMER = auto()
    KILLED = auto()
    REUSED = auto()


@dataclass(frozen=True)
class Use:
    """One connection."""

    opening: Opening
    closing: Closing
    acceptance: Acceptance
    timewait_end: TimeWaitEnd
    is_orphan: bool
    """Its closer keeps no file: a TIME_WAIT socket stands in for FIN_WAIT2."""
    is_bound: bool
    """The client chose its port before connect()."""
    retries: int
    client_is_seen: bool
    server_is_seen: bool


@dataclass(frozen=True)
class Chain:
    """Connections between the same two ends, one after the other."""

    client: Ends
    server: Ends
    uses: tuple[Use, ...]
    pauses_ns: tuple[int, ...]
    """Between steps, over and over."""
    begins_after_ns: int
