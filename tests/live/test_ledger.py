"""The ledger agrees with the kernel's own counters, exactly, stage by stage."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Final, NamedTuple

import pytest

from tcptrace.kernel.hooks import MIGRATION_HOOK

from .namespaces import Namespace
from .occupied import occupied
from .overflows import (
    AMPLE,
    CASES,
    FULL,
    IDLE,
    UNREACHED,
    Case,
    as_counters,
    make_namespace,
    play_all,
    settled,
)
from .serving import Scrape, Serving
from .sockets import ESTABLISHED, LOOPBACK, connect, listen, states_at
from .waiting import until

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterator

_TINY_RING: Final = "8k"


class Told(NamedTuple):
    """What the exporter and the kernel say of one namespace."""

    scrape: Scrape
    netns: int
    kernel: Counter[str]
    lost: int


@pytest.fixture(scope="module", params=[pytest.param("ring", marks=pytest.mark.core), "tiny-ring"])
def told(request: pytest.FixtureRequest) -> Iterator[dict[Case, Told]]:
    """All cases played at once under one exporter, with a ring that is large enough or not."""
    ring = ["--ring-size", _TINY_RING] if request.param == "tiny-ring" else []
    with ExitStack() as stack:
        namespaces = {case: make_namespace(stack, case) for case in CASES}
        serving = stack.enter_context(Serving(*ring)).wait_until_tracing()
        kernels = play_all(namespaces)
        reads = settled(serving, (namespace.inode for namespace in namespaces.values()))
        lost = reads.total("tcptrace_events_lost_total")
        yield {case: Told(reads, namespaces[case].inode, kernels[case], lost) for case in CASES}


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_equals_the_kernels_counters(told: dict[Case, Told], case: Case) -> None:
    scrape, netns, kernel, _ = told[case]
    assert kernel["ListenOverflows"] > 0
    ours = as_counters(scrape, netns)
    assert ours == {name: kernel[name] for name in ours}
    drops = scrape.by("stage", "tcptrace_listener_drops_total", netns=netns)
    assert drops["other"] == case.icmp_drops
    if case.abort and not case.cookies:
        assert drops["ack_accept_queue_full"] == 0


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_says_itself_that_nothing_differs(told: dict[Case, Told], case: Case) -> None:
    scrape, netns, _, _ = told[case]
    differences = scrape.by("counter", "tcptrace_reconciliation_difference", netns=netns)
    assert len(differences) == 7
    assert set(differences.values()) == {0}


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_every_drop_is_on_its_listener(told: dict[Case, Told], case: Case) -> None:
    scrape, netns, _, _ = told[case]
    drops = scrape.by("port", "tcptrace_listener_drops_total", netns=netns)
    assert drops[str(FULL)] > 0
    assert drops[str(IDLE)] == drops[str(AMPLE)] == 0
    other = scrape.values(
        "tcptrace_listener_drops_total", netns=netns, port=UNREACHED, stage="other"
    )
    assert sum(other.values()) == case.icmp_drops
    assert scrape.value("tcptrace_listener_syns_total", netns=netns, port=IDLE) == 0
    assert (
        scrape.total("tcptrace_listener_syns_total", netns=netns, port=AMPLE)
        + scrape.total("tcptrace_syn_cookies_total", netns=netns, port=AMPLE, result="sent")
        == 3
    )


def test_events_are_lost_only_by_the_tiny_ring(
    told: dict[Case, Told], request: pytest.FixtureRequest
) -> None:
    lost = next(iter(told.values())).lost
    assert (lost > 0) == ("tiny-ring" in request.node.name)


@pytest.mark.once
def test_counts_what_a_closed_listener_loses_where_its_hook_is_refused() -> None:
    """The hook of migrations, which counts it one by one, is wanted and does not attach."""
    with (
        Namespace("ledger-unhooked") as namespace,
        occupied(MIGRATION_HOOK),
        Serving("--attach", "fentry").wait_until_tracing() as serving,
    ):
        with namespace.inside(), ExitStack() as clients, listen((LOOPBACK, FULL)):
            for _ in range(2):
                clients.enter_context(connect((LOOPBACK, FULL)))
            until(lambda: states_at(FULL, LOOPBACK)[ESTABLISHED] == 4, "both children")
        lost = {"netns": namespace.inode, "stage": "listener_closed"}
        until(lambda: serving.scrape().total("tcptrace_listener_drops_total", **lost), "a loss")
        scrape = serving.scrape()
    assert scrape.total("tcptrace_listener_drops_total", **lost) == 2
    assert not scrape.values("tcptrace_hook_misses_total", hook=MIGRATION_HOOK)
