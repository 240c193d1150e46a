"""Each alert fires on the recording of its own fault, and on no other.

The recordings are of a real kernel (tests/faults). They last a minute, so the rules' times are
divided; nothing else of what is shipped is changed.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
from faults.boards import BOARDS, panels, read_board, with_values
from faults.plays import PLAYS
from faults.replayed import scraped
from faults.scrapes import scrapes
from faults.verdicts import DIVISOR, PERIOD_S, fired, series

from dashboards.build import alerts, fleet_rules, recording, shortened
from dashboards.build.alerts import ALERTS, DOWN
from dashboards.build.fleet_rules import FLEET
from dashboards.build.recording import RECORDINGS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from faults.replayed import Scraped
    from faults.scrapes import Samples

    from dashboards.build.recording import Recording

HOME: Final = Path(__file__).resolve().parents[1] / "data/faults"
OVERFLOW: Final = "accept-queue-overflow"
MOST_BYTES: Final = 500_000
MOST_BYTES_OF_ALL: Final = 4_000_000
DOWN_SINCE: Final = 12
"""Scrapes that succeed before the tracer is down."""
SPEED: Final = 3
SCRAPE_S: Final = 0.5
INSTANCE: Final = "web-1:9436"
FULL: Final = "8080"
LISTENERS: Final = {FULL, "8081"}
EMPTY: Final = {
    "tcptrace_otlp_": "nothing is sent by OTLP",
    "tcptrace_program_run": "a recording does not say what the programs cost",
    "tcptrace_hook_events_lost": "nothing was lost",
    "tcptrace_kernel_difference": "nothing differs",
    "tcptrace_last_loss": "nothing was lost",
    "tcptrace_last_heal": "nothing was lost",
    "tcptrace_namespace_counts_suspect": "nothing was lost",
    "tcptrace_otlp": "nothing is sent by OTLP",
    "instance:tcptrace_syn_cookies_unanswered": "no cookie was sent",
    "instance:tcptrace_close_wait_older_than": "no socket is that old",
}
"""What has no series on the recording of an overflow, by a part of its query, and why."""


def path_of(name: str) -> Path:
    return HOME / f"{name}.tcptrace"


def replayed(name: str) -> list[Samples]:
    return scrapes(path_of(name), PERIOD_S, DIVISOR)


def test_every_play_has_its_recording_and_every_alert_its_play() -> None:
    assert {path.stem for path in HOME.iterdir()} == set(PLAYS)
    played = {play.alert for play in PLAYS.values()} - {None}
    assert played == {alert.name for alert in ALERTS} - {DOWN.name}
    sizes = [path_of(name).stat().st_size for name in PLAYS]
    assert max(sizes) < MOST_BYTES
    assert sum(sizes) < MOST_BYTES_OF_ALL


@pytest.mark.parametrize("name", PLAYS)
def test_fires_on_its_own_fault_alone(name: str, tmp_path: Path) -> None:
    taken = replayed(name)
    alert = PLAYS[name].alert
    expected = {alert} if alert else set()
    assert fired(tmp_path, series(name, taken), len(taken)) == expected


def test_shortened_rules_are_the_shipped_ones_but_for_time() -> None:
    same = {"300000ms": "5m", "120000ms": "2m", "600000ms": "10m", "900000ms": "15m",
            "3600000ms": "1h"}  # fmt: skip
    text = re.sub(r"\d+ms", lambda found: same[found[0]], json.dumps(shortened.documents(1)))
    shipped = {"recording": recording, "fleet": fleet_rules, "alerts": alerts}
    assert json.loads(text) == {name: module.document() for name, module in shipped.items()}


def test_an_age_without_a_bucket_is_refused() -> None:
    with pytest.raises(ValueError, match="no bucket"):
        shortened.documents(7)


def test_a_tracer_that_goes_down(tmp_path: Path) -> None:
    taken = replayed("healthy")
    failing: list[Samples | None] = [*taken[:DOWN_SINCE], *[None] * (len(taken) - DOWN_SINCE)]
    assert fired(tmp_path, series("healthy", failing), len(taken)) == {DOWN.name}


def test_no_tracer_at_all(tmp_path: Path) -> None:
    assert fired(tmp_path, {}, 30) == {DOWN.name}


# On the overflow: a real Prometheus scrapes the real exporter.


@pytest.fixture(scope="module")
def overflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scraped]:
    directory = tmp_path_factory.mktemp("prometheus")
    with scraped({INSTANCE: path_of(OVERFLOW)}, directory, SPEED, SCRAPE_S) as seen:
        yield seen


def test_prometheus_scrapes_a_replay(overflow: Scraped) -> None:
    targets = overflow.prometheus.ask("targets", state="active")["activeTargets"]
    assert [(target["health"], target["lastError"]) for target in targets] == [("up", "")]
    assert overflow.prometheus.log == ""


def test_prometheus_fires_the_alert(overflow: Scraped) -> None:
    firing = overflow.over_time('ALERTS{alertstate="firing"}')
    assert [(one.labels["alertname"], one.labels.get("port")) for one in firing] == [
        ("TcptraceAcceptQueueOverflow", FULL)
    ]


@pytest.mark.parametrize("rule", [*RECORDINGS, *FLEET], ids=lambda rule: str(rule.record))
def test_every_recording_rule_records(overflow: Scraped, rule: Recording) -> None:
    found = overflow.over_time(rule.record)
    assert found
    of_the_scrape = {"job", "instance"} if rule.is_of_one_host else {"job"}
    buckets = {"le"} if "_bucket:" in rule.record else set()
    for one in found:
        assert one.labels.keys() == {"__name__", *of_the_scrape, *rule.labels, *buckets}
    if "port" in rule.labels:
        assert {one.labels["port"] for one in found} == listeners_of(rule.record)


def listeners_of(expr: str) -> set[str]:
    """The ports that it must tell: of those that refuse, or of all."""
    return {FULL} if "refusals" in expr or "ALERTS" in expr else LISTENERS


def queries() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every query of every dashboard, with what it is called in the tests."""
    for path in BOARDS:
        for panel in panels(read_board(path)):
            for target in panel.get("targets", ()):
                name = f"{path.stem}-{panel['title']}-{target['refId']}"
                yield name.removeprefix("tcptrace-"), target


QUERIES: Final = dict(queries())


@pytest.mark.parametrize("name", QUERIES)
def test_every_dashboards_query_finds_its_series(overflow: Scraped, name: str) -> None:
    expr = QUERIES[name]["expr"]
    found = [one.labels for one in overflow.over_time(with_values(expr, SCRAPE_S))]
    if any(part in expr for part in EMPTY):
        assert not found
        return
    assert found
    legend = set(re.findall(r"{{(\w+)}}", QUERIES[name].get("legendFormat", "")))
    for labels in found:
        assert labels.keys() >= legend
        assert labels.get("instance", INSTANCE) == INSTANCE
    if "port" in found[0]:
        assert {labels["port"] for labels in found} == listeners_of(expr)
