"""How far the figures are the kernel's, in words."""

from __future__ import annotations

import pytest

from tcptrace.lifecycle.comparison import Comparison
from tcptrace.lifecycle.explaining import Cause, Finding
from tcptrace.lifecycle.figures import COUNTED
from tcptrace.sinks.agreement import differences, standing
from unit import samples, slots


def finding(cause: Cause, *differing: int) -> list[Finding]:
    """Of the first figures, that differ by so many."""
    figures = list(COUNTED.values())
    return [
        Finding(Comparison(slots.NETNS, figures[place], 9, 9 + number, number), cause)
        for place, number in enumerate(differing)
    ]


@pytest.mark.parametrize(
    ("findings", "told"),
    [
        ([], "not compared with the kernel"),
        (finding(Cause.NONE, 0), "agrees with the kernel"),
        (finding(Cause.LOST_EVENTS, -3), "agrees with the kernel but for counted losses"),
        (finding(Cause.UNKNOWN, -3), "differs from the kernel: ListenOverflows -3"),
    ],
)
def test_who_compared_nothing_agrees_with_nobody(findings: list[Finding], told: str) -> None:
    assert standing(findings, samples.NO_LOSSES) == [told]


def test_a_few_differences_are_enough() -> None:
    told = differences(finding(Cause.UNKNOWN, 1, -2, 3, 4))
    assert told.count(",") == 3
    assert told.endswith(" +3, …")
