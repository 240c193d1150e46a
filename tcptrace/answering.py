"""Watches a host for a while, or a recording to its end, and says what is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from tcptrace.lifecycle.agreement import Agreement
from tcptrace.lifecycle.folding import MOST_CONNECTIONS
from tcptrace.lifecycle.summary import Summary
from tcptrace.lifecycle.tally import Tally
from tcptrace.lifecycle.tracker import Tracker
from tcptrace.notes import Troubles, note
from tcptrace.session import Evidence, Pump, Stepwise
from tcptrace.sinks.agreement import differences

if TYPE_CHECKING:
    from typing import TextIO

    from tcptrace.errors import BadRecording
    from tcptrace.lifecycle.connection import Connection
    from tcptrace.reading import Source
    from tcptrace.stopping import Stop
    from tcptrace.verdicts.inquest import Looked
    from tcptrace.verdicts.verdict import Verdict
    from tcptrace.watching import Watch
    from tcptrace.wire.head import Losses


class Answer(NamedTuple):
    """What is wrong, most harm first, and what that is based on."""

    verdicts: list[Verdict]
    looked: Looked
    losses: Losses
    differences: str
    """Figures that are not the kernel's own, and no counted loss is why; "" if there is none."""
    folded: int
    """Connections that were not kept, since too many were open."""
    fault: BadRecording | None = None
    """What ended a recording before its end."""


def of_host(watch: Watch, stop: Stop, notes: TextIO, opening: str) -> Answer:
    """Watches until it is time to stop.

    Args:
        watch: of a source with a ledger; its source is closed at the end.
        stop: when to end; it is on signals until the answer has been shown.
        notes: where the opening line goes: stderr.
        opening: said once tracing has begun.
    """
    troubles = Troubles(watch.source, notes)
    try:
        note(notes, opening)
        watch.run(stop, troubles.tell)
        watch.read_ledger()
        with watch.lock:
            verdicts = watch.verdicts()
        losses = watch.source.losses()
        wrong = differences(watch.agreement.findings(losses))
        return Answer(verdicts, watch.inquest.looked, losses, wrong, watch.tracker.folded)
    finally:
        watch.source.close()


def of_recording(
    source: Source, stop: Stop, notes: TextIO, opening: str, most: int = MOST_CONNECTIONS
) -> Answer:
    """Looks at all of a recording, whether it has a ledger or not; the arguments are the same.

    Args:
        source: the recording.
        stop: as above.
        notes: as above.
        opening: as above.
        most: so many connections are kept; the oldest idle ones beyond it are folded.
    """
    evidence, summary = Evidence(source.head), Summary()

    def closed(connection: Connection) -> None:
        summary.add(connection)
        evidence.closed(connection)

    tally = Tally()
    tracker = Tracker(closed, _ignore, tally, most)
    agreement = Agreement(tracker, tally, evidence.ledger, source.head)
    evidence.on_reading.append(lambda reading: agreement.compare(reading, {}, {}))
    feeder = Stepwise(stacks=source.head.stacks)
    feeder.follow(tracker, summary)
    note(notes, opening)
    pump = Pump(source, tracker, feeder, _Mute(), evidence)
    fault = pump.run(stop, Troubles(source, notes))
    verdicts = evidence.verdicts(tracker, summary, source.now_ns())
    losses = source.losses()
    wrong = differences(agreement.findings(losses))
    return Answer(verdicts, evidence.looked, losses, wrong, tracker.folded, fault)


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
