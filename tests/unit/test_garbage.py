"""Memory is bounded without the garbage collector, whose full runs `watching` all but ends.

What is let go must be gone at once: nothing that goes on for as long as the tracer does may leave
objects that hold each other.
"""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

import pytest

from tcptrace.exporting import Exporter
from tcptrace.sinks.metrics.observed import new_tally
from tcptrace.sinks.web.server import MetricsServer
from tcptrace.sinks.web.settings import WebConfig
from tcptrace.verdicts.window import WINDOW_NS
from tcptrace.watching import Watch
from tcptrace.wire.decode import decode_batch
from unit import samples
from unit.lifecycle.histories import HISTORY
from unit.scraping import full_host
from unit.sinks.web.serving import talk

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _by_counting_alone() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def test_records_snapshots_and_scrapes_leave_none() -> None:
    watch = Watch(full_host(), new_tally(), 10, 5, WINDOW_NS)
    exporter = Exporter()
    exporter.watch = watch
    for step in range(3):
        records = [record._replace(netns=record.netns + step) for record in HISTORY.stream.records]
        watch.tracker.feed(decode_batch(samples.batch(*records)))
        watch.tracker.advance(records[-1].at_ns)
        watch.take_snapshot()
        # Not protobuf: its seven classes are garbage whenever nobody uses them, but made once.
        for accept in ("", "application/openmetrics-text"):
            exporter.render(accept)
        if step == 0:
            gc.collect()  # what is made once
    assert gc.collect() == 0


def test_requests_leave_none() -> None:
    server = MetricsServer(("127.0.0.1", 0), lambda _accept: (b"x", "text/plain"), WebConfig())
    server.start()
    try:
        for step in range(5):
            for request in (
                b"GET /metrics HTTP/1.0\r\n\r\n",
                b"GET /no HTTP/1.0\r\n\r\n",
                b"?\r\n\r\n",
            ):
                assert talk(server, request)
            if step == 0:
                gc.collect()
        assert gc.collect() == 0
    finally:
        server.close()
