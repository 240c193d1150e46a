"""A live exporter's page tells of an overflow as it happens: cause, queues, drops, stories."""

from __future__ import annotations

import json
import time
import urllib.request
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import pytest

from .namespaces import Namespace
from .serving import Serving
from .sockets import LOOPBACK, Attempt, accept, counters, listen
from .waiting import until

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterator

pytestmark = [pytest.mark.once, pytest.mark.surfaces]

_PORT: Final = 8001
_LIMIT: Final = 1
_ATTEMPTS: Final = 12
_PERIOD_S: Final = 2.0


class Served(NamedTuple):
    """An overflow, and what the page was told of it."""

    page: str
    now: dict[str, Any]
    story: dict[str, Any]
    netns: int
    kernel: Counter[str]


def get(serving: Serving, path: str) -> Any:
    url = serving.url.removesuffix("metrics") + path
    with urllib.request.urlopen(url, timeout=60) as answer:  # noqa: S310 - ours
        text = answer.read().decode()
    return json.loads(text) if path.endswith(".json") else text


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with ExitStack() as stack:
        namespace = stack.enter_context(Namespace("page"))
        serving = stack.enter_context(Serving()).wait_until_tracing()
        with namespace.inside():
            listener = stack.enter_context(listen((LOOPBACK, _PORT), _LIMIT))
            attempts = [Attempt((LOOPBACK, _PORT)) for _ in range(_ATTEMPTS)]
            for attempt in attempts:
                stack.callback(attempt.socket.close)
            until(lambda: counters()["ListenOverflows"] >= 3 * _ATTEMPTS, "the queue to overflow")
            # Room for one whose SYN, or final ACK, has to come again.
            for _ in range(_LIMIT + 2):
                stack.enter_context(accept(listener))
            for attempt in attempts:
                attempt.socket.close()
        told: list[dict[str, Any]] = []

        def is_told() -> Counter[str] | None:
            """Clients that were let in by a cookie end, and their FINs are dropped as well: wait
            until there are none for a while."""
            time.sleep(_PERIOD_S)  # as the page does: the guest has one CPU
            with namespace.inside():
                kernel = counters()
            now = get(serving, "now.json")
            told.append(now)
            drops = [one for web in listeners(now, namespace.inode) for one in web["drops"]]
            dropped = sum(one["count"] for one in drops)
            is_whole = dropped == kernel["ListenDrops"] and now["slow"] and now["verdicts"]
            return kernel if is_whole else None

        kernel = until(is_told, "the page to be told")
        now = told[-1]
        story = get(serving, f"stories/{now['slow'][0]['id']}.json")
        assert kernel is not None
        yield Served(get(serving, ""), now, story, namespace.inode, kernel)


def listeners(now: dict[str, Any], netns: int) -> list[dict[str, Any]]:
    return [one for one in now["listeners"] if (one["netns"], one["port"]) == (netns, _PORT)]


def test_it_is_live(served: Served) -> None:
    assert '<script type="module" src="page.js">' in served.page
    assert served.now["trace"]["state"] == "live"
    assert served.now["notes"] == []


def test_the_cause_is_named(served: Served) -> None:
    verdict = served.now["verdicts"][0]
    assert (verdict["netns"], verdict["port"]) == (served.netns, _PORT)
    assert "accept queue" in verdict["headline"] or "accept" in verdict["cause"]


def test_the_queues_and_drops_are_the_kernels(served: Served) -> None:
    (web,) = listeners(served.now, served.netns)
    assert web["accept_queue_limit"] == _LIMIT
    series = web["series"]
    assert max(peak or 0 for peak in series["accept_queue_peaks"]) == _LIMIT + 1
    assert sum(drops or 0 for drops in series["drops"]) == served.kernel["ListenDrops"]
    by_stage = {one["stage"]: one["count"] for one in web["drops"]}
    overflows = by_stage.get("syn_accept_queue_full", 0) + by_stage.get("ack_accept_queue_full", 0)
    assert overflows == served.kernel["ListenOverflows"]


def test_each_drop_is_told_with_its_peer(served: Served) -> None:
    mine = [drop for drop in served.now["drops"] if drop["port"] == _PORT]
    assert len(mine) == min(50, served.kernel["ListenDrops"])
    for drop in mine:
        assert drop["peer"].startswith(f"{LOOPBACK}:")
        assert drop["accept_queue_len"] == _LIMIT + 1
        assert drop["listener"] == f"{LOOPBACK}:{_PORT}"


def test_a_slow_handshake_has_its_story(served: Served) -> None:
    story = served.story
    assert max(story["handshake_ns"] or 0, story["accept_wait_ns"] or 0) >= 100_000_000
    assert f":{_PORT}" in story["local"] + story["remote"]
    assert any("ESTABLISHED" in line["text"] for line in story["lines"])
