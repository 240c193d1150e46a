from __future__ import annotations

import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
from unit import samples

from tcptrace.lifecycle.connection import Connection, How, Outcome, Partial, Role, Side
from tcptrace.lifecycle.names import Names
from tcptrace.sinks.jsonl import JsonPrinter
from tcptrace.sinks.units import WallClock
from tcptrace.tcp import State
from tcptrace.wire.events import Kind, Stage

if TYPE_CHECKING:
    from collections.abc import Iterable
    from enum import Enum

PATH = Path(__file__).resolve().parents[2] / "docs/schema/connection-v1.json"
SCHEMA: dict[str, Any] = json.loads(PATH.read_text(encoding="utf-8"))
FIELDS = SCHEMA["properties"]


def printed(life: Connection, names: Names | None = None) -> dict[str, Any]:
    stream = io.BytesIO()
    JsonPrinter(stream, WallClock(samples.head()), names=names).show(life, samples.START)
    told: dict[str, Any] = json.loads(stream.getvalue())
    return told


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("life", samples.every_life(), ids=lambda life: str(life.outcome))
def test_every_line_is_what_the_schema_says(life: Connection) -> None:
    life.spans[:1] = [*life.spans[:1]]
    if life.spans:
        life.spans[0].stack = (1, 2)
    told = printed(life)
    jsonschema.validate(told, SCHEMA, cls=jsonschema.Draft202012Validator)
    assert set(told) == set(SCHEMA["required"]) == set(FIELDS)


@pytest.mark.parametrize(
    ("listed", "members"),
    [
        (FIELDS["role"]["enum"], Role),
        (FIELDS["outcome"]["enum"], Outcome),
        (FIELDS["closed"]["properties"]["by"]["enum"], Side),
        (FIELDS["closed"]["properties"]["how"]["enum"], How),
        (FIELDS["partial_reasons"]["items"]["enum"], Partial),
    ],
)
def test_every_word_is_in_the_schema(listed: list[str | None], members: Iterable[Enum]) -> None:
    assert [word for word in listed if word is not None] == [member.value for member in members]


def test_every_state_event_and_stage_is_in_the_schema() -> None:
    assert set(FIELDS["states"]["items"]["properties"]["state"]["enum"]) == {
        state.name for state in State
    }
    assert FIELDS["events"]["items"]["properties"]["event"]["enum"] == [
        kind.name.lower() for kind in Kind
    ]
    assert SCHEMA["$defs"]["stage"]["enum"] == [stage.name.lower() for stage in Stage]


@pytest.mark.parametrize(
    ("path", "container", "pod", "systemd"),
    [
        (
            f"/system.slice/docker-{'0f' * 32}.scope",
            {"id": "0f" * 32, "runtime": "docker", "name": None},
            None,
            {"unit": None, "slice": "system.slice", "user": None},
        ),
        (
            f"/kubepods/pod2c48913c-b29f-11e7-9350-020968147796/{'0e' * 32}",
            {"id": "0e" * 32, "runtime": None, "name": None},
            {
                "uid": "2c48913c-b29f-11e7-9350-020968147796",
                "qos": "guaranteed",
                "name": None,
                "namespace": None,
            },
            None,
        ),
        (
            "/user.slice/user-7.slice/user@7.service/app.slice/app-\x1b[2J.service",
            None,
            None,
            {"unit": "app-\x1b[2J.service", "slice": "app.slice", "user": 7},
        ),
        ("/", None, None, None),
    ],
)
def test_where_a_life_is(path: str, container: object, pod: object, systemd: object) -> None:
    life = samples.server()
    life.cgroup = 5
    names = Names()
    names.cgroups.learn(5, path)
    names.namespaces.learn(life.netns, "blue")
    told = printed(life, names)
    jsonschema.validate(told, SCHEMA, cls=jsonschema.Draft202012Validator)
    assert (told["netns_name"], told["cgroup"]) == ("blue", path)
    assert (told["container"], told["pod"], told["systemd"]) == (container, pod, systemd)
