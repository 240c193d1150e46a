from __future__ import annotations

import json
from typing import Any

import pytest

from tcptrace.lifecycle.connection import Connection, How, Outcome, Process, Side
from tcptrace.lifecycle.names import Names, PodNames
from tcptrace.otlp.spans import CLIENT, INTERNAL, SERVER, Spans, is_telling
from unit import samples
from unit.samples import MS, START, US, S

SHIFT_NS = 1_763_759_823 * S - START
CONTAINER = "0f" * 32


def told(life: Connection, names: Names | None = None) -> dict[str, Any]:
    trace = Spans(b"s" * 16, SHIFT_NS, names or Names()).of(life)
    assert trace is not None
    assert json.loads(json.dumps(trace)) == trace
    return trace


def by_name(trace: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {span["name"]: span for span in trace["spans"]}


def test_a_served_life_has_all_its_stages() -> None:
    spans = by_name(told(samples.server()))
    assert list(spans) == [
        "TCP server connection", "handshake", "SYN queue", "accept queue", "established", "close",
    ]  # fmt: skip
    root = spans["TCP server connection"]
    began = START + S + SHIFT_NS
    assert (root["start"], root["kind"]) == (began, SERVER)
    assert root["end"] == began + 112 * US + 3200 * MS + 290 * US
    lengths = {name: span["end"] - span["start"] for name, span in spans.items()}
    assert lengths["handshake"] == 112 * US
    assert lengths["SYN queue"] == 102 * US
    assert lengths["accept queue"] == 1300 * US - 102 * US
    assert lengths["established"] == 3200 * MS
    assert lengths["close"] == 290 * US
    assert "error" not in root
    told_of = root["attributes"]
    assert told_of["network.transport"] == "tcp"
    assert told_of["network.type"] == "ipv4"
    assert (told_of["server.address"], told_of["server.port"]) == ("10.0.0.1", 8080)
    assert (told_of["client.address"], told_of["client.port"]) == ("10.0.0.2", 53412)
    assert (told_of["network.peer.address"], told_of["network.peer.port"]) == ("10.0.0.2", 53412)
    assert (told_of["process.pid"], told_of["process.executable.name"]) == (1234, "nginx")
    assert told_of["tcptrace.closed.by"] == "remote"


def test_drops_and_retransmits_are_events() -> None:
    root = told(samples.overflowed())["spans"][0]
    assert [event["name"] for event in root["events"]] == [
        "syn_dropped", "syn_queued", "ack_dropped", "synack_retransmitted", "ack_dropped",
        "accepted",
    ]  # fmt: skip
    first = root["events"][0]
    assert first["at"] == root["start"]
    assert first["attributes"] == {
        "tcptrace.accept_queue.length": 2,
        "tcptrace.accept_queue.limit": 1,
        "tcptrace.syn_queue.length": 0,
        "tcptrace.stage": "syn_accept_queue_full",
    }
    assert root["attributes"]["tcptrace.final_ack.drops"] == 2


def test_a_failure_says_why() -> None:
    life = samples.dropped()
    trace = told(life)
    root = trace["spans"][0]
    assert root["error"].startswith("SYN dropped")
    assert root["attributes"]["error.type"] == "syn_dropped"
    refused = told(samples.refused())["spans"][0]
    assert refused["error"] == "refused"
    assert refused["kind"] == CLIENT


@pytest.mark.parametrize("life", samples.every_life(), ids=lambda life: str(life.outcome))
def test_every_stage_lies_within_the_life(life: Connection) -> None:
    trace = Spans(b"s" * 16, SHIFT_NS, Names()).of(life)
    if life.outcome is Outcome.OPEN:
        life.ended_at_ns = life.spans[-1].at_ns
        trace = told(life)
    assert trace is not None
    root, *stages = trace["spans"]
    assert len(trace["trace"]) == 32
    assert "parent" not in root
    for stage in stages:
        assert stage["parent"] == root["id"]
        assert stage["kind"] == INTERNAL
        assert root["start"] <= stage["start"] <= stage["end"] <= root["end"]
    ids = {span["id"] for span in trace["spans"]}
    assert len(ids) == len(trace["spans"])
    assert all(len(one) == 16 and int(one, 16) for one in ids)


def test_both_ends_name_each_other() -> None:
    near, far = samples.client(number=6), samples.server(number=7)
    near.peer_id, far.peer_id = 7, 6
    one, other = told(near), told(far)
    assert one["trace"] != other["trace"]
    assert one["spans"][0]["links"] == [{"trace": other["trace"], "span": other["spans"][0]["id"]}]
    assert other["spans"][0]["links"] == [{"trace": one["trace"], "span": one["spans"][0]["id"]}]


def test_another_run_has_other_ids() -> None:
    life = samples.server()
    other = Spans(b"t" * 16, SHIFT_NS, Names()).of(life)
    assert other is not None
    assert told(life)["trace"] != other["trace"]


def test_where_it_is_and_hostile_names() -> None:
    life = samples.server()
    life.cgroup, life.process = 5, Process(9, b"\x1b[2J\xff" * 3)
    names = Names()
    names.cgroups.learn(
        5, f"/kubepods/pod2c48913c-b29f-11e7-9350-020968147796/cri-containerd-{CONTAINER}.scope"
    )
    names.containers.learn(CONTAINER, PodNames("web\n", "web-0", "shop" * 500))
    names.namespaces.learn(life.netns, "blue")
    attributes = told(life, names)["spans"][0]["attributes"]
    assert attributes["container.id"] == CONTAINER
    assert attributes["k8s.pod.uid"] == "2c48913c-b29f-11e7-9350-020968147796"
    assert attributes["k8s.pod.name"] == "web-0"
    assert attributes["tcptrace.netns.name"] == "blue"
    for value in attributes.values():
        assert not isinstance(value, str) or (value.isprintable() and len(value) <= 256)


def test_a_life_without_times_is_nothing() -> None:
    life = samples.server()
    life.spans, life.syn_at_ns, life.ended_at_ns = [], None, None
    assert Spans(b"s" * 16, SHIFT_NS, Names()).of(life) is None


def test_what_is_worth_telling() -> None:
    plain = samples.server()
    assert not is_telling(plain)
    slow = samples.server()
    assert slow.queued_at_ns is not None
    slow.accepted_at_ns = slow.queued_at_ns + 100 * MS
    assert is_telling(slow)
    again = samples.server()
    again.synack_retransmits = 1
    assert is_telling(again)
    for telling in (samples.overflowed(), samples.dropped(), samples.refused()):
        assert is_telling(telling)
    reset = samples.server()
    reset.outcome, reset.closed_how, reset.closed_by = Outcome.RESET, How.RST_SENT, Side.LOCAL
    assert is_telling(reset)
    unseen = samples.server()
    unseen.outcome = Outcome.UNKNOWN
    assert not is_telling(unseen)
