"""What a trace makes verdicts with: it gathers evidence all the time, and judges when asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from tcptrace.lifecycle.ledger import OTHER_ADDRESS
from tcptrace.tcp import address_text
from tcptrace.verdicts.case import Case, homes_of, of_ledger, of_records
from tcptrace.verdicts.gathering import Gathering
from tcptrace.verdicts.judging import judge
from tcptrace.verdicts.records import Records
from tcptrace.verdicts.survey import survey
from tcptrace.verdicts.verdict import Cause
from tcptrace.verdicts.window import WINDOW_NS, Totals
from tcptrace.wire.events import Stage
from tcptrace.wire.ledger import Count

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tcptrace.lifecycle.connection import Connection, Process
    from tcptrace.lifecycle.ledger import Ledger
    from tcptrace.lifecycle.tally import Tally
    from tcptrace.lifecycle.tracker import Tracker
    from tcptrace.verdicts.verdict import Verdict
    from tcptrace.wire.ledger import LedgerReading


class Seen(NamedTuple):
    """A listener, or a remote end."""

    address: str
    port: int
    process: Process | None = None
    """Whose listener it is."""


class Looked(NamedTuple):
    """What verdicts, or their absence, are based on."""

    length_ns: int
    listeners: int
    connections: int
    """That came in."""
    connects: int
    """connect() calls that went out."""
    ends: Sequence[Seen] = ()
    """Listeners, and remote ends as far as they are told apart."""
    drops: Sequence[tuple[Seen, Stage, int]] = ()
    """What listeners dropped, by stage; the most first."""


_BY_SHARE: Final = frozenset(
    {
        Cause.RESET_STORM,
        Cause.REMOTE_REFUSES,
        Cause.REMOTE_SILENT,
        Cause.REMOTE_LATE,
        Cause.SYN_ACK_LOST,
        Cause.HALF_OPEN_EXPIRY,
    }
)
"""They are faults if a large share is hurt: where nobody knows of how many, there is silence."""
_DROPS: Final = tuple(stage for stage in Stage if stage is not Stage.NONE)
_KEEP_NS: Final = 1_000_000_000
"""For how long verdicts are good, however often they are asked for."""


class Inquest:
    """Evidence, and what was made of it last.

    Args:
        ledger: that the caller has absorb each reading; of nothing if there is none.
        began_ns: when the trace began.
        length_ns: how far back it looks.
        tally: of accept() and connect(); None if every life comes here, and they alone tell.

    Attributes:
        looked: what the last verdicts are based on.
    """

    def __init__(
        self,
        ledger: Ledger,
        began_ns: int,
        length_ns: int = WINDOW_NS,
        tally: Tally | None = None,
    ) -> None:
        self._ledger = ledger
        self._tally = tally
        self._gathering = Gathering(began_ns, length_ns, tally)
        self._records: Records | None = Records(began_ns, length_ns, tally)
        self._reading: LedgerReading | None = None
        self._judged_ns = -_KEEP_NS
        self._verdicts: list[Verdict] = []
        self.looked = Looked(0, 0, 0, 0)

    def closed(self, connection: Connection) -> None:
        """Takes a life whose full socket is gone."""
        self._gathering.closed(connection)

    def look(self, tracker: Tracker, now_ns: int) -> None:
        """Takes what the records have told of listeners since the last time; once a second or so.

        That counts until the ledger is read.
        """
        if self._records is not None:
            self._gathering.advance(now_ns)
            self._records.look(tracker.listeners, now_ns)

    def read(self, reading: LedgerReading) -> None:
        """Takes what has changed in the ledger, which has absorbed the reading."""
        self._reading, self._records = reading, None
        self._gathering.read(self._ledger, reading)

    def forget(self) -> None:
        """Has the next verdicts reached anew: a recording's clock stands still at its end."""
        self._judged_ns = -_KEEP_NS

    def verdicts(
        self, tracker: Tracker, now_ns: int, totals: Totals | None = None
    ) -> list[Verdict]:
        """What is wrong, as of now or a second ago at most.

        Args:
            tracker: whose lives came here.
            now_ns: the time.
            totals: of all connections, where not every life came here.
        """
        if now_ns - self._judged_ns >= _KEEP_NS:
            self._judged_ns = now_ns
            case = self._case(tracker, now_ns)
            is_whole = totals is None or case.facts.complete(totals)
            self.looked = _looked(case)
            verdicts = judge(case)
            self._verdicts = [one for one in verdicts if is_whole or one.cause not in _BY_SHARE]
        return list(self._verdicts)

    def _case(self, tracker: Tracker, now_ns: int) -> Case:
        self.look(tracker, now_ns)
        facts, length_ns = self._gathering.window.seen(now_ns)
        since_ns = now_ns - self._gathering.length_ns
        found = survey(tracker, now_ns, since_ns, everyone=self._tally is None)
        facts.absorb(found.facts)
        reading = self._reading
        if self._records is not None:
            facts.absorb(self._records.window.seen(now_ns).facts)
            listeners = of_records(tracker.listeners)
        else:
            listeners = of_ledger(self._ledger)
        namespaces = reading.namespaces if reading is not None else ()
        homes = homes_of(tracker, namespaces, tracker.counts if self._tally is not None else None)
        return Case(facts, now_ns, length_ns, listeners, found.holders, homes)


def _looked(case: Case) -> Looked:
    facts = case.facts
    children = sum(one.counts[Count.CHILD_CREATED] for one in facts.listeners.values())
    lives = sum(plain.lives for plain in facts.plain.values())
    listeners = {
        where: Seen(where.address, where.port, now.process)
        for where, now in case.listeners.items()
        if where.address != OTHER_ADDRESS
    }
    remotes = {end for _, end in (*facts.calls, *facts.remotes)}
    ends = [*listeners.values()]
    ends += (Seen(address_text(end.address), end.port) for end in remotes)
    drops = [
        (listeners.get(where) or Seen(where.address, where.port), stage, one.counts[stage])
        for where, one in facts.listeners.items()
        for stage in _DROPS
        if one.counts[stage]
    ]
    return Looked(
        case.length_ns,
        len(listeners),
        max(children, lives),
        facts.connects.total(),
        ends,
        sorted(drops, key=lambda drop: -drop[2]),
    )
