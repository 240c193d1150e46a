"""The same rules at another time scale, so that recordings of a minute can be held against them.

What is divided: ranges, `for`, and bounds of ages in `le`. Rates, ratios and waits in queues are
no matter of how long one looks, and stay.
"""

from __future__ import annotations

import re
from typing import Any, Final

from dashboards.build import alerts, fleet_rules, recording
from tcptrace.sinks.metrics.catalogue import BY_NAME

AGES: Final = BY_NAME["tcptrace_socket_age_seconds"].buckets
_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_RANGE: Final = re.compile(r"\[(\d+[smhd])\]")
_AGE: Final = re.compile(r'le=~"(\d+)\(')


def documents(divisor: float, speed: float = 1) -> dict[str, dict[str, Any]]:
    """The rule files by name, from the expressions that are shipped.

    Args:
        divisor: of every time.
        speed: how many times as fast the recording is played: ranges and `for` shrink once more;
            ages are on the recording's own clock.

    Raises:
        ValueError: an age that is asked for is no bucket's bound when it is divided.
    """
    shipped = {
        "recording": recording.document(),
        "fleet": fleet_rules.document(),
        "alerts": alerts.document(),
    }
    return {name: _document(document, divisor, speed) for name, document in shipped.items()}


def _document(document: dict[str, Any], divisor: float, speed: float) -> dict[str, Any]:
    groups = [
        {**group, "rules": [_rule(rule, divisor, speed) for rule in group["rules"]]}
        for group in document["groups"]
    ]
    return {**document, "groups": groups}


def _rule(rule: dict[str, Any], divisor: float, speed: float) -> dict[str, Any]:
    shortened = {**rule, "expr": _expr(rule["expr"], divisor, speed)}
    if "for" in rule:
        shortened["for"] = duration(rule["for"], divisor * speed)
    return shortened


def _expr(expr: str, divisor: float, speed: float) -> str:
    expr = _RANGE.sub(lambda found: f"[{duration(found[1], divisor * speed)}]", expr)
    return _AGE.sub(lambda found: f'le=~"{_age(int(found[1]), divisor)}(', expr)


def duration(text: str, divisor: float) -> str:
    """Divides one of Prometheus' durations, of a single unit."""
    seconds = int(text[:-1]) * _UNITS[text[-1]]
    return f"{round(1000 * seconds / divisor)}ms"


def _age(seconds: int, divisor: float) -> int:
    shortened = seconds / divisor
    if shortened not in AGES:
        raise ValueError(f"{seconds} s / {divisor:g} is no bucket of ages: {AGES}")
    return int(shortened)
