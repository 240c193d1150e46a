from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any, Final

import jsonschema
import pytest
from faults.plays import PLAYS
from unit import samples

from dashboards.build.alerts import ALERTS
from tcptrace.answering import of_recording
from tcptrace.lifecycle.connection import Process
from tcptrace.lifecycle.ledger import Address
from tcptrace.lifecycle.names import Names
from tcptrace.replay import AT_ONCE, ReplaySource
from tcptrace.sinks.recording import RecordingReader
from tcptrace.sinks.terminal import Paint
from tcptrace.sinks.units import WallClock
from tcptrace.sinks.verdict_words.causes import RUNBOOK, TITLES
from tcptrace.sinks.verdicts import SCHEMA as NAME
from tcptrace.sinks.verdicts import as_dict, headline, render
from tcptrace.stopping import Limits, Stop
from tcptrace.tcp import MAPPED_PREFIX, Endpoint
from tcptrace.verdicts.verdict import Cause, Confidence, Verdict
from tcptrace.wire.events import Stage

ROOT: Final = Path(__file__).resolve().parents[2]
SCHEMA: dict[str, Any] = json.loads((ROOT / "docs/schema/verdict-v1.json").read_text("utf-8"))
FIELDS: Final = SCHEMA["properties"]
CLOCK: Final = WallClock(samples.head())
HOSTILE: Final = Process(7, b"\x1b[2J\n\xff\"'")
REMOTE: Final = Endpoint(MAPPED_PREFIX + bytes((192, 0, 2, 1)), 5432)


def checked(told: dict[str, Any]) -> dict[str, Any]:
    jsonschema.validate(told, SCHEMA, cls=jsonschema.Draft202012Validator)
    assert set(told) == set(SCHEMA["required"]) == set(FIELDS)
    return told


def made_up(cause: Cause, **changes: Any) -> Verdict:
    """A verdict with every figure that the schema knows."""
    values: dict[str, Any] = {
        "cause": cause,
        "confidence": Confidence.LIKELY,
        "netns": 4026531840,
        "where": Address(4026531840, "0.0.0.0", 80),  # noqa: S104 - a listener's
        "process": HOSTILE,
        "cgroup": 0,
        "stage": Stage.OTHER,
        "hurt": 3,
        "of": 9,
        "delays_ns": (1_000_000_000, 3_000_000_000),
        "figures": dict.fromkeys(FIELDS["figures"]["properties"], 7),
        "last_at_ns": samples.START,
        "peer": REMOTE.address,
    }
    return Verdict(**{**values, **changes})


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert FIELDS["schema"]["const"] == SCHEMA["$id"] == NAME


def test_it_names_every_cause_confidence_and_stage() -> None:
    assert FIELDS["cause"]["enum"] == list(Cause)
    assert FIELDS["confidence"]["enum"] == list(Confidence)
    assert FIELDS["stage"]["enum"] == [None, *(stage.name.lower() for stage in Stage)]


@pytest.mark.parametrize("name", [name for name, play in PLAYS.items() if play.cause])
def test_verdicts_on_recordings_are_what_the_schema_says(name: str) -> None:
    path = ROOT / f"tests/data/faults/{name}.tcptrace"
    with path.open("rb") as file:
        source = ReplaySource(RecordingReader(file, str(path)), AT_ONCE)
        answer = of_recording(source, Stop(Limits()), io.StringIO(), "")
    for verdict in answer.verdicts:
        checked(as_dict(verdict, CLOCK, source.names))


@pytest.mark.parametrize("cause", Cause)
@pytest.mark.parametrize("where", [Address(1, "::1", 80), REMOTE])
def test_every_cause_has_its_words(cause: Cause, where: Address | Endpoint) -> None:
    told = checked(as_dict(made_up(cause, where=where), CLOCK, Names()))
    assert TITLES[cause] in told["headline"]
    assert len(told["advice"]) > len("do so.")
    for text in (told["text"], told["headline"]):
        assert text.isprintable(), "a hostile name could steer a terminal"
    bare = made_up(cause, where=where, process=None, peer=b"", figures={}, delays_ns=())
    assert checked(as_dict(bare, CLOCK, Names()))["text"]


@pytest.mark.parametrize("cause", Cause)
def test_what_a_terminal_gets_fits_its_width(cause: Cause) -> None:
    told = render([made_up(cause)], Paint(enabled=False), Names(), 80)
    assert max(map(len, told.splitlines())) <= 80
    assert told.replace("\n", "").isprintable()
    assert headline(made_up(cause), Names())[:9] in told


def test_every_verdict_has_an_alert_and_a_runbook_section_that_names_it() -> None:
    alerts = {alert.name for alert in ALERTS}
    assert set(RUNBOOK) == set(Cause)
    assert set(RUNBOOK.values()) <= alerts
    sections = (ROOT / "docs/runbook.md").read_text("utf-8").split("\n## ")
    by_name = {section.partition("\n")[0]: section for section in sections}
    for cause, name in RUNBOOK.items():
        assert f"`{cause}`" in by_name[name]
