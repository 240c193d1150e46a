"""Sending for real: the child is the real one, and the endpoints are real sockets."""

from __future__ import annotations

import os
import signal
import socket
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tcptrace.errors import CannotTrace
from tcptrace.lifecycle.names import Names
from tcptrace.otlp.outbox import MOST_AT_ONCE, Outbox
from tcptrace.otlp.settings import read_settings
from tcptrace.sinks.metrics.exposition import PROTOBUF
from unit import samples
from unit.otlp.endpoints import Endpoint, Reply, Rude, plain, wait_for
from unit.scraping import exporter_of, full_host, scrape
from unit.sinks.web.certificates import make

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tcptrace.lifecycle.connection import Connection
    from unit.sinks.web.certificates import Certificates

QUICK = "300"
"""Milliseconds for a request to those that never answer."""


@contextmanager
def sending(url: str, **environ: str) -> Iterator[Outbox]:
    outbox = Outbox(read_settings(url, environ), url, "nobody")
    try:
        outbox.begin(samples.head(), Names())
        yield outbox
    finally:
        outbox.close()


def failed(number: int = 20) -> Connection:
    life = samples.refused()
    life.id = number
    return life


def lost(outbox: Outbox) -> dict[tuple[str, str], int]:
    return {key: count for key, count in outbox.deliveries.lost.items() if count}


def children(outbox: Outbox) -> int:
    return outbox._child.process.pid


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make(tmp_path_factory.mktemp("certificates"))


def test_lives_arrive_as_spans() -> None:
    with Endpoint() as endpoint, sending(endpoint.url) as outbox:
        outbox.offer(failed())
        outbox.offer(samples.overflowed())
        outbox.offer(samples.server())  # of plain course: not worth it
        wait_for(lambda: outbox.deliveries.sent["traces"] == 2, outbox.look)
        assert [span.name for span in endpoint.roots] == [
            "TCP client connection",
            "TCP server connection",
        ]
        refused, overflowed = endpoint.roots
        assert (refused.status.code, refused.status.message) == (2, "refused")
        assert overflowed.status.code == 0
        assert [event.name for event in overflowed.events][:2] == ["syn_dropped", "syn_queued"]
        stages = [span for span in endpoint.spans if span.parent_span_id == overflowed.span_id]
        assert [span.name for span in stages] == [
            "handshake", "SYN queue", "accept queue", "established", "close",
        ]  # fmt: skip
        assert {span.trace_id for span in stages} == {overflowed.trace_id}
        assert plain(overflowed.attributes)["server.port"] == 8080
        assert overflowed.start_time_unix_nano == 1_763_759_825 * samples.S
        resource = endpoint.resources[0]
        assert resource["service.name"] == "tcptrace"
        assert resource["host.name"] == resource["service.instance.id"] == "web-3"
        assert (resource["host.arch"], resource["os.version"]) == ("amd64", "6.1.0-28-amd64")
        assert not lost(outbox)
        assert not outbox.take_news()


def test_metrics_are_what_a_scrape_has() -> None:
    """Every family, label and value: only how they are told differs."""
    exporter = exporter_of(full_host())
    scraped = {
        (one.name, tuple(sorted(one.labels.items()))): one.value
        for one in scrape(exporter, "").samples
        if not one.name.startswith("process_") and not one.name.endswith("_created")
    }
    with Endpoint() as endpoint, sending(endpoint.url) as outbox:
        assert outbox.wants_metrics()
        outbox.put_metrics(exporter.render(PROTOBUF)[0])
        assert not outbox.wants_metrics()
        wait_for(lambda: outbox.deliveries.sent["metrics"] == 1, outbox.look)
        came: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
        for metric in endpoint.metrics.values():
            kind = metric.WhichOneof("data")
            for point in getattr(metric, str(kind)).data_points:
                labels = plain(point.attributes)
                if kind == "histogram":
                    _add_histogram(came, metric.name, labels, point)
                else:
                    value = getattr(point, point.WhichOneof("value"))
                    came[metric.name, tuple(sorted(labels.items()))] = value
                if kind != "gauge":
                    assert 0 < point.start_time_unix_nano < point.time_unix_nano
            if kind != "gauge":
                assert getattr(metric, str(kind)).aggregation_temporality == 2
            if kind == "sum":
                assert metric.sum.is_monotonic
                assert metric.name.endswith("_total")
    came = {key: value for key, value in came.items() if not key[0].startswith("process_")}
    assert came.keys() == scraped.keys()
    assert came == pytest.approx(scraped)
    assert endpoint.metrics["tcptrace_handshake_seconds"].unit == "s"
    assert "tcptrace_socket_age_seconds_bucket" in endpoint.metrics


def _add_histogram(
    came: dict[tuple[str, tuple[tuple[str, str], ...]], float],
    name: str,
    labels: dict[str, str],
    point: object,
) -> None:
    total = 0
    bounds = [repr(bound) for bound in point.explicit_bounds]  # type: ignore[attr-defined]
    counts = point.bucket_counts  # type: ignore[attr-defined]
    for bound, count in zip([*bounds, "+Inf"], counts, strict=True):
        total += count
        came[f"{name}_bucket", tuple(sorted({**labels, "le": bound}.items()))] = total
    key = tuple(sorted(labels.items()))
    assert total == point.count  # type: ignore[attr-defined]
    came[f"{name}_count", key] = point.count  # type: ignore[attr-defined]
    came[f"{name}_sum", key] = point.sum  # type: ignore[attr-defined]


def test_headers_and_compression() -> None:
    with (
        Endpoint() as endpoint,
        sending(
            endpoint.url,
            OTEL_EXPORTER_OTLP_HEADERS="x-scope-orgid=blue",
            OTEL_EXPORTER_OTLP_COMPRESSION="gzip",
            OTEL_RESOURCE_ATTRIBUTES="k8s.node.name=n1,host.name=other",
        ) as outbox,
    ):
        outbox.offer(failed())
        wait_for(lambda: bool(endpoint.roots), outbox.look)
        headers = endpoint.headers[0]
        assert headers["x-scope-orgid"] == "blue"
        assert headers["content-type"] == "application/x-protobuf"
        assert headers["content-encoding"] == "gzip"
        assert endpoint.resources[0]["k8s.node.name"] == "n1"
        assert endpoint.resources[0]["host.name"] == "other"


def test_the_child_has_no_privileges_and_is_confined() -> None:
    with Endpoint() as endpoint, sending(endpoint.url) as outbox:
        status = Path(f"/proc/{children(outbox)}/status").read_text(encoding="ascii")
        told = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        assert told["NoNewPrivs"] == "1"
        assert told["Seccomp"] == "2"
        if os.geteuid() == 0:
            assert set(told["Uid"].split()) == {"65534"}
            assert {int(told[name], 16) for name in ("CapPrm", "CapEff", "CapBnd")} == {0}


def answers_garbage(connection: socket.socket) -> None:
    connection.recv(1 << 16)
    connection.sendall(b"\x00\x00\x12\x04\x00\x00\x00\x00\x00\x00\x03 \x1b[2J\r\n\r\n")
    connection.close()


def never_answers(connection: socket.socket) -> None:
    while connection.recv(1 << 16):
        pass


def closes_at_once(connection: socket.socket) -> None:
    connection.close()


def answers_a_byte_a_moment(connection: socket.socket) -> None:
    connection.recv(1 << 16)
    for byte in b"HTTP/1.1 200 OK\r\ncontent-length: 999\r\n\r\n" + b"x" * 999:
        connection.sendall(bytes([byte]))
        time.sleep(0.05)


def answers_without_end(connection: socket.socket) -> None:
    connection.recv(1 << 16)
    connection.sendall(b"HTTP/1.1 503 x\r\ncontent-type: text/plain\r\n\r\n")
    while True:
        connection.sendall(b"x" * 65536)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (answers_garbage, "what it answers is not HTTP"),
        (never_answers, "no answer within 0.3 s"),
        (closes_at_once, "it closes the connection"),
        (answers_a_byte_a_moment, "no answer within 0.3 s"),
        (answers_without_end, "it answers 503"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_rude_endpoint_is_said_once(answer: Callable[[socket.socket], None], words: str) -> None:
    with (
        Rude(answer) as endpoint,
        sending(endpoint.url, OTEL_EXPORTER_OTLP_TIMEOUT=QUICK) as outbox,
    ):
        outbox.offer(failed())
        wait_for(lambda: endpoint.came >= 2, outbox.look)
        wait_for(lambda: bool(outbox.deliveries.troubles), outbox.look)
        (line,) = outbox.take_news()
        assert words in line
        assert line.startswith(f"--otlp {endpoint.url}: traces: ")
        assert "tcptrace_otlp_lost_total" in line
        assert not lost(outbox), "it is kept, and tried again"
        outbox.close()
    assert lost(outbox) == {("traces", "unsent"): 1}
    assert "1 connection could not be sent" in outbox.take_news()[0]


def test_one_that_comes_back_gets_what_waited() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with sending(f"http://127.0.0.1:{port}") as outbox:
        outbox.offer(failed())
        wait_for(lambda: "traces" in outbox.deliveries.troubles, outbox.look)
        (line,) = outbox.take_news()
        assert "can't be reached: Connection refused" in line
        with Endpoint(port=port) as endpoint:
            wait_for(lambda: outbox.deliveries.sent["traces"] == 1, outbox.look)
            assert len(endpoint.roots) == 1
        assert not outbox.deliveries.troubles
        (line,) = outbox.take_news()
        assert "takes them again" in line
        assert not lost(outbox)


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_busy_one_is_asked_again_when_it_says(status: int) -> None:
    with Endpoint() as endpoint, sending(endpoint.url) as outbox:
        endpoint.replies = [Reply(status, {"retry-after": "2"}, b"busy")]
        began_s = time.monotonic()
        outbox.offer(failed())
        wait_for(lambda: outbox.deliveries.sent["traces"] == 1, outbox.look)
        assert time.monotonic() - began_s >= 2
        assert endpoint.asked == 2
        assert len(endpoint.roots) == 1


@pytest.mark.parametrize("status", [301, 400, 401, 404, 413, 500])
def test_a_refusal_is_final_and_counted(status: int) -> None:
    with Endpoint() as endpoint, sending(endpoint.url) as outbox:
        headers = {"content-type": "text/plain", "location": "http://127.0.0.1:1/"}
        endpoint.replies = [Reply(status, headers, b"no \x1b[2J way" + b"x" * 100_000)]
        outbox.offer(failed())
        wait_for(lambda: bool(outbox.deliveries.troubles), outbox.look)
        assert lost(outbox) == {("traces", "refused"): 1}
        (line,) = outbox.take_news()
        assert f"it answers {status} no" in line
        assert len(line) < 400
        outbox.offer(failed(9))
        wait_for(lambda: outbox.deliveries.sent["traces"] == 1, outbox.look)
        assert endpoint.asked == 2


def test_a_part_that_is_rejected_is_counted() -> None:
    with Endpoint() as endpoint, sending(endpoint.url) as outbox:
        # partial_success { rejected_spans: 2, error_message: "too old" }
        endpoint.replies = [Reply(body=b"\x0a\x0b\x08\x02\x12\x07too old")]
        outbox.offer(failed())
        wait_for(lambda: outbox.deliveries.sent["traces"] == 1, outbox.look)
        assert outbox.deliveries.rejected["traces"] == 2
        (line,) = outbox.take_news()
        assert "it rejects a part: too old" in line


def test_one_that_says_ok_in_other_words_has_taken_it() -> None:
    with Endpoint() as endpoint, sending(endpoint.url) as outbox:
        endpoint.replies = [Reply(body=b"<html>welcome</html>")]
        outbox.offer(failed())
        wait_for(lambda: outbox.deliveries.sent["traces"] == 1, outbox.look)
        assert not outbox.deliveries.rejected["traces"]


def test_the_newest_metrics_go_before_those_that_could_not_be_sent() -> None:
    exposition = exporter_of(full_host()).render(PROTOBUF)[0]
    with Endpoint() as endpoint, sending(endpoint.url) as outbox:
        endpoint.replies = [Reply(503)]
        outbox.put_metrics(exposition)
        wait_for(lambda: endpoint.asked == 1, outbox.look)
        outbox.put_metrics(exposition)
        wait_for(lambda: outbox.deliveries.sent["metrics"] == 1, outbox.look)
        assert endpoint.states == 1
        assert lost(outbox) == {("metrics", "unsent"): 1}


def test_one_signal_that_is_refused_does_not_keep_the_other() -> None:
    exposition = exporter_of(full_host()).render(PROTOBUF)[0]
    with (
        Rude(never_answers) as silent,
        Endpoint() as endpoint,
        sending(
            endpoint.url,
            OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=f"{silent.url}/v1/traces",
            OTEL_EXPORTER_OTLP_TIMEOUT=QUICK,
        ) as outbox,
    ):
        for number in range(50):
            outbox.offer(failed(number))
        outbox.put_metrics(exposition)
        wait_for(lambda: endpoint.states == 1, outbox.look)
        wait_for(lambda: "traces" in outbox.deliveries.troubles, outbox.look)
        assert "metrics" not in outbox.deliveries.troubles


def test_more_than_a_second_takes_is_left_out_counted_and_said() -> None:
    with Endpoint() as endpoint, sending(endpoint.url) as outbox:
        began_s = time.monotonic()
        for number in range(2 * MOST_AT_ONCE):
            outbox.offer(failed(number))
        wait_for(lambda: outbox.deliveries.sent["traces"] >= MOST_AT_ONCE, outbox.look)
        left_out = lost(outbox)["traces", "too_many"]
        allowed = MOST_AT_ONCE + 20 * (time.monotonic() - began_s)
        assert 2 * MOST_AT_ONCE - allowed <= left_out <= MOST_AT_ONCE
        wait_for(
            lambda: outbox.deliveries.sent["traces"] + left_out == 2 * MOST_AT_ONCE, outbox.look
        )
        (line,) = outbox.take_news()
        assert "more than 20 connections a second" in line
        outbox.offer(failed())
        assert not outbox.take_news()


def test_a_child_that_dies_is_said_and_nothing_else_happens() -> None:
    with Endpoint() as endpoint, sending(endpoint.url) as outbox:
        os.kill(children(outbox), signal.SIGKILL)
        wait_for(lambda: bool(outbox.deliveries.troubles), outbox.look)
        (line,) = outbox.take_news()
        assert "has died" in line
        outbox.offer(failed())
        outbox.put_metrics(b"")
        outbox.look()
        assert lost(outbox) == {("traces", "unsent"): 1, ("metrics", "unsent"): 1}


def test_signals_to_the_group_leave_the_child_its_last_words() -> None:
    """As Ctrl-C and systemd do: it has more to send."""
    with Endpoint() as endpoint, sending(endpoint.url) as outbox:
        for number in (signal.SIGINT, signal.SIGTERM):
            os.kill(children(outbox), number)
        outbox.offer(failed())
        outbox.close()
        assert len(endpoint.roots) == 1


def test_the_end_comes_in_time_whatever_the_endpoint_does() -> None:
    with (
        Rude(never_answers) as endpoint,
        sending(endpoint.url, OTEL_EXPORTER_OTLP_TIMEOUT="60000") as outbox,
    ):
        for number in range(100):
            outbox.offer(failed(number))
        outbox.look()
        wait_for(lambda: endpoint.came == 1, outbox.look)
        began_s = time.monotonic()
        outbox.close()
        assert time.monotonic() - began_s < 6
        assert outbox._child.process.returncode == 0
        assert lost(outbox) == {("traces", "unsent"): 100}
        (line,) = outbox.take_news()
        assert "100 connections could not be sent" in line


def test_tls_by_an_authority_that_is_named(certificates: Certificates) -> None:
    server = (certificates.server.certificate, certificates.server.key)
    ca = str(certificates.authority.certificate)
    with Endpoint(server) as endpoint:
        with sending(endpoint.url, OTEL_EXPORTER_OTLP_CERTIFICATE=ca) as outbox:
            outbox.offer(failed())
            wait_for(lambda: len(endpoint.roots) == 1, outbox.look)
        with sending(endpoint.url) as outbox:
            outbox.offer(failed())
            wait_for(lambda: bool(outbox.deliveries.troubles), outbox.look)
            (line,) = outbox.take_news()
            assert "its certificate is not to be trusted" in line
            assert len(endpoint.roots) == 1


def test_http_asked_by_https(certificates: Certificates) -> None:
    ca = str(certificates.authority.certificate)
    with Endpoint() as endpoint:
        url = endpoint.url.replace("http:", "https:")
        with sending(url, OTEL_EXPORTER_OTLP_CERTIFICATE=ca) as outbox:
            outbox.offer(failed())
            wait_for(lambda: bool(outbox.deliveries.troubles), outbox.look)
            (line,) = outbox.take_news()
            assert "TLS fails" in line
            assert "_ssl" not in line


def test_a_certificate_that_is_not_there_is_said_at_the_start(tmp_path: Path) -> None:
    outbox = Outbox(
        read_settings(
            "https://localhost:1", {"OTEL_EXPORTER_OTLP_CERTIFICATE": str(tmp_path / "ca.pem")}
        ),
        "https://localhost:1",
        "nobody",
    )
    with pytest.raises(CannotTrace, match="No such file"):
        outbox.begin(samples.head(), Names())
    outbox.close()


def test_a_name_that_nobody_knows_is_said() -> None:
    with sending("http://no-such-host.invalid:4318") as outbox:
        outbox.offer(failed())
        wait_for(lambda: bool(outbox.deliveries.troubles), outbox.look)
        assert "can't be reached" in outbox.take_news()[0]
