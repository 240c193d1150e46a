"""The metrics of listeners, as they are scraped."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tcptrace.lifecycle.ledger import Ledger
from tcptrace.lifecycle.names import PodNames
from tcptrace.sinks.metrics.catalogue import COOKIE_RESULTS, STAGES
from tcptrace.sinks.metrics.families import label_text
from tcptrace.wire.events import Stage
from unit import slots
from unit.hosts import FakeHost
from unit.scraping import OPENMETRICS, Scrape, exporter_of, full_host, scrape

if TYPE_CHECKING:
    from tcptrace.wire.ledger import LedgerReading, Slot

WEB = {"netns": slots.NETNS, "address": "0.0.0.0", "port": 8080}  # noqa: S104 - in a table
GROUP = {"netns": slots.NETNS, "address": "::", "port": 8080}


@pytest.fixture(scope="module")
def full() -> Scrape:
    return scrape(exporter_of(full_host()))


def of(*found: Slot, most: int = 100) -> Scrape:
    host = FakeHost(step_ms=1000)
    host.slots = dict(enumerate(found, 1))
    return scrape(exporter_of(host, most))


def test_queues(full: Scrape) -> None:
    for name, value in (
        ("accept_queue_length", 2),
        ("accept_queue_limit", 128),
        ("accept_queue_peak", 2),
        ("syn_queue_length", 3),
        ("syn_queue_young", 1),
        ("syn_queue_limit", 128),
        ("syn_queue_peak", 3),
        ("sockets", 1),
        ("syns_total", 9),
    ):
        assert full.value(f"tcptrace_listener_{name}", **WEB) == value, name
    fill = full.value("tcptrace_listener_accept_queue_fullest_ratio", **WEB)
    assert fill == pytest.approx(2 / 129)


def test_a_reuseport_group_is_added_up_but_its_fullest_is_told(full: Scrape) -> None:
    assert full.value("tcptrace_listener_sockets", **GROUP) == 2
    assert full.value("tcptrace_listener_accept_queue_length", **GROUP) == 4
    assert full.value("tcptrace_listener_accept_queue_limit", **GROUP) == 4
    assert full.value("tcptrace_listener_accept_queue_fullest_ratio", **GROUP) == 1


def test_every_stage_and_cookie_result_is_there_from_the_start(full: Scrape) -> None:
    """A rate needs two samples, and the first drop is worth an alert."""
    for labels in full.labels_of("tcptrace_listener_sockets"):
        drops = [
            found["stage"]
            for found in full.labels_of("tcptrace_listener_drops_total")
            if labels.items() <= found.items()
        ]
        results = [
            found["result"]
            for found in full.labels_of("tcptrace_syn_cookies_total")
            if labels.items() <= found.items()
        ]
        assert (drops, results) == (list(STAGES), list(COOKIE_RESULTS))
    value = full.value
    assert value("tcptrace_listener_drops_total", stage="syn_accept_queue_full", **WEB) == 3
    assert value("tcptrace_listener_drops_total", stage="other", **WEB) == 0
    assert value("tcptrace_syn_cookies_total", result="sent", **WEB) == 2
    assert value("tcptrace_syn_cookies_total", result="invalid", **WEB) == 0
    assert value("tcptrace_listener_accepts_total", **GROUP) == 0


def test_accepts_and_their_waits(full: Scrape) -> None:
    assert full.value("tcptrace_listener_accepts_total", **WEB) == 1
    assert full.value("tcptrace_listener_accept_wait_seconds_total", **WEB) == 2e-6


def test_a_closed_listener_has_counters_and_no_queues(full: Scrape) -> None:
    closed = {"netns": slots.NETNS, "address": "::1", "port": 22}
    assert full.value("tcptrace_listener_sockets", **closed) == 0
    assert full.value("tcptrace_listener_drops_total", stage="listener_closed", **closed) == 1
    ports = [one["port"] for one in full.labels_of("tcptrace_listener_accept_queue_length")]
    assert "22" not in ports
    assert "8080" in ports


def test_listeners_without_a_slot_are_counted_and_have_no_queues(full: Scrape) -> None:
    nameless = {"netns": 0, "address": "other", "port": 0}
    assert full.value("tcptrace_listener_drops_total", stage="other", **nameless) == 4
    for name in ("accept_queue_length", "accept_queue_limit", "accepts_total", "info"):
        told = full.labels_of(f"tcptrace_listener_{name}")
        assert all(labels["address"] != "other" for labels in told), name
    assert full.value("tcptrace_listeners_folded") == 0


def test_listeners_beyond_the_limit_are_added_up() -> None:
    many = [slots.slot(port=n, accept_queue_len=n, counts={Stage.OTHER: 1}) for n in range(1, 21)]
    told = of(*many, most=4)
    rest = {"netns": slots.NETNS, "address": "other", "port": 0}
    assert told.value("tcptrace_listeners_folded") == 16
    assert told.value("tcptrace_listener_sockets", **rest) == 16
    assert told.value("tcptrace_listener_accept_queue_length", **rest) == sum(range(5, 21))
    assert told.value("tcptrace_listener_drops_total", stage="other", **rest) == 16
    assert len(told.labels_of("tcptrace_listener_sockets")) == 5
    assert len(told.labels_of("tcptrace_listener_info")) == 4


def test_who_listens(full: Scrape) -> None:
    info = {labels["port"]: labels for labels in full.labels_of("tcptrace_listener_info")}
    assert (info["8080"]["comm"], info["8080"]["cgroup"]) == ("nginx", "")
    assert info["668"]["comm"] == ""
    assert info["667"]["comm"] == "\\xff" * 15
    hostile = info["666"]
    assert hostile["comm"] == '\\xff"\\n\\{}=,\\x1b['
    assert hostile["cgroup"].startswith('"evil"\\n\\x\\x1b[2J\\u202e\\x85zzz')
    assert len(hostile["cgroup"]) == 64


def test_containers_pods_and_units_are_on_the_info_alone() -> None:
    container = "5e1f" * 16
    uid = "2c48913c-b29f-11e7-9350-020968147796"
    cgroups = {
        1: f"/kubepods/burstable/pod{uid}/{container}",
        2: "/system.slice/shop.service",
    }
    host = FakeHost(step_ms=1000)
    host.slots = {n: slots.slot(port=n, cgroup=n) for n in (1, 2, 3)}
    host.names.containers.learn(container, PodNames("nginx", "web-0", "a\n" * 100))
    host.names.namespaces.learn(slots.NETNS, "blue")
    reading = host.ledger_reading

    def named() -> LedgerReading | None:
        told = reading()
        return told and told._replace(cgroups=cgroups)

    host.ledger_reading = named  # type: ignore[method-assign]
    scraped = scrape(exporter_of(host, seconds=1))
    info = {labels["port"]: labels for labels in scraped.labels_of("tcptrace_listener_info")}
    names = ("netns_name", "container_id", "container_name", "pod_name", "pod_uid", "unit")
    assert [info["1"][name] for name in names] == ["blue", container, "nginx", "web-0", uid, ""]
    assert info["1"]["pod_namespace"] == ("a\\n" * 100)[:64]
    assert [info["2"][name] for name in names] == ["blue", "", "", "", "", "shop.service"]
    assert [info["3"][name] for name in names] == ["blue", "", "", "", "", ""]
    for name, family in scraped.families.items():
        if name != "tcptrace_listener_info":
            labels = {label for sample in family.samples for label in sample.labels}
            assert not labels & set(names), name


def test_labels_follow_what_becomes_known_and_leave_with_their_listener() -> None:
    container = "5e1f" * 16
    host = FakeHost(step_ms=1000)
    host.slots = {n: slots.slot(port=n, cgroup=1) for n in (1, 2)}
    reading = host.ledger_reading

    def named() -> LedgerReading | None:
        told = reading()
        return told and told._replace(cgroups={1: f"/docker-{container}.scope"})

    host.ledger_reading = named  # type: ignore[method-assign]
    exporter = exporter_of(host, seconds=1)

    def pods() -> dict[str, str]:
        info = scrape(exporter).labels_of("tcptrace_listener_info")
        return {labels["port"]: labels["pod_name"] for labels in info}

    assert pods() == {"1": "", "2": ""}
    host.names.containers.learn(container, PodNames("nginx", "web-0", "shop"))
    assert pods() == {"1": "web-0", "2": "web-0"}
    watch = exporter.watch
    assert watch is not None
    host.slots = {1: host.slots[1]._replace(closed_at_ns=host.now_ns(), cgroup=2)}
    watch.ledger = Ledger(100)
    watch.read_ledger()
    assert pods() == {"1": ""}
    assert len(exporter._listeners._labels) == len(exporter._listeners._infos) == 1


@given(st.text(max_size=200) | st.text(st.characters(categories=["Cs", "Cc", "Cf"])))
def test_a_label_is_printable_and_bounded(text: str) -> None:
    label = label_text(text)
    assert label.isprintable()
    assert len(label) <= 64
    label.encode()


@settings(max_examples=30)
@given(st.binary(min_size=16, max_size=16), st.text(max_size=100))
def test_whatever_a_process_calls_itself_it_can_be_scraped(comm: bytes, cgroup: str) -> None:
    host = FakeHost(step_ms=1000)
    host.slots = {1: slots.slot(comm=comm, cgroup=9)}
    reading = host.ledger_reading

    def named() -> object:
        told = reading()
        assert told is not None
        return told._replace(cgroups={9: cgroup})

    host.ledger_reading = named  # type: ignore[method-assign, assignment]
    exporter = exporter_of(host, seconds=1)
    for accept in (OPENMETRICS, "text/plain"):
        (info,) = scrape(exporter, accept).labels_of("tcptrace_listener_info")
        assert info["comm"].isprintable()
        assert info["cgroup"].isprintable()
