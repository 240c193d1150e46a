"""From a case to verdicts: one for each fault, most harm first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tcptrace.verdicts.queues import listener_verdict
from tcptrace.verdicts.remotes import remote_verdict
from tcptrace.verdicts.sockets import close_wait_verdict, reset_verdicts, time_wait_verdict

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tcptrace.lifecycle.ledger import Address
    from tcptrace.verdicts.case import Case
    from tcptrace.verdicts.verdict import Verdict

_DROPPED: Final = ("syns_dropped", "acks_dropped", "acks_reset")
MOST_VERDICTS: Final = 100
"""Nobody reads more."""


def judge(case: Case) -> list[Verdict]:
    """Reaches verdicts; [] is silence."""
    case.settle()
    explained: dict[Address, Verdict] = {}
    for address, facts in case.facts.listeners.items():
        verdict = listener_verdict(case, address, facts)
        if verdict is not None:
            explained[address] = verdict
    found = [*explained.values(), *_others(case, explained)]
    return sorted(found, key=_harm, reverse=True)[:MOST_VERDICTS]


def _harm(verdict: Verdict) -> tuple[int, float]:
    """Connections that are hurt; among as many, packets dropped, where no life tells whose."""
    figures = verdict.figures
    return verdict.hurt, sum(figures.get(key, 0) for key in _DROPPED)


def _others(case: Case, explained: dict[Address, Verdict]) -> Iterator[Verdict]:
    verdicts: list[Verdict | None] = []
    for remote, facts in case.facts.remotes.items():
        verdicts.append(remote_verdict(case, remote, facts, explained))
    for holder, held in case.holders.items():
        verdicts.append(close_wait_verdict(case, holder, held))
    for netns, home in case.homes.items():
        verdicts.append(time_wait_verdict(case, netns, home))
    for verdict in (*verdicts, *reset_verdicts(case)):
        if verdict is not None:
            yield verdict
