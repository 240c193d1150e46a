"""Which alerts fire on scrapes: promtool evaluates the rules, as Prometheus itself would."""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING, Any, Final

import yaml

from dashboards.build import alerts, fleet_rules, recording, shortened
from dashboards.build.promql import uses

from .prometheus import need

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from .scrapes import Samples

DIVISOR: Final = 30
"""Of all times in the rules: recordings last a minute, and 5 minutes are 10 s."""
PERIOD_S: Final = 1
"""Between two scrapes, and two evaluations: half a minute, before it is divided."""
FIRED: Final = 'group by (alertname) (max_over_time(ALERTS{alertstate="firing"}[1h]))'
_TIMEOUT_S: Final = 60
_STALE: Final = "stale"
_MISSING: Final = "_"


def _names() -> frozenset[str]:
    """The metrics that rules ask for."""
    exprs = [rule.expr for rule in (*recording.RECORDINGS, *fleet_rules.FLEET)]
    exprs += [alert.expr for alert in alerts.ALERTS]
    return frozenset(selector.metric for expr in exprs for selector in uses(expr).selectors)


_ASKED_FOR: Final = _names()


def write_rules(directory: Path, divisor: float = DIVISOR, speed: float = 1) -> list[Path]:
    """Writes the rules, their times divided, and returns the files."""
    files = []
    for name, document in shortened.documents(divisor, speed).items():
        files.append(directory / f"{name}.yaml")
        files[-1].write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
    return files


def up(instance: str, scrapes: Sequence[Samples | None]) -> dict[str, str]:
    """What Prometheus itself says of each scrape."""
    values = " ".join("0" if scrape is None else "1" for scrape in scrapes)
    return {f'up{{job="tcptrace",instance="{instance}"}}': values}


def series(instance: str, scrapes: Sequence[Samples | None]) -> dict[str, str]:
    """Scrapes as promtool's input series; a failed one is None."""
    keys = {key for scrape in scrapes if scrape for key in scrape if _name(key) in _ASKED_FOR}
    return up(instance, scrapes) | {
        _with_target(key, instance): " ".join(_values(key, scrapes)) for key in sorted(keys)
    }


def _name(key: str) -> str:
    return key.partition("{")[0]


def _with_target(key: str, instance: str) -> str:
    name, _, labels = key.rstrip("}").partition("{")
    target = f'job="tcptrace",instance="{instance}"'
    return f"{name}{{{target}{',' if labels else ''}{labels}}}"


def _values(key: str, scrapes: Iterable[Samples | None]) -> Iterable[str]:
    """The values; where a series ends, Prometheus marks it as stale."""
    was_there = False
    for scrape in scrapes:
        value = (scrape or {}).get(key)
        yield value or (_STALE if was_there else _MISSING)
        was_there = value is not None


def fired(directory: Path, scraped: dict[str, str], length: int) -> set[str]:
    """The alerts that fire at any time.

    Args:
        directory: for files.
        scraped: input series.
        length: how many scrapes.
    """
    need("promtool")
    rules = write_rules(directory)
    groups = [
        group["name"]
        for document in shortened.documents(DIVISOR).values()
        for group in document["groups"]
    ]
    test: dict[str, Any] = {
        "rule_files": [str(path) for path in rules],
        "evaluation_interval": f"{PERIOD_S}s",
        "group_eval_order": groups,
        "tests": [
            {
                "interval": f"{PERIOD_S}s",
                "input_series": [
                    {"series": key, "values": values} for key, values in scraped.items()
                ],
                # Nothing is expected, so that promtool tells what there is.
                "promql_expr_test": [
                    {"expr": FIRED, "eval_time": f"{length * PERIOD_S}s", "exp_samples": []}
                ],
            }
        ],
    }
    path = directory / "test.yaml"
    path.write_text(yaml.safe_dump(test, sort_keys=False, width=1 << 20), encoding="utf-8")
    done = subprocess.run(
        ["promtool", "test", "rules", str(path)],
        capture_output=True, text=True, check=False, timeout=_TIMEOUT_S,
    )  # fmt: skip
    told = done.stdout + done.stderr
    assert ("SUCCESS" in told) == (done.returncode == 0), told
    if done.returncode == 0:
        return set()
    found = re.search(r"got:\s*(.*)", told, re.DOTALL)
    assert found, told
    return set(re.findall(r'alertname="(\w+)"', found[1]))
