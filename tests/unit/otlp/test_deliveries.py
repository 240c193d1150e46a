from __future__ import annotations

import time

import pytest

from tcptrace.otlp.deliveries import QUIET_S, Deliveries
from tcptrace.otlp.settings import SIGNALS

FAILS = {"signal": "traces", "trouble": "it answers 503"}
WORKS = {"signal": "traces", "sent": 1}


@pytest.fixture
def deliveries() -> Deliveries:
    return Deliveries(SIGNALS)


def news_of(deliveries: Deliveries) -> list[str]:
    news, deliveries.news = deliveries.news, []
    return news


def let_a_minute_pass(deliveries: Deliveries) -> None:
    assert max(deliveries._quiet_until_s.values()) > time.monotonic() + QUIET_S - 5
    deliveries._quiet_until_s.clear()


def test_what_comes_and_goes_is_told_once_a_minute_with_a_count(deliveries: Deliveries) -> None:
    for _ in range(10):
        deliveries.take(FAILS)
        deliveries.take({**FAILS, "trouble": "other words"})
        deliveries.take(WORKS)
    assert news_of(deliveries) == [
        "traces: it answers 503; tcptrace_otlp_lost_total counts what is lost",
        "traces: the endpoint takes them again",
    ]
    let_a_minute_pass(deliveries)
    for _ in range(10):
        deliveries.take(FAILS)
        deliveries.take(WORKS)
    first, second = news_of(deliveries)
    assert first.endswith("is lost; failed 9 times more since the last line")
    assert second == "traces: the endpoint takes them again"
    let_a_minute_pass(deliveries)
    deliveries.take(WORKS)
    assert news_of(deliveries) == [
        "traces: failed 9 times more since the last line, and works again"
    ]
    deliveries.take(WORKS)
    let_a_minute_pass(deliveries)
    deliveries.take(WORKS)
    assert not news_of(deliveries)


def test_one_that_stays_is_told_as_soon_as_it_may_be(deliveries: Deliveries) -> None:
    for told in (FAILS, WORKS, FAILS):
        deliveries.take(told)
    assert len(news_of(deliveries)) == 2
    assert deliveries.troubles == {"traces": "it answers 503"}
    let_a_minute_pass(deliveries)
    deliveries.take({**FAILS, "trouble": "it is on fire"})
    (line,) = news_of(deliveries)
    assert line.startswith("traces: it is on fire; ")
    assert "more" not in line


def test_each_signal_has_lines_of_its_own(deliveries: Deliveries) -> None:
    deliveries.take(FAILS)
    deliveries.take({**FAILS, "signal": "metrics"})
    assert [line.partition(":")[0] for line in news_of(deliveries)] == ["traces", "metrics"]
