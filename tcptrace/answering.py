"""Watches a host for a while, or a recording to its end, and says what is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from tcptrace.lifecycle.summary import Summary
from tcptrace.lifecycle.tracker import Tracker
from tcptrace.notes import Troubles, note
from tcptrace.session import Evidence, Pump, Stepwise
from tcptrace.stopping import Stop

if TYPE_CHECKING:
    from typing import TextIO

    from tcptrace.errors import BadRecording
    from tcptrace.lifecycle.connection import Connection
    from tcptrace.reading import Source
    from tcptrace.stopping import Limits
    from tcptrace.verdicts.inquest import Looked
    from tcptrace.verdicts.verdict import Verdict
    from tcptrace.watching import Watch
    from tcptrace.wire.head import Losses


class Answer(NamedTuple):
    """What is wrong, most harm first, and what that is based on."""

    verdicts: list[Verdict]
    looked: Looked
    losses: Losses
    fault: BadRecording | None = None
    """What ended a recording before its end."""


def of_host(watch: Watch, limits: Limits, notes: TextIO, opening: str) -> Answer:
    """Watches until a limit or a signal.

    Args:
        watch: of a source with a ledger; its source is closed at the end.
        limits: when to end by itself.
        notes: where the opening line goes: stderr.
        opening: said once tracing has begun.
    """
    stop = Stop(limits)
    troubles = Troubles(watch.source, notes)
    try:
        with stop.on_signals():
            note(notes, opening)
            watch.run(stop, troubles.tell)
            watch.read_ledger()
        with watch.lock:
            verdicts = watch.verdicts()
        return Answer(verdicts, watch.inquest.looked, watch.source.losses())
    finally:
        watch.source.close()


def of_recording(source: Source, limits: Limits, notes: TextIO, opening: str) -> Answer:
    """Looks at all of a recording, whether it has a ledger or not; the arguments are the same."""
    stop, evidence, summary = Stop(limits), Evidence(), Summary()

    def closed(connection: Connection) -> None:
        summary.add(connection)
        evidence.closed(connection)

    tracker = Tracker(closed, _ignore, most=limits.connections)
    feeder = Stepwise(stacks=source.head.stacks)
    feeder.follow(tracker, summary)
    with stop.on_signals():
        note(notes, opening)
        pump = Pump(source, tracker, feeder, _Mute(), evidence)
        fault = pump.run(stop, Troubles(source, notes))
    verdicts = evidence.verdicts(tracker, summary, source.now_ns())
    return Answer(verdicts, evidence.looked, source.losses(), fault)


class _Mute:
    """Prints nothing."""

    after_time_wait = False

    def begin(self) -> None:
        """There is nothing to begin."""

    def show(self, connection: Connection, now_ns: int) -> None:
        """Shows nothing."""

    def flush(self) -> None:
        """There is nothing to hand over."""


def _ignore(_connection: object) -> None:
    """A life is told of once: when its full socket is gone."""
