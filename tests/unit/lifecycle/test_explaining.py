"""What a difference comes from: only what was counted explains it."""

from __future__ import annotations

import pytest

from tcptrace.lifecycle.comparison import Comparison
from tcptrace.lifecycle.explaining import Cause, Evidence, Finding, explain
from tcptrace.lifecycle.figures import FIGURES
from tcptrace.wire.head import Losses
from unit.slots import NETNS


def found(
    figure: str,
    difference: int,
    losses: Losses | None = None,
    *,
    without_slot: int = 0,
    is_suspect: bool = False,
) -> Finding:
    """The finding of one figure, the kernel's being 10."""
    one = Comparison(NETNS, FIGURES[figure], 10, 10 + difference, difference)
    suspects = {NETNS} if is_suspect else {7}
    evidence = Evidence(losses or Losses(0, {}, ()), {figure: without_slot}, suspects)
    (finding,) = explain([one], evidence)
    return finding


def lost(hook: str, count: int) -> Losses:
    return Losses(count, {}, (), {hook: count})


def missed(hook: str, count: int) -> Losses:
    return Losses(0, {hook: count}, ())


@pytest.mark.parametrize(
    ("finding", "cause"),
    [
        (found("ActiveOpens", 0), Cause.NONE),
        (found("ActiveOpens", -3), Cause.UNKNOWN),
        (found("ActiveOpens", -3, lost("tcp_connect", 3)), Cause.LOST_EVENTS),
        (found("ActiveOpens", -3, lost("tcp_connect", 2)), Cause.UNKNOWN),
        (found("ActiveOpens", 3, lost("tcp_connect", 3)), Cause.UNKNOWN),
        (found("ActiveOpens", -3, lost("inet_twsk_kill", 3)), Cause.UNKNOWN),
        (found("ActiveOpens", -3, missed("tcp_connect", 3)), Cause.MISSED_RUNS),
        (
            found("ActiveOpens", -3, Losses(2, {"tcp_connect": 1}, (), {"tcp_connect": 2})),
            Cause.LOST_EVENTS,
        ),
        (found("EstabResets", -3, lost("tcp_set_state, listen", 3)), Cause.LOST_EVENTS),
        (found("ListenDrops", -3, lost("tcp_conn_request", 9)), Cause.UNKNOWN),
        (found("ListenDrops", 1, missed("tcp_make_synack", 1)), Cause.MISSED_RUNS),
        (found("ListenDrops", -3, without_slot=3), Cause.NO_SLOT),
        (found("ListenDrops", 3, without_slot=3), Cause.UNKNOWN),
        (found("CurrEstab", -3, lost("inet_accept", 1), is_suspect=True), Cause.LOST_EVENTS),
        (found("CurrEstab", -3, missed("tcp_set_state", 3), is_suspect=True), Cause.MISSED_RUNS),
        (found("CurrEstab", -3, missed("tcp_set_state", 2), is_suspect=True), Cause.UNKNOWN),
        (found("CurrEstab", -3, lost("tcp_connect", 9)), Cause.UNKNOWN),
        (found("CurrEstab", 2, missed("inet_twsk_kill", 2)), Cause.MISSED_RUNS),
        (
            found("ActiveOpens", -1, Losses(0, {}, ("tcp_connect (kprobe)",))),
            Cause.UNCOUNTED_MISSES,
        ),
        (found("ActiveOpens", -1, Losses(0, {}, ("tcp_reset (kprobe)",))), Cause.UNKNOWN),
    ],
)
def test_causes(finding: Finding, cause: Cause) -> None:
    assert finding.cause is cause
    guesses = (Cause.UNKNOWN, Cause.UNCOUNTED_MISSES, Cause.OTHER_NAMESPACE)
    assert finding.is_explained == (cause not in guesses)


def test_one_loss_explains_no_more_than_it_is() -> None:
    both = [Comparison(netns, FIGURES["EstabResets"], 10, 7, -3) for netns in (NETNS, 7)]
    for count, cause in ((5, Cause.UNKNOWN), (6, Cause.LOST_EVENTS)):
        evidence = Evidence(lost("tcp_set_state", count), {})
        assert [one.cause for one in explain(both, evidence)] == [cause] * 2


def test_directions() -> None:
    told = [found("ActiveOpens", difference).direction for difference in (-1, 0, 1)]
    assert told == ["below", "equal", "above"]


def test_what_was_under_way_makes_no_difference() -> None:
    one = Comparison(NETNS, FIGURES["ActiveOpens"], 12, 11, 0)
    (finding,) = explain([one], Evidence(Losses(0, {}, ()), {}))
    assert (finding.cause, finding.is_explained) == (Cause.UNDER_WAY, True)


def test_what_another_namespace_has_too_many_of() -> None:
    both = [
        Comparison(netns, FIGURES["ActiveOpens"], 10, 10 + difference, difference)
        for netns, difference in ((NETNS, -2), (7, 2))
    ]
    findings = explain(both, Evidence(Losses(0, {}, ()), {}))
    assert [one.cause for one in findings] == [Cause.OTHER_NAMESPACE] * 2
    assert not any(one.is_explained for one in findings)
