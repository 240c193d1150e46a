from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from unit import samples

from tcptrace.lifecycle.comparison import Comparison
from tcptrace.lifecycle.explaining import Cause, Finding
from tcptrace.lifecycle.figures import FIGURES, Origin
from tcptrace.sinks.units import WallClock
from tcptrace.sinks.verification import SCHEMA as NAME
from tcptrace.sinks.verification import Report, as_json
from tcptrace.wire.head import Losses

PATH = Path(__file__).resolve().parents[2] / "docs/schema/verification-v1.json"
SCHEMA: dict[str, Any] = json.loads(PATH.read_text(encoding="utf-8"))
FIGURE = SCHEMA["$defs"]["figure"]["properties"]
HOSTILE = '\x1b[2J\n"\udcff'
LOST = Losses(3, {"tcp_set_state": 2}, ("tcp_reset (kprobe)",), {"tcp_connect, tcp_reset": 3})
FINDINGS = [
    Finding(Comparison(netns, figure, 5, 5 + difference, difference), cause)
    for netns, figure, (difference, cause) in zip(
        range(len(FIGURES)),
        FIGURES.values(),
        [(1, Cause.UNKNOWN), (-1, Cause.LOST_EVENTS), *[(0, Cause.NONE)] * len(FIGURES)],
        strict=False,
    )
]
REPORTS = {
    "nothing": Report(samples.head(), 0.0, (), {}, samples.NO_LOSSES, 0),
    "all": Report(samples.head(), 10.5, tuple(FINDINGS), {0: "blue", 1: ""}, LOST, 2, (7, 8)),
    "hostile": Report(
        samples.head()._replace(kernel=HOSTILE, carrier=HOSTILE),
        1e9,
        tuple(FINDINGS[:1]),
        {0: HOSTILE},
        Losses(1, {HOSTILE: 1}, (HOSTILE,), {HOSTILE: 1}),
        0,
    ),
}


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("name", REPORTS)
def test_every_object_is_what_the_schema_says(name: str) -> None:
    at = WallClock(samples.head()).utc(samples.START)
    line = as_json(REPORTS[name], at)
    assert "\n" not in line
    told = json.loads(line)
    jsonschema.validate(told, SCHEMA, cls=jsonschema.Draft202012Validator)
    assert set(told) == set(SCHEMA["required"]) == set(SCHEMA["properties"])
    for figure in told["figures"]:
        assert set(figure) == set(FIGURE) == set(SCHEMA["$defs"]["figure"]["required"])
    assert told["agrees"] == (name == "nothing")


def test_a_time_that_the_calendar_lacks_is_null() -> None:
    told = json.loads(as_json(REPORTS["all"], None))
    jsonschema.validate(told, SCHEMA, cls=jsonschema.Draft202012Validator)


def test_every_figure_and_cause_is_in_the_schema() -> None:
    assert set(FIGURE["figure"]["enum"]) == set(FIGURES)
    assert FIGURE["cause"]["enum"] == [*Cause]
    assert FIGURE["origin"]["enum"] == [*Origin]
    assert SCHEMA["properties"]["schema"]["const"] == SCHEMA["$id"] == NAME
