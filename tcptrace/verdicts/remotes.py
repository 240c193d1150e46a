"""Verdicts on remote ends, as the clients of this host see them.

Where the remote end is traced too, what happened there is known: its listener dropped the SYNs, or
answered them. If that listener has a verdict of its own, this end's trouble is explained by it.

Who tries localhost by ::1 where only 127.0.0.1 is listened at, or the other way round, is refused
and gets in by the other address within microseconds: nobody is hurt.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tcptrace.lifecycle.ledger import Address
from tcptrace.tcp import MAPPED_PREFIX, Endpoint, address_text
from tcptrace.verdicts.facts import most
from tcptrace.verdicts.queues import DROPS, ENOUGH, FEWEST, delays_of
from tcptrace.verdicts.verdict import Cause, Confidence, Verdict

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from tcptrace.verdicts.case import Case
    from tcptrace.verdicts.facts import RemoteFacts
    from tcptrace.verdicts.window import Pair, Remote
    from tcptrace.wire.events import Stage

_FEWEST_REFUSED: Final = 5
"""Somebody is always refused now and then: a health check, a probe."""
_RATE: Final = 0.25
"""Refused a second; fewer matter if they are a good part of all."""
_LEAST_SHARE: Final = 0.01
"""Of all connect() calls: fewer refusals must be steady, where it isn't known how many got in."""
_STEADY_RATE: Final = 1.0
_SILENT_RATE: Final = 0.1
"""The same of those that were not answered: each hangs for a while."""
_SHARE: Final = 0.1
_LATE_SHARE: Final = 0.05
_TENTH_NS: Final = 100_000_000
_LOCALHOST: Final = (MAPPED_PREFIX + bytes((127, 0, 0, 1)), bytes(15) + b"\1")


def remote_verdict(
    case: Case, remote: Remote, facts: RemoteFacts, explained: Collection[Address]
) -> Verdict | None:
    """The verdict on a remote end; None if nothing is wrong, or too little was seen.

    Args:
        case: all that is known.
        remote: a namespace, and an end seen from it.
        facts: what clients saw of it.
        explained: listeners here that have a verdict.
    """
    return _Remote(case, remote, facts, explained).verdict()


class _Remote:
    """Weighs what was seen of one remote end."""

    def __init__(
        self, case: Case, remote: Remote, facts: RemoteFacts, explained: Collection[Address]
    ) -> None:
        self._case = case
        self._netns, self._end = remote
        self._facts = facts
        self._explained = explained
        hurt = facts.silent + facts.late + facts.refused
        self._connects = max(case.facts.connects[self._netns], hurt)

    def verdict(self) -> Verdict | None:
        """What is wrong with it."""
        facts = self._facts
        if facts.silent + facts.late >= FEWEST:
            dropped = self._known(self._case.facts.dropped)
            answered = self._known(self._case.facts.answered)
            if dropped or answered:
                return self._both_traced(dropped, answered)
        return self._silent() or self._late() or self._refused()

    def _known(self, pairs: Mapping[Pair, int]) -> list[int]:
        """The namespaces of those listeners here that the hurt clients talked to, if most did."""
        ends = self._facts.hurt_ends
        found = [pairs[pair] for end in ends if (pair := (end, self._end)) in pairs]
        return found if len(found) >= max(FEWEST, len(ends) // 2) else []

    def _both_traced(self, dropped: list[int], answered: list[int]) -> Verdict | None:
        facts, end = self._facts, self._end
        addresses = [
            Address(netns, address_text(end.address), end.port) for netns in {*dropped, *answered}
        ]
        homes = [self._case.home_of(address) for address in addresses]
        if any(home in self._explained for home in homes):
            return None
        hurt = facts.silent + facts.late
        if not dropped:
            return self._verdict(Cause.SYN_ACK_LOST, hurt, is_certain=True)
        stage = self._stage(homes)
        return self._verdict(Cause.REMOTE_LISTENER_DROPS, hurt, is_certain=True, stage=stage)

    def _stage(self, homes: list[Address]) -> Stage | None:
        """Where those listeners drop most of what they drop."""
        listeners = self._case.facts.listeners
        counts = [listeners[home].counts for home in homes if home in listeners]
        drops = {stage: sum(one[stage] for one in counts) for stage in DROPS}
        worst = max(DROPS, key=drops.__getitem__)
        return worst if drops[worst] else None

    def _silent(self) -> Verdict | None:
        facts = self._facts
        is_many = self._is_many(facts.silent, FEWEST, _SILENT_RATE)
        if not is_many or facts.silent < facts.late:
            return None
        is_certain = facts.silent >= ENOUGH and not facts.late
        return self._verdict(Cause.REMOTE_SILENT, facts.silent, is_certain=is_certain)

    def _late(self) -> Verdict | None:
        """Answers come, but not before the SYN is sent again."""
        hurt = self._facts.late + self._facts.silent
        if hurt < ENOUGH // 2 or hurt < _LATE_SHARE * self._connects:
            return None
        return self._verdict(Cause.REMOTE_LATE, hurt, is_certain=False)

    def _refused(self) -> Verdict | None:
        refused, calls = self._facts.refused - self._found_elsewhere, self._calls
        if refused < _SHARE * calls or not self._is_many(refused, _FEWEST_REFUSED, _RATE):
            return None
        is_share = calls > 0 or refused >= _LEAST_SHARE * self._connects
        if not is_share and refused < _STEADY_RATE * self._case.seconds:
            return None
        is_certain = is_share and refused >= ENOUGH
        return self._verdict(Cause.REMOTE_REFUSES, refused, is_certain=is_certain)

    @property
    def _calls(self) -> int:
        """How many connect() calls went to this end; 0 if nobody knows."""
        calls = self._case.facts.calls[self._netns, self._end]
        if self._end.is_loopback:
            came_in = self._case.came_in(self._netns, self._end)
            calls = max(calls, self._facts.refused + came_in)
        return calls

    @property
    def _found_elsewhere(self) -> int:
        """Of those that were refused: who got in by localhost's other address, at most."""
        address, refused = self._end.address, self._facts.refused
        if address not in _LOCALHOST or refused < _FEWEST_REFUSED:
            return 0
        other = Endpoint(_LOCALHOST[address == _LOCALHOST[0]], self._end.port)
        # Others come in there too; those from here have called connect() a second time.
        again = self._connects - refused
        return min(refused, again, self._case.came_in(self._netns, other))

    def _is_many(self, number: int, fewest: int, rate: float) -> bool:
        is_often = number >= rate * self._case.seconds
        return number >= fewest and (is_often or number >= _SHARE * self._connects)

    def _verdict(
        self, cause: Cause, hurt: int, *, is_certain: bool, stage: Stage | None = None
    ) -> Verdict:
        facts = self._facts
        figures: dict[str, int | float] = {
            "seconds": round(self._case.seconds, 1),
            "connects": self._connects,
            "connects_unanswered": facts.silent,
            "connects_waiting": facts.waiting,
            "connects_late": facts.late,
            "connects_refused": facts.refused,
        }
        usual = most(facts.given_up)
        if usual is not None and facts.given_up[usual] * 2 > facts.silent - facts.waiting:
            tenths, figures["syns_sent_again"] = usual
            figures["gave_up_after_ns"] = tenths * _TENTH_NS
        return Verdict(
            cause,
            Confidence.CERTAIN if is_certain else Confidence.LIKELY,
            self._netns,
            self._end,
            most(facts.processes),
            most(facts.cgroups) or 0,
            stage,
            hurt,
            self._connects,
            delays_of(facts.delays) if cause is not Cause.REMOTE_REFUSES else (),
            figures,
            facts.last_at_ns,
        )
