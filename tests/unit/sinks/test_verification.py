"""What verify found, for people."""

from __future__ import annotations

from tcptrace.lifecycle.comparison import Comparison
from tcptrace.lifecycle.explaining import Cause, Finding
from tcptrace.lifecycle.figures import FIGURES
from tcptrace.sinks.terminal import Paint
from tcptrace.sinks.verification import CAUSE_WORDS, Report, render
from tcptrace.wire.head import Losses
from unit import samples

PLAIN = Paint(enabled=False)


def finding(
    name: str, kernel: int, ours: int, difference: int = 0, cause: Cause = Cause.NONE
) -> Finding:
    return Finding(Comparison(7, FIGURES[name], kernel, ours, difference), cause)


def report(*findings: Finding, losses: Losses = samples.NO_LOSSES) -> Report:
    return Report(samples.head(), 10.04, findings, {7: "blue"}, losses, 0)


def test_all_agree() -> None:
    text = render(report(finding("ActiveOpens", 12345, 12345), finding("ListenDrops", 0, 0)), PLAIN)
    assert text.splitlines() == [
        "NAMESPACE         FIGURE                     KERNEL     TCPTRACE  DIFFERENCE  CAUSE",
        "blue              ActiveOpens                12,345       12,345           0",
        "1 more figure with 0 on both sides",
        "2 figures in 1 namespace, 10.0 s: all agree with the kernel",
    ]


def test_differences_and_why() -> None:
    losses = Losses(5, {"tcp_set_state": 1}, ("tcp_reset (kprobe)",), {"tcp_connect": 5})
    text = render(
        report(
            finding("ActiveOpens", 10, 5, -5, Cause.LOST_EVENTS),
            finding("PassiveOpens", 10, 11, 1, Cause.UNKNOWN),
            finding("EstabResets", 4, 3, 0, Cause.UNDER_WAY),
            losses=losses,
        ),
        PLAIN,
    )
    assert "-5 below  lost events, counted" in text
    assert "+1 above  unknown" in text
    assert "0  under way while it was read" in text
    assert "lost events: tcp_connect 5" in text
    assert "skipped probe runs: tcp_set_state 1" in text
    assert "what kprobes miss: 1 hook uncounted" in text
    assert text.endswith(
        "1 of 3 figures in 1 namespace, 10.0 s: differ, and no counted loss is why"
    )


def test_where_numbers_of_sockets_stay_in_doubt() -> None:
    one = report(finding("ActiveOpens", 10, 10))._replace(unhealed=(7, 8))
    told = render(one, PLAIN).splitlines()
    assert "stay in doubt in 2 network namespaces: no snapshot since a loss" in told[-2]


def test_only_counted_losses() -> None:
    one = report(finding("ActiveOpens", 10, 5, -5, Cause.LOST_EVENTS))
    assert one.unexplained == 0
    assert render(one, PLAIN).endswith("1 differ by counted losses, all others agree")


def test_colours() -> None:
    paint = Paint(enabled=True)
    bad = report(finding("ActiveOpens", 10, 5, -5, Cause.UNKNOWN))
    assert "\x1b[31m" in render(bad, paint)
    assert "\x1b[31m" not in render(report(finding("ActiveOpens", 10, 10)), paint)


def test_a_hostile_name_is_escaped() -> None:
    one = report(finding("ActiveOpens", 1, 1))._replace(names={7: "\x1b[2J"})
    assert "\x1b" not in render(one, PLAIN)


def test_every_cause_has_words() -> None:
    assert CAUSE_WORDS.keys() == set(Cause)
