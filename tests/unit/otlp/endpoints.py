"""Endpoints for OTLP: one that takes everything and decodes it, and such as nobody wants."""

from __future__ import annotations

import gzip
import socket
import ssl
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from opentelemetry.proto.common.v1.common_pb2 import KeyValue
    from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
    from opentelemetry.proto.trace.v1.trace_pb2 import Span

DEADLINE_S: Final = 30.0


class Reply(NamedTuple):
    """What an endpoint answers."""

    status: int = 200
    headers: Mapping[str, str] = {}
    body: bytes | None = None
    """None for what the protocol asks for."""


class Endpoint:
    """Decodes what comes by OpenTelemetry's own definitions.

    Attributes:
        replies: what to answer next; afterwards, that all is well.
        spans: that came.
        metrics: by name, of the last state that came.
        resources: attributes of each request's.
        headers: of each request.
        states: how many states of the metrics came.
    """

    def __init__(self, certificate: tuple[Path, Path] | None = None, port: int = 0) -> None:
        self.replies: list[Reply] = []
        self.spans: list[Span] = []
        self.metrics: dict[str, Metric] = {}
        self.resources: list[dict[str, Any]] = []
        self.headers: list[Mapping[str, str]] = []
        self.asked = 0
        self.states = 0
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.headers.get("content-encoding") == "gzip":
                    body = gzip.decompress(body)
                reply = endpoint.take(self.path, dict(self.headers.items()), body)
                told = reply.body
                if told is None:
                    is_metrics = self.path.endswith("/v1/metrics")
                    kind = (
                        ExportMetricsServiceResponse if is_metrics else ExportTraceServiceResponse
                    )
                    told = kind().SerializeToString()
                self.send_response(reply.status)
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(told)))
                self.end_headers()
                self.wfile.write(told)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
            self.url = f"https://localhost:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def take(self, path: str, headers: Mapping[str, str], body: bytes) -> Reply:
        self.asked += 1
        self.headers.append({name.lower(): value for name, value in headers.items()})
        reply = self.replies.pop(0) if self.replies else Reply()
        if reply.status != 200:
            return reply
        if path.endswith("/v1/metrics"):
            for tree in ExportMetricsServiceRequest.FromString(body).resource_metrics:
                self.resources.append(plain(tree.resource.attributes))
                (told,) = tree.scope_metrics
                self.metrics = {metric.name: metric for metric in told.metrics}
                assert len(self.metrics) == len(told.metrics)
            self.states += 1
        else:
            assert path.endswith("/v1/traces")
            for spans in ExportTraceServiceRequest.FromString(body).resource_spans:
                self.resources.append(plain(spans.resource.attributes))
                self.spans += [span for scope in spans.scope_spans for span in scope.spans]
        return reply

    @property
    def roots(self) -> list[Span]:
        return [span for span in self.spans if not span.parent_span_id]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class Rude:
    """Answers each connection as a function does, which may keep it for as long as it likes."""

    def __init__(self, answer: Callable[[socket.socket], None]) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.came = 0
        self._open: list[socket.socket] = []
        self._answer = answer
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self.came += 1
                self._open.append(connection)
                threading.Thread(target=self._meet, args=(connection,), daemon=True).start()

    def _meet(self, connection: socket.socket) -> None:
        with suppress(OSError):
            self._answer(connection)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for one in (self._listener, *self._open):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()


def plain(told: Iterable[KeyValue]) -> dict[str, Any]:
    """Attributes as Python has them."""
    return {
        one.key: getattr(one.value, one.value.WhichOneof("value") or "string_value") for one in told
    }


def wait_for(come: Callable[[], bool], meanwhile: Callable[[], object] = lambda: None) -> None:
    """Waits until something has come true."""
    end_s = time.monotonic() + DEADLINE_S
    while not come():
        assert time.monotonic() < end_s, "it never came"
        meanwhile()
        time.sleep(0.01)
