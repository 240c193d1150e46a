"""JSON Lines, one object a life, described by docs/schema/connection-v1.json.

Keys are added within a version, never renamed or removed. Times (`…_at_ns`) are CLOCK_MONOTONIC
nanoseconds; `began_at` gives the first of them as time of day. The text is ASCII: names from
processes can't steer a terminal.
"""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING, Any, Final

from tcptrace.lifecycle.names import Names
from tcptrace.sinks.terminal import comm_text
from tcptrace.sinks.whereabouts import as_json
from tcptrace.sinks.words import call_stack, error_name
from tcptrace.tcp import State, address_text
from tcptrace.wire.events import Kind

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import BinaryIO

    from tcptrace.lifecycle.connection import Connection, Moment, Process, StateSpan
    from tcptrace.sinks.units import WallClock
    from tcptrace.tcp import Endpoint

SCHEMA: Final = "tcptrace.connection.v1"
_DROP_KINDS: Final = (Kind.SYN_DROPPED, Kind.ACK_DROPPED)


class JsonPrinter:
    """Prints lives as JSON Lines, each when its last kernel object is gone.

    Args:
        stream: where to.
        clock: tells the time of day.
        symbol: names a kernel address given as its offset from _stext; None if it can't.
        names: of cgroups and network namespaces.

    Attributes:
        clock: the same as above.
        names: the same.
    """

    after_time_wait = True

    def __init__(
        self,
        stream: BinaryIO,
        clock: WallClock,
        symbol: Callable[[int], str | None] = lambda _offset: None,
        names: Names | None = None,
    ) -> None:
        self.names = names or Names()
        self._stream = stream
        self.clock = clock
        self._symbol = symbol

    def begin(self) -> None:
        """Prints nothing: every line is a life."""

    def flush(self) -> None:
        """Hands everything printed to the reader."""
        self._stream.flush()

    def show(self, connection: Connection, now_ns: int) -> None:  # noqa: ARG002 - others need it
        """Prints one life.

        Args:
            connection: a life that is over, TIME_WAIT included, or that the trace's end cut off.
            now_ns: unused; what still lasts has no duration.
        """
        self.write(self.line_of(connection))

    def line_of(self, connection: Connection) -> bytes:
        """One life as a line."""
        return f"{text_of(self.object_of(connection))}\n".encode("ascii")

    def write(self, lines: bytes) -> None:
        """Prints lines as they are."""
        self._stream.write(lines)

    def object_of(self, connection: Connection) -> dict[str, Any]:
        """One life by the keys that its line has."""
        began_ns = connection.began_ns
        return {
            "schema": SCHEMA,
            "id": connection.id,
            "peer": connection.peer_id,
            "role": str(connection.role),
            "outcome": str(connection.outcome),
            "family": connection.family_name,
            "v4_mapped": connection.family == socket.AF_INET6 and connection.remote.is_ipv4,
            "netns": connection.netns,
            "netns_name": self.names.namespaces.get(connection.netns),
            **as_json(self.names.workload(connection.cgroup), self.names),
            "local": _endpoint(connection.local),
            "remote": _endpoint(connection.remote),
            "process": _process(connection.process),
            "listening_process": _process(connection.listening_process),
            "began_at": None if began_ns is None else self.clock.utc(began_ns),
            "began_at_ns": began_ns,
            "ended_at_ns": connection.ended_at_ns,
            "handshake": _handshake(connection),
            "syn_queue_wait_ns": connection.syn_queue_wait_ns,
            "accepted_at_ns": connection.accepted_at_ns,
            "accept_wait_ns": connection.accept_wait_ns,
            "states": [self._span(span) for span in connection.spans],
            "drops": [_drop(moment) for moment in connection.moments if moment.kind in _DROP_KINDS],
            "events": [_event(moment) for moment in connection.moments],
            "events_left_out": connection.moments_left_out,
            "retransmits": connection.retransmits,
            "closed": {"by": _text(connection.closed_by), "how": _text(connection.closed_how)},
            "error": error_name(connection.error),
            "time_wait": _time_wait(connection),
            "cookie": connection.cookie,
            "fastopen": connection.fastopen,
            "partial": bool(connection.partial),
            "partial_reasons": sorted(map(str, connection.partial)),
        }

    def _span(self, span: StateSpan) -> dict[str, Any]:
        written: dict[str, Any] = {
            "state": span.state.name,
            "at_ns": span.at_ns,
            "duration_ns": span.duration_ns,
        }
        if span.stack:
            written["stack"] = call_stack(span.stack, self._symbol)
        return written


def text_of(told: dict[str, Any]) -> str:
    """An object as it stands in a line."""
    return json.dumps(told, separators=(",", ":"))


def _text(word: str | None) -> str | None:
    return None if word is None else str(word)


def _endpoint(endpoint: Endpoint) -> dict[str, Any]:
    return {"address": address_text(endpoint.address), "port": endpoint.port}


def _process(process: Process | None) -> dict[str, Any] | None:
    return None if process is None else {"pid": process.pid, "comm": comm_text(process.comm)}


def _handshake(connection: Connection) -> dict[str, Any]:
    return {
        "syn_at_ns": connection.syn_at_ns,
        "established_at_ns": connection.established_at_ns,
        "duration_ns": connection.handshake_ns,
        "syn_retransmits": connection.syn_retransmits,
        "synack_retransmits": connection.synack_retransmits,
        "syn_drops": connection.syn_drops,
        "ack_drops": connection.ack_drops,
    }


def _queues(moment: Moment) -> dict[str, Any]:
    return {
        "accept_queue_len": moment.accept_queue_len,
        "accept_queue_limit": moment.accept_queue_limit,
        "syn_queue_len": moment.syn_queue_len,
    }


def _drop(moment: Moment) -> dict[str, Any]:
    return {"at_ns": moment.at_ns, "stage": moment.stage.name.lower(), **_queues(moment)}


def _event(moment: Moment) -> dict[str, Any]:
    stage = moment.stage.name.lower() if moment.stage else None
    return {
        "at_ns": moment.at_ns,
        "event": moment.kind.name.lower(),
        "stage": stage,
        **_queues(moment),
        "retransmits": moment.retransmits,
    }


def _time_wait(connection: Connection) -> dict[str, Any] | None:
    """Tells of TIME_WAIT: since when, for how long, how it ended; None if it never came."""
    for span in connection.spans:
        if span.state is State.TIME_WAIT:
            return {
                "at_ns": span.at_ns,
                "duration_ns": span.duration_ns,
                "end": connection.timewait_end,
            }
    return None
