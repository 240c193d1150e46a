"""What a trace makes verdicts with: it gathers evidence all the time, and judges when asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tcptrace.verdicts.case import Case, homes_of, of_ledger, of_records
from tcptrace.verdicts.gathering import Gathering
from tcptrace.verdicts.judging import judge
from tcptrace.verdicts.survey import survey
from tcptrace.verdicts.window import WINDOW_NS

if TYPE_CHECKING:
    from tcptrace.lifecycle.ledger import Ledger
    from tcptrace.lifecycle.tracker import Tracker
    from tcptrace.verdicts.verdict import Verdict
    from tcptrace.wire.ledger import LedgerReading

_KEEP_NS: Final = 1_000_000_000
"""For how long verdicts are good, however often they are asked for."""


class Inquest:
    """Evidence, and what was made of it last.

    Args:
        length_ns: how far back it looks.
        counts_lives: whether every life comes here, and nobody else counts the plain ones.

    Attributes:
        gathering: where the evidence goes.
    """

    def __init__(self, length_ns: int = WINDOW_NS, *, counts_lives: bool = False) -> None:
        self.gathering = Gathering(length_ns, counts_lives=counts_lives)
        self._judged_ns = -_KEEP_NS
        self._verdicts: list[Verdict] = []

    def verdicts(
        self, tracker: Tracker, ledger: Ledger, reading: LedgerReading | None, now_ns: int
    ) -> list[Verdict]:
        """What is wrong, as of now or a second ago at most.

        Args:
            tracker: whose lives came here.
            ledger: {} of listeners if there is none: then the records tell of them.
            reading: the ledger's last one; None if there is none.
            now_ns: the time.
        """
        if now_ns - self._judged_ns >= _KEEP_NS:
            self._judged_ns = now_ns
            self._verdicts = judge(self._case(tracker, ledger, reading, now_ns))
        return list(self._verdicts)

    def _case(
        self, tracker: Tracker, ledger: Ledger, reading: LedgerReading | None, now_ns: int
    ) -> Case:
        facts, length_ns = self.gathering.window.seen(now_ns)
        found = survey(tracker, now_ns)
        facts.absorb(found.facts)
        listeners = of_records(tracker.listeners) if reading is None else of_ledger(ledger)
        homes = homes_of(reading, tracker) if reading is not None else {}
        return Case(facts, now_ns, length_ns, listeners, found.holders, homes)
