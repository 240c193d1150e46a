"""promtool's unit tests from scenarios: each asks every alert whether it fires."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from dashboards.build import alerts, fleet_rules, recording
from dashboards.build.alerts import ALERTS, Alert

if TYPE_CHECKING:
    from dashboards.build.scenarios.scenario import Firing, Scenario

RULES: Final = tuple(f"../tcptrace-{name}.yaml" for name in ("recording", "fleet", "alerts"))


def _expected(alert: Alert, firing: Firing) -> dict[str, Any]:
    return {
        "exp_labels": {"severity": alert.severity, **firing.labels},
        "exp_annotations": {
            "summary": firing.summary,
            "description": firing.description,
            "runbook_url": alert.runbook_url,
        },
    }


def document(scenario: Scenario) -> dict[str, Any]:
    """A test file: the scenario's series, then for every alert what it must do about them."""
    return {
        "rule_files": list(RULES),
        "evaluation_interval": "1m",
        "group_eval_order": [
            group["name"]
            for rules in (recording.document(), fleet_rules.document(), alerts.document())
            for group in rules["groups"]
        ],
        "tests": [
            {
                "name": scenario.story,
                "interval": "1m",
                "input_series": [
                    {"series": series, "values": values} for series, values in scenario.series()
                ],
                "alert_rule_test": [
                    {
                        "eval_time": scenario.at,
                        "alertname": alert.name,
                        "exp_alerts": [
                            _expected(alert, firing)
                            for firing in scenario.fires
                            if firing.alert is alert
                        ],
                    }
                    for alert in ALERTS
                ],
                "promql_expr_test": [
                    {
                        "expr": expr,
                        "eval_time": scenario.at,
                        "exp_samples": [{"labels": labels, "value": value}],
                    }
                    for expr, labels, value in scenario.records
                ],
            }
        ],
    }
