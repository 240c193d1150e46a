"""A live exporter sends by OTLP what the kernel really did, while it is confined as ever."""

from __future__ import annotations

import os
import pwd
import signal
import socket
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import pytest
from unit.otlp.endpoints import Endpoint, plain

from .namespaces import Namespace
from .serving import Serving
from .sockets import LOOPBACK, Attempt, accept, connect, counters, listen
from .waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.proto.trace.v1.trace_pb2 import Span

pytestmark = [pytest.mark.once, pytest.mark.surfaces]

_PORT: Final = 8001
_SLOW_PORT: Final = 8002
_CLOSED_PORT: Final = 8003
_LIMIT: Final = 1
_ATTEMPTS: Final = 6
_WAIT_S: Final = 0.4
_MS: Final = 1_000_000


class Played(NamedTuple):
    """Faults that an endpoint was told of."""

    endpoint: Endpoint
    serving: Serving
    netns: int

    def roots(self, port: int) -> list[Span]:
        """Connections of a port in that namespace, as far as they have come."""
        return [
            span
            for span in list(self.endpoint.roots)
            if (told := plain(span.attributes))["tcptrace.netns.inode"] == self.netns
            and told["server.port"] == port
        ]

    def stages(self, root: Span) -> dict[str, Span]:
        """What lies in it."""
        return {
            span.name: span for span in self.endpoint.spans if span.parent_span_id == root.span_id
        }


@pytest.fixture(scope="module")
def played() -> Iterator[Played]:
    with ExitStack() as stack:
        variables = stack.enter_context(pytest.MonkeyPatch.context())
        variables.setenv("OTEL_METRIC_EXPORT_INTERVAL", "1000")
        namespace = stack.enter_context(Namespace("otlp"))
        endpoint = stack.enter_context(Endpoint())
        serving = stack.enter_context(Serving("--otlp", endpoint.url))
        serving.wait_until_tracing()
        with namespace.inside():
            refused = Attempt((LOOPBACK, _CLOSED_PORT))
            until(refused.outcome, "the connect to be refused")
            refused.socket.close()
            slow = stack.enter_context(listen((LOOPBACK, _SLOW_PORT)))
            with connect((LOOPBACK, _SLOW_PORT)):
                # The fault itself: an accept loop that was busy.
                time.sleep(_WAIT_S)
                accept(slow).close()
            full = stack.enter_context(listen((LOOPBACK, _PORT), _LIMIT))
            attempts = [Attempt((LOOPBACK, _PORT)) for _ in range(_ATTEMPTS)]
            until(lambda: counters()["ListenOverflows"] >= _ATTEMPTS, "the queue to overflow")
            for attempt in attempts:
                attempt.socket.close()
            full.close()
        yield Played(endpoint, serving, namespace.inode)


def test_a_refused_connect_is_a_failed_span(played: Played) -> None:
    (root,) = until(lambda: played.roots(_CLOSED_PORT), "its span")
    assert (root.name, root.status.code) == ("TCP client connection", 2)
    assert root.status.message.startswith("refused")
    assert plain(root.attributes)["error.type"] == "refused"
    assert [event.name for event in root.events] == ["reset_received"]


def test_a_slow_accept_is_told_at_its_stage(played: Played) -> None:
    """Nothing was lost or sent again: it is of plain course, but for its wait."""
    servers = until(
        lambda: [one for one in played.roots(_SLOW_PORT) if one.name.startswith("TCP server")],
        "its span",
    )
    (root,) = servers
    stages = played.stages(root)
    assert list(stages) == ["handshake", "SYN queue", "accept queue", "established", "close"]
    wait = stages["accept queue"]
    waited_ns = wait.end_time_unix_nano - wait.start_time_unix_nano
    assert waited_ns >= _WAIT_S * 1000 * _MS
    handshake = stages["handshake"]
    assert handshake.end_time_unix_nano - handshake.start_time_unix_nano < waited_ns
    assert root.status.code == 0
    told: dict[str, Any] = plain(root.attributes)
    assert told["process.pid"] == os.getpid()


def test_an_overflow_is_told_with_its_drops(played: Played) -> None:
    dropped = until(
        lambda: [
            event
            for span in played.roots(_PORT)
            for event in span.events
            if event.name in ("syn_dropped", "ack_dropped")
        ],
        "drops",
    )
    stages = {plain(event.attributes)["tcptrace.stage"] for event in dropped}
    assert stages <= {"syn_accept_queue_full", "ack_accept_queue_full"}
    for event in dropped:
        told = plain(event.attributes)
        assert told["tcptrace.accept_queue.length"] > told["tcptrace.accept_queue.limit"] == _LIMIT


def test_metrics_come_too(played: Played) -> None:
    def overflows() -> int:
        family = played.endpoint.metrics.get("tcptrace_listener_drops_total")
        if family is None:
            return 0
        return sum(
            point.as_int
            for point in family.sum.data_points
            if plain(point.attributes)["netns"] == str(played.netns)
        )

    until(lambda: overflows() >= _ATTEMPTS, "the overflow in the metrics")
    resource = played.endpoint.resources[-1]
    assert resource["host.name"] == socket.gethostname()
    assert resource["os.version"] == os.uname().release


def test_both_processes_are_confined(played: Played) -> None:
    pid = played.serving.pid
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    assert len(children) == 1
    for process in (pid, *children):
        lines = Path(f"/proc/{process}/status").read_text(encoding="ascii").splitlines()
        status = {name: value.strip() for name, _, value in (one.partition(":") for one in lines)}
        assert status["Uid"].split() == [str(pwd.getpwnam("nobody").pw_uid)] * 4
        assert status["Seccomp"] == "2"
        assert status["NoNewPrivs"] == "1"
        assert {int(status[name], 16) for name in ("CapEff", "CapPrm", "CapBnd")} == {0}


def test_it_ends_and_leaves_nobody_behind(played: Played) -> None:
    pid = played.serving.pid
    (child,) = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    played.serving.process.send_signal(signal.SIGTERM)
    assert played.serving.wait() == 0
    until(lambda: not Path(f"/proc/{child}").exists(), "the child to end")
    assert "Traceback" not in played.serving.stderr
