"""What the page is told is what docs/schema says, and the schema says nothing that is not told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tcptrace.browsing import Pages
from tcptrace.lifecycle.ledger import DROP_STAGES
from tcptrace.lifecycle.recent import Recent
from tcptrace.lifecycle.transitions import NEXT
from tcptrace.replay import AT_ONCE, ReplaySource
from tcptrace.sinks.metrics.observed import new_tally
from tcptrace.sinks.recording import RecordingReader
from tcptrace.stopping import Limits, Stop
from tcptrace.tcp import State
from tcptrace.verdicts.window import WINDOW_NS
from tcptrace.watching import Watch
from tcptrace.wire.events import Stage

ROOT = Path(__file__).resolve().parents[2]
FAULTS = sorted((ROOT / "tests/data/faults").glob("*.tcptrace"))


def schema_of(name: str) -> dict[str, Any]:
    schema: dict[str, Any] = json.loads((ROOT / f"docs/schema/{name}.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    return schema


NOW, STORY = schema_of("now-v1"), schema_of("story-v1")


def replayed(path: Path) -> Pages:
    """What there is to see once a recording is over."""
    pages = Pages()
    with path.open("rb") as file:
        source = ReplaySource(RecordingReader(file, path.name), AT_ONCE)
        pages.watch = Watch(source, new_tally(), 100, verdicts_ns=WINDOW_NS, recent=Recent())
        stop = Stop(Limits())

        def tick() -> None:
            stop.asked |= source.finished

        pages.watch.run(stop, tick)
        pages.watch.read_ledger()
        pages.watch.is_over = True
    return pages


def told_by(pages: Pages, path: str) -> dict[str, Any]:
    answer = pages.answer(path)
    assert answer is not None
    assert answer.content_type == "application/json"
    told: dict[str, Any] = json.loads(answer.body)
    return told


@pytest.mark.parametrize("path", FAULTS, ids=lambda path: path.stem)
def test_what_faults_come_to(path: Path) -> None:
    pages = replayed(path)
    now = told_by(pages, "/now.json")
    jsonschema.validate(now, NOW)
    assert now["trace"]["state"] == "over"
    for verdict in now["verdicts"]:
        assert all(verdict[part] for part in ("headline", "evidence", "advice"))
        assert verdict["advice"] not in verdict["evidence"]
    for life in [*now["slow"], *now["failed"]]:
        story = told_by(pages, f"/stories/{life['id']}.json")
        jsonschema.validate(story, STORY)
        assert story["lines"][0]["offset_ns"] == 0


def test_an_overflow_is_told_of_in_every_part() -> None:
    now = told_by(replayed(ROOT / "tests/data/faults/accept-queue-overflow.tcptrace"), "/now.json")
    web = now["listeners"][0]
    assert (web["port"], web["owner"]) == (8080, "web[194]")
    assert web["accept_queue_limit"] == 8
    assert max(web["series"]["accept_queue_peaks"]) == 9, "it is full one above its limit"
    in_steps = sum(web["series"]["drops"])
    assert in_steps == sum(one["count"] for one in web["drops"]) > 100
    assert {one["stage"] for one in web["drops"]} >= {"syn_accept_queue_full"}
    drop = now["drops"][0]
    assert (drop["port"], drop["owner"]) == (8080, "web[194]")
    assert drop["accept_queue_len"] > drop["accept_queue_limit"] == 8
    slowest = now["slow"][0]
    assert slowest["handshake_ns"] > 1_000_000_000, "the SYN's first retransmit"
    assert now["verdicts"][0]["port"] == 8080


def test_every_transition_and_state_is_told() -> None:
    now = told_by(replayed(ROOT / "tests/data/faults/healthy.tcptrace"), "/now.json")
    told = {(State[one["from"]], State[one["to"]]) for one in now["transitions"]}
    assert told >= {(old, new) for old, following in NEXT.items() for new in following}
    assert told - {(old, new) for old, following in NEXT.items() for new in following} == {
        (State.LISTEN, State.NEW_SYN_RECV),
        (State.LISTEN, State.SYN_RECV),
    }
    assert set(now["sockets"]) == {state.name for state in State} - {"CLOSE"}


def test_the_schema_knows_every_stage() -> None:
    fields = NOW["properties"]
    listener = fields["listeners"]["items"]["properties"]
    counted = listener["drops"]["items"]["properties"]["stage"]["enum"]
    assert sorted(counted) == sorted(stage.name.lower() for stage in DROP_STAGES)
    told = fields["drops"]["items"]["properties"]["stage"]["enum"]
    assert sorted(told) == sorted(stage.name.lower() for stage in Stage)
