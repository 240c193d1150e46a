from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from unit import samples, slots

from tcptrace.lifecycle.accept_waits import AcceptWaits
from tcptrace.lifecycle.ledger import DROP_STAGES, KEEP_CLOSED_NS, PEAK_WINDOW_NS, Ledger
from tcptrace.lifecycle.names import Names, PodNames
from tcptrace.lifecycle.overview import RATE_WINDOW_NS, Overview, Row
from tcptrace.sinks.listeners import SCHEMA as NAME
from tcptrace.sinks.listeners import as_json
from tcptrace.sinks.metrics.catalogue import COOKIE_RESULTS, STAGES
from tcptrace.sinks.units import WallClock
from tcptrace.wire.events import Stage
from tcptrace.wire.ledger import Count, Slot

PATH = Path(__file__).resolve().parents[2] / "docs/schema/listener-v1.json"
SCHEMA: dict[str, Any] = json.loads(PATH.read_text(encoding="utf-8"))
FIELDS = SCHEMA["properties"]

BUSY = slots.slot(
    counts={**dict.fromkeys(DROP_STAGES, 2), Count.COOKIE_SENT: 7, Count.SYN_QUEUED: 9},
    accept_queue_len=5,
    syn_queue_len=3,
    syn_queue_young=1,
    cgroup=7,
)
ID = "3f2a9c71d5e84b06" * 4
POD = f"/kubepods/burstable/pod2c48913c-b29f-11e7-9350-020968147796/{ID}"
NAMES = Names()
NAMES.namespaces.learn(slots.NETNS, "blue")
NAMES.containers.learn(ID, PodNames("nginx", "web-0", "shop"))
HOSTILE = b"\xff\x1b\"\n'" * 3 + b"\0"
LISTENERS: dict[str, dict[int, Slot]] = {
    "quiet": {1: slots.slot()},
    "busy": {1: BUSY},
    "reuseport": {1: BUSY, 2: slots.slot(pid=0), 3: slots.slot(syncookies=0)},
    "closed": {1: slots.slot(closed_at_ns=samples.START)},
    "overflow": {0: slots.overflow({Stage.OTHER: 1})},
    "ipv6": {1: slots.slot("2001:db8::1", 65535, syncookies=2)},
    "pod": {1: slots.slot(cgroup=9)},
    "hostile": {1: slots.slot(comm=HOSTILE, cgroup=8)},
}


def row_of(found: dict[int, Slot]) -> Row:
    """After two looks, with waits."""
    ledger, overview = Ledger(10), Overview()
    cgroups = {7: "/system.slice/nginx.service", 8: "/a\\xff\x1b[2J", 9: POD}
    waits = AcceptWaits()
    rows: list[Row] = []
    for second in (1, 4):
        ledger.absorb(slots.reading(second, found, cgroups=cgroups))
        of = {one.address: waits for one in ledger.listeners}
        rows = overview.look(ledger, of, samples.START + second * samples.S)
        waits.add(3 * samples.MS, samples.START + second * samples.S)
    return rows[-1]


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("name", LISTENERS)
def test_every_line_is_what_the_schema_says(name: str) -> None:
    at = WallClock(samples.head()).utc(samples.START)
    told = json.loads(as_json(row_of(LISTENERS[name]), at, NAMES))
    jsonschema.validate(told, SCHEMA, cls=jsonschema.Draft202012Validator)
    assert set(told) == set(SCHEMA["required"]) == set(FIELDS)
    for socket in told["sockets"]:
        item = FIELDS["sockets"]["items"]
        assert set(socket) == set(item["required"]) == set(item["properties"])


def test_a_time_that_the_calendar_lacks_is_null() -> None:
    told = json.loads(as_json(row_of(LISTENERS["quiet"]), None, Names()))
    jsonschema.validate(told, SCHEMA, cls=jsonschema.Draft202012Validator)


def test_every_stage_and_cookie_is_in_the_schema() -> None:
    stages = [stage.name.lower() for stage in DROP_STAGES]
    assert FIELDS["drops"]["required"] == list(FIELDS["drops"]["properties"]) == stages
    assert stages == list(STAGES)
    assert FIELDS["syn_cookies"]["required"] == list(COOKIE_RESULTS)
    assert FIELDS["schema"]["const"] == SCHEMA["$id"] == NAME


def test_the_times_that_it_names_are_the_ones_that_are_kept() -> None:
    assert "5 minutes" in SCHEMA["description"]
    assert KEEP_CLOSED_NS == 5 * 60 * samples.S
    assert "last 60 s" in SCHEMA["$defs"]["peak"]["description"]
    assert PEAK_WINDOW_NS == 60 * samples.S
    assert "last 5 s" in FIELDS["drop_rate"]["description"]
    assert RATE_WINDOW_NS == 5 * samples.S


def test_a_pods_listener_tells_of_both() -> None:
    told = json.loads(as_json(row_of(LISTENERS["pod"]), None, NAMES))
    assert told["netns_name"] == "blue"
    assert told["cgroup"] == POD
    assert told["container"] == {"id": ID, "runtime": None, "name": "nginx"}
    assert told["pod"] == {
        "uid": "2c48913c-b29f-11e7-9350-020968147796",
        "qos": "burstable",
        "name": "web-0",
        "namespace": "shop",
    }
    assert told["systemd"] is None
