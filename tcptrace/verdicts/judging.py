"""From a case to verdicts: one for each fault, most harm first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tcptrace.verdicts.queues import listener_verdict

if TYPE_CHECKING:
    from tcptrace.verdicts.case import Case
    from tcptrace.verdicts.verdict import Verdict


def judge(case: Case) -> list[Verdict]:
    """Reaches verdicts; [] is silence."""
    case.settle()
    found = [
        verdict
        for address, facts in case.facts.listeners.items()
        if (verdict := listener_verdict(case, address, facts)) is not None
    ]
    return sorted(found, key=lambda verdict: -verdict.hurt)
