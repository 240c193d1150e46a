"""A life as a row of the page, and as its story, described by docs/schema/story-v1.json."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tcptrace.sinks.story import story
from tcptrace.sinks.terminal import process_text
from tcptrace.sinks.whereabouts import places
from tcptrace.sinks.words import aftermath, end_words, remarks, troubles

if TYPE_CHECKING:
    from tcptrace.lifecycle.connection import Connection
    from tcptrace.lifecycle.names import Names
    from tcptrace.sinks.units import WallClock

SCHEMA: Final = "tcptrace.story.v1"


def life_row(connection: Connection, clock: WallClock) -> dict[str, Any]:
    """What is told of a life in a line."""
    began_ns = connection.began_ns
    process = connection.process or connection.listening_process
    return {
        "id": connection.id,
        "role": str(connection.role),
        "local": str(connection.local),
        "remote": str(connection.remote),
        "process": process_text(process) if process else None,
        "began_at": None if began_ns is None else clock.utc(began_ns),
        "handshake_ns": connection.handshake_ns,
        "accept_wait_ns": connection.accept_wait_ns,
        "outcome": str(connection.outcome),
        "end": end_words(connection).text,
        "state": connection.state.name if connection.state is not None else None,
        "troubles": troubles(connection),
        "is_partial": bool(connection.partial),
    }


def story_object(
    connection: Connection, names: Names, clock: WallClock, now_ns: int
) -> dict[str, Any]:
    """All that happened in a life, in order."""
    workload = names.workload(connection.cgroup)
    lines = story(connection)
    began_ns = lines[0].at_ns if lines else 0
    return {
        "schema": SCHEMA,
        **life_row(connection, clock),
        "where": places(connection.netns, workload, connection.process, names),
        "lines": [
            {"offset_ns": line.at_ns - began_ns, "text": line.text, "colour": line.colour}
            for line in lines
        ],
        "remarks": aftermath(connection) + remarks(connection, now_ns),
    }
