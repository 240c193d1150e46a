"""What is sent is taken by a receiver that nobody here wrote: rotel, an OpenTelemetry collector.

It decodes what comes, and sends it on to an endpoint made of OpenTelemetry's own definitions.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from unit.otlp.endpoints import Endpoint, plain, wait_for

from tcptrace.sinks.metrics.catalogue import METRICS, Type

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
OVERFLOW = ROOT / "tests/data/faults/accept-queue-overflow.tcptrace"
ABSENT_HERE = {
    "tcptrace_program_runs_total",
    "tcptrace_program_run_seconds_total",
    "tcptrace_kernel_difference",
    "tcptrace_namespace_counts_suspect",
    "tcptrace_last_loss_timestamp_seconds",
    "tcptrace_last_heal_timestamp_seconds",
    "tcptrace_hook_events_lost_total",
}
"""What this recording has nothing to say of."""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
        return port


@contextmanager
def collector(onward: str, directory: Path) -> Iterator[str]:
    """rotel, which takes OTLP over HTTP and sends on what it took."""
    spec = find_spec("rotel")
    assert spec is not None, "make setup-python installs rotel"
    assert spec.origin is not None
    port = free_port()
    log = directory / "rotel.log"
    with log.open("wb") as told:
        child = subprocess.Popen(
            [
                Path(spec.origin).parent / "rotel-agent",
                "start",
                *("--pid-file", directory / "rotel.pid", "--log-file", log),
                *("--otlp-http-endpoint", f"127.0.0.1:{port}"),
                *("--otlp-grpc-endpoint", f"127.0.0.1:{free_port()}"),
                *("--exporter", "otlp", "--otlp-exporter-protocol", "http"),
                *("--otlp-exporter-endpoint", onward),
            ],
            stdout=told,
            stderr=told,
        )
    try:
        wait_for(lambda: answers(port))
        yield f"http://127.0.0.1:{port}"
    finally:
        child.terminate()
        child.wait(20)


def answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def test_a_collector_takes_metrics_and_spans(tmp_path: Path) -> None:
    with Endpoint() as endpoint, collector(endpoint.url, tmp_path) as url:
        command = [sys.executable, "-m", "tcptrace.cli.main", "serve", "--listen", "127.0.0.1:0"]
        command += ["--replay", str(OVERFLOW), "--speed", "max", "--otlp", url]
        environ = os.environ | {"OTEL_METRIC_EXPORT_INTERVAL": "1000"}
        with subprocess.Popen(
            command, env=environ, stderr=subprocess.PIPE, text=True, cwd=ROOT
        ) as serving:
            try:
                wait_for(lambda: endpoint.states > 1 and len(endpoint.roots) > 100)
            finally:
                serving.send_signal(signal.SIGTERM)
                _, notes = serving.communicate(timeout=60)
        assert serving.returncode == 0
        wait_for(lambda: "tcptrace_otlp_sent_total" in endpoint.metrics)
        sent = {
            plain(point.attributes)["signal"]: point.as_int
            for point in endpoint.metrics["tcptrace_otlp_sent_total"].sum.data_points
        }
        wait_for(lambda: len(endpoint.roots) >= sent["traces"])
    assert "replaying" in notes
    check_spans(endpoint)
    check_metrics(endpoint)


def check_spans(endpoint: Endpoint) -> None:
    names = {span.name for span in endpoint.spans}
    assert names == {
        "TCP client connection", "TCP server connection", "handshake", "SYN queue",
        "accept queue", "established", "close",
    }  # fmt: skip
    roots = {span.span_id: span for span in endpoint.roots}
    for span in endpoint.spans:
        assert span.start_time_unix_nano <= span.end_time_unix_nano
        if span.parent_span_id:
            assert roots[span.parent_span_id].trace_id == span.trace_id
    failed = [span for span in endpoint.roots if span.status.code == 2]
    assert failed
    assert all(span.status.message for span in failed)
    dropped = [
        event for span in endpoint.roots for event in span.events if event.name == "ack_dropped"
    ]
    assert dropped
    stages = {plain(event.attributes)["tcptrace.stage"] for event in dropped}
    assert stages == {"ack_accept_queue_full"}
    servers = [span for span in endpoint.roots if span.name == "TCP server connection"]
    assert {plain(span.attributes)["server.port"] for span in servers} == {8080}


def check_metrics(endpoint: Endpoint) -> None:
    expected = {
        name
        for metric in METRICS
        for name in (
            [f"{metric.name}{suffix}" for suffix in ("_bucket", "_gcount", "_gsum")]
            if metric.type is Type.GAUGE_HISTOGRAM
            else [metric.name]
        )
    }
    came = {name for name in endpoint.metrics if name.startswith("tcptrace_")}
    assert came == expected - ABSENT_HERE
    drops = endpoint.metrics["tcptrace_listener_drops_total"].sum.data_points
    full = [
        point.as_int
        for point in drops
        if plain(point.attributes)["stage"] == "ack_accept_queue_full"
    ]
    assert sum(full) > 0
    assert all(resource["service.name"] == "tcptrace" for resource in endpoint.resources)
