"""The dashboards and rules are built, true to the catalogue, and do what the runbook says."""

from __future__ import annotations

import itertools
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards.build.alerts import ALERTS
from dashboards.build.fleet_rules import FLEET
from dashboards.build.outputs import render
from dashboards.build.promql import uses
from dashboards.build.recording import RECORDINGS
from dashboards.build.scenarios import SCENARIOS
from tcptrace.lifecycle.connection import Partial, Role
from tcptrace.sinks.metrics.catalogue import (
    BY_NAME,
    COOKIE_RESULTS,
    FAMILIES,
    STAGES,
    Metric,
    Type,
)
from tcptrace.tcp import State

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dashboards.build.alerts import Alert
    from dashboards.build.recording import Recording

ROOT = Path(__file__).resolve().parents[2]
HOME = ROOT / "dashboards"
BUILT = render()
BOARDS: dict[str, dict[str, Any]] = {
    path.stem: json.loads(path.read_text(encoding="utf-8"))
    for path in sorted((HOME / "grafana").glob("*.json"))
}
RULE_FILES = sorted((HOME / "alerts").glob("*.yaml"))
TEST_FILES = sorted((HOME / "alerts/tests").glob("*.yaml"))

TARGET_LABELS = {"job", "instance"}
"""What the scrape adds to every series."""
SHARD = "shard"
"""What a Prometheus adds that has some of the hosts; see docs/fleet.md."""
RECORDED = (*RECORDINGS, *FLEET)
SUFFIXES = {
    Type.HISTOGRAM: ("_bucket", "_sum", "_count"),
    Type.GAUGE_HISTOGRAM: ("_bucket", "_gsum", "_gcount"),
}
LEGAL: dict[str, set[str]] = {
    "stage": set(STAGES),
    "result": set(COOKIE_RESULTS),
    "family": set(FAMILIES),
    "state": {state.name.lower() for state in State},
    "role": {role.value for role in Role},
    "reason": {reason.value for reason in Partial},
    "outcome": set(re.findall(r"\w+", BY_NAME["tcptrace_connects_total"].help.split(":")[1])),
    "job": {"tcptrace"},
    "alertstate": {"pending", "firing"},
}
"""The values that a matcher may name."""


def series() -> dict[str, set[str]]:
    """The labels of every series that may be asked for, by name."""
    known = {name: {*TARGET_LABELS, SHARD} for name in ("up", "scrape_samples_scraped")}
    of_an_alert = {*TARGET_LABELS, "alertname", "severity", "netns", "address", "port"}
    known |= {"ALERTS": {*of_an_alert, "alertstate"}, "ALERTS_FOR_STATE": of_an_alert}
    for metric in BY_NAME.values():
        for name in (metric.name + suffix for suffix in SUFFIXES.get(metric.type, ("",))):
            bucket = {"le"} if name.endswith("_bucket") else set()
            known[name] = {*metric.labels, *TARGET_LABELS, *bucket}
    for recording in RECORDED:
        known[recording.record] = {*recording.labels, *of_the_scrape(recording)}
    for name in ("resident_memory_bytes", "start_time_seconds", "cpu_seconds_total"):
        known[f"process_{name}"] = set(TARGET_LABELS)
    return known


def of_the_scrape(recording: Recording) -> set[str]:
    """The labels that are left of those that are not ours."""
    if recording in FLEET:
        return {"job"}
    return {*TARGET_LABELS, SHARD} if recording.is_of_one_host else {"job", SHARD}


def faults(expr: str) -> Iterator[str]:
    """What is wrong with an expression's names."""
    known, used = series(), uses(expr)
    if not used.selectors:
        yield "no metric at all"
    for metric, matchers in used.selectors:
        if metric not in known:
            yield f"no metric {metric}"
            continue
        for label, _, value in matchers:
            if label not in known[metric]:
                yield f"{metric} has no label {label}"
            if "$" in value or label == "le":
                continue
            yield from (
                f"{label} is never {word!r}"
                for word in value.split("|")
                if word not in LEGAL.get(label, set())
            )
    for word, labels, metrics in used.groupings:
        having = [known[metric] for metric in metrics if metric in known]
        yield from (
            f"{word} ({label}): none of {metrics} has it"
            for label in labels
            if not any(label in some for some in having)
        )


def panels(board: dict[str, Any]) -> list[dict[str, Any]]:
    return [panel for panel in board["panels"] if panel["type"] != "row"]


PANELS = [
    pytest.param(uid, panel, id=f"{uid}: {panel['title']}")
    for uid, board in BOARDS.items()
    for panel in panels(board)
]
RULES = [
    pytest.param(rule["expr"], id=rule.get("record") or rule["alert"])
    for path in RULE_FILES
    for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]
    for rule in group["rules"]
]


def promtool(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    program = shutil.which("promtool")
    assert program, "promtool is missing: `make setup-system` installs it (package prometheus)"
    return subprocess.run(
        [program, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=120,
    )


# What is committed is what is built.


@pytest.mark.parametrize("name", BUILT)
def test_the_file_is_up_to_date(name: str) -> None:
    """`python -m dashboards.build` mends it."""
    assert (HOME / name).read_text(encoding="utf-8") == BUILT[name]


def test_no_other_file_lies_among_them() -> None:
    committed = [*(HOME / "grafana").iterdir(), *RULE_FILES, *TEST_FILES]
    assert {str(path.relative_to(HOME)) for path in committed} == set(BUILT)


def test_building_again_gives_the_same() -> None:
    assert render() == BUILT


# Every name is one of the catalogue's.


@pytest.mark.parametrize("expr", RULES)
def test_a_rule_uses_what_there_is(expr: str) -> None:
    assert not list(faults(expr))


@pytest.mark.parametrize(("uid", "panel"), PANELS)
def test_a_panel_uses_what_there_is(uid: str, panel: dict[str, Any]) -> None:
    assert uid in BOARDS
    for target in panel["targets"]:
        expr = target["expr"]
        assert not list(faults(expr))
        used, known = uses(expr), series()
        kept = {label for word, labels, _ in used.groupings if word == "by" for label in labels}
        carried = kept or set.union(*(known[metric] for metric, _ in used.selectors))
        assert set(re.findall(r"\{\{(\w+)\}\}", target.get("legendFormat", ""))) <= carried


@pytest.mark.parametrize("uid", BOARDS)
def test_a_variable_asks_for_what_there_is(uid: str) -> None:
    asked = [
        variable["query"]
        for variable in BOARDS[uid]["templating"]["list"]
        if variable["type"] == "query"
    ]
    assert asked
    for query in asked:
        parts = re.fullmatch(r"label_values\((?P<expr>.*), (?P<label>\w+)\)", query)
        assert parts, query
        assert not list(faults(parts["expr"]))
        (metric, _), *others = uses(parts["expr"]).selectors
        assert not others
        assert parts["label"] in series()[metric]


@pytest.mark.parametrize("uid", BOARDS)
def test_every_variable_is_there_and_used(uid: str) -> None:
    board = BOARDS[uid]
    names = {variable["name"] for variable in board["templating"]["list"]}
    text = json.dumps([board["panels"], board["templating"]])
    wanted = {name for name in re.findall(r"\$\{?(\w+)", text) if not name.startswith("__")}
    assert wanted == names


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: str(alert.name))
def test_an_alert_speaks_of_labels_that_it_has(alert: Alert) -> None:
    used, known = uses(alert.expr), series()
    has = set.intersection(*(known[metric] for metric, _ in used.selectors))
    assert set(re.findall(r"\$labels\.(\w+)", alert.summary + alert.description)) <= has


@pytest.mark.parametrize(
    ("expr", "fault"),
    [
        ("1 + 1", "no metric at all"),
        ("rate(tcptrace_dropped_total[5m])", "no metric tcptrace_dropped_total"),
        ("tcptrace_handshake_seconds", "no metric tcptrace_handshake_seconds"),
        ('tcptrace_sockets{port="80"}', "tcptrace_sockets has no label port"),
        ('tcptrace_sockets{state=~"close_wait|listening"}', "state is never 'listening'"),
        (
            "sum by (stage) (tcptrace_sockets)",
            "by (stage): none of ('tcptrace_sockets',) has it",
        ),
        (
            "tcptrace_sockets / on (role) tcptrace_ephemeral_ports",
            "on (role): none of ('tcptrace_sockets', 'tcptrace_ephemeral_ports') has it",
        ),
    ],
)
def test_a_wrong_name_is_found(expr: str, fault: str) -> None:
    assert fault in list(faults(expr))


@pytest.mark.parametrize("expr", ["up ? 1", "sum(up) by (job)", "sum by (job) (up"])
def test_what_cannot_be_read_is_refused(expr: str) -> None:
    with pytest.raises(ValueError, match=r"PromQL|parenthesis"):
        uses(expr)


@pytest.mark.parametrize("recording", RECORDED, ids=lambda recording: str(recording.record))
def test_a_recording_has_the_labels_that_it_names(recording: Recording) -> None:
    """Aggregations say without; of a metric that is joined only what is named comes in."""
    used, known = uses(recording.expr), series()
    words = {grouping.word for grouping in used.groupings}
    added = [grouping.labels for grouping in used.groupings if grouping.word == "group_left"]
    joined = set(itertools.chain(*added))
    own = used.selectors[:1] if joined else used.selectors
    before = joined.union(*(known[metric] for metric, _ in own))
    assert words <= ({"on", "group_left"} if joined else {"without"})
    dropped = {label for word, labels, _ in used.groupings if word == "without" for label in labels}
    ours = TARGET_LABELS | {SHARD, "le"}
    assert {*recording.labels} == before - dropped - ours
    is_over_hosts = "instance" in dropped or "instance" not in before
    assert recording.is_of_one_host is not is_over_hosts
    assert (recording in FLEET) == ("shard" in dropped)


def test_over_all_hosts_nothing_is_asked_for_that_a_host_has_many_of() -> None:
    """So that it can be evaluated where only recorded series are gathered."""
    asked = {selector.metric for rule in FLEET for selector in uses(rule.expr).selectors}
    placed = panels(BOARDS["tcptrace-fleet"])
    queries = [target["expr"] for panel in placed for target in panel["targets"]]
    asked |= {selector.metric for expr in queries for selector in uses(expr).selectors}
    one_a_host = {"up", "scrape_samples_scraped", "tcptrace_build_info"}
    sparse = {"ALERTS", "ALERTS_FOR_STATE", "listener_stage:tcptrace_listener_refusals:rate5m"}
    levels = {name.partition(":")[0].partition("_")[0] for name in asked - one_a_host - sparse}
    assert levels == {"instance", "job", "fleet"}


@pytest.mark.parametrize("rule", FLEET, ids=lambda rule: str(rule.record))
def test_what_is_recorded_over_all_hosts_is_shown(rule: Recording) -> None:
    assert rule.record in json.dumps(BOARDS["tcptrace-fleet"])


def test_every_metric_is_shown_or_recorded() -> None:
    text = " ".join(BUILT.values())

    def is_shown(metric: Metric) -> bool:
        return any(metric.name + suffix in text for suffix in SUFFIXES.get(metric.type, ("",)))

    assert [name for name, metric in BY_NAME.items() if not is_shown(metric)] == []


# Dashboards are whole.


@pytest.mark.parametrize(("uid", "panel"), PANELS)
def test_a_panel_says_what_it_means(uid: str, panel: dict[str, Any]) -> None:
    assert panel["title"], uid
    assert len(panel["description"].split()) >= 8
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["fieldConfig"]["defaults"]["thresholds" if panel["type"] != "heatmap" else "unit"]
    assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    assert panel["targets"]
    references = [target["refId"] for target in panel["targets"]]
    assert len(set(references)) == len(references)
    assert not re.search(r"(?<!SYN )(?<!accept )\bqueues?\b", text_of(panel), re.IGNORECASE)


def text_of(panel: dict[str, Any]) -> str:
    legends = [target.get("legendFormat", "") for target in panel["targets"]]
    return " ".join([panel["title"], panel["description"], *legends]).replace("Accept", "accept")


@pytest.mark.parametrize("uid", BOARDS)
def test_the_sdk_reads_the_dashboard_back(uid: str) -> None:
    """Grafana's own types know every key, at every level that they describe."""
    register_default_plugins()
    again = json.loads(json.dumps(Dashboard.from_json(BOARDS[uid]), cls=JSONEncoder))
    assert again == BOARDS[uid]


@pytest.mark.parametrize("uid", BOARDS)
def test_a_dashboard_is_found_by_its_uid_and_its_panels_by_theirs(uid: str) -> None:
    board = BOARDS[uid]
    assert board["uid"] == uid
    ids = [panel["id"] for panel in board["panels"]]
    assert ids == list(range(1, len(ids) + 1))


@pytest.mark.parametrize("uid", BOARDS)
def test_panels_lie_side_by_side(uid: str) -> None:
    cells = [
        set(
            itertools.product(
                range(place["x"], place["x"] + place["w"]),
                range(place["y"], place["y"] + place["h"]),
            )
        )
        for place in (panel["gridPos"] for panel in BOARDS[uid]["panels"])
    ]
    assert all(0 <= x < 24 for taken in cells for x, _ in taken)
    assert sum(map(len, cells)) == len(set.union(*cells))


@pytest.mark.parametrize("uid", BOARDS)
def test_links_lead_to_dashboards_and_carry_variables(uid: str) -> None:
    board = BOARDS[uid]
    targets = re.findall(r"/d/([\w-]+)", json.dumps(board))
    assert set(targets) <= set(BOARDS)
    assert {link["url"] for link in board["links"]} == {
        f"/d/{other}" for other in {*BOARDS} - {uid}
    }
    assert all(link["includeVars"] and link["keepTime"] for link in board["links"])
    for name in re.findall(r"var-(\w+)=", json.dumps(board)):
        assert any(
            name == variable["name"]
            for target in targets
            for variable in BOARDS[target]["templating"]["list"]
        )


# Alerts do what they say.


def test_promtool_finds_the_rules_sound() -> None:
    done = promtool("check", "rules", *RULE_FILES)
    assert done.returncode == 0, done.stdout
    assert f"{len(ALERTS)} rules found" in done.stdout
    assert f"{len(RECORDINGS)} rules found" in done.stdout
    assert f"{len(FLEET)} rules found" in done.stdout


def test_promtool_finds_that_every_scenario_fires_what_it_should() -> None:
    done = promtool("test", "rules", *TEST_FILES)
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("SUCCESS") == len(SCENARIOS) == len(TEST_FILES)


@pytest.mark.parametrize("path", TEST_FILES, ids=lambda path: str(path.stem))
def test_a_scenario_asks_every_alert(path: Path) -> None:
    (test,) = yaml.safe_load(path.read_text(encoding="utf-8"))["tests"]
    asked = [question["alertname"] for question in test["alert_rule_test"]]
    assert asked == [alert.name for alert in ALERTS]


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: str(alert.name))
def test_an_alert_has_a_scenario_in_which_it_alone_fires(alert: Alert) -> None:
    alone = [
        scenario.name for scenario in SCENARIOS if [f.alert for f in scenario.fires] == [alert]
    ]
    assert alone


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: str(alert.name))
def test_the_runbook_has_a_section_for_the_alert(alert: Alert) -> None:
    page, _, anchor = alert.runbook_url.partition("#")
    headings = re.findall(r"^#+ (.+)$", (ROOT / page).read_text(encoding="utf-8"), re.MULTILINE)
    assert anchor in {
        re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings
    }
    assert alert.severity in {"critical", "warning"}
    assert alert.summary
    assert alert.description


def test_the_runbook_has_a_section_for_nothing_else() -> None:
    text = (ROOT / "docs/runbook.md").read_text(encoding="utf-8")
    assert re.findall(r"^## (Tcptrace\w+)$", text, re.MULTILINE) == [a.name for a in ALERTS]
