"""A server on loopback, and clients for it, well-behaved and not."""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
import time
from typing import TYPE_CHECKING, NamedTuple, Self

from tcptrace.sinks.web.config import read_config
from tcptrace.sinks.web.server import MetricsServer

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from tcptrace.sinks.web.limits import Limits
    from tcptrace.sinks.web.settings import WebConfig
    from tcptrace.sinks.web.site import Pages, Render

DEADLINE_S = 20
"""How long a test waits for what must come; on a busy machine too."""
SCRAPE = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"
BODY = b"# EOF\n"


class Answer(NamedTuple):
    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes


def render(accept: str) -> tuple[bytes, str]:
    return BODY, f"text/plain; accepted={accept or 'anything'}"


class Gated:
    """Renders once its gate is open; leaving it opens the gate."""

    def __init__(self) -> None:
        self.began = threading.Event()
        self.gate = threading.Event()

    def __call__(self, accept: str) -> tuple[bytes, str]:
        self.began.set()
        self.gate.wait(DEADLINE_S)
        return render(accept)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.gate.set()


@contextlib.contextmanager
def serving(
    render: Render = render,
    config: WebConfig | None = None,
    *,
    limits: Limits | None = None,
    host: str = "127.0.0.1",
    pages: Pages | None = None,
) -> Iterator[MetricsServer]:
    server = MetricsServer((host, 0), render, config, pages=pages, limits=limits)
    try:
        server.start()
        yield server
    finally:
        server.close()
        workers = [thread for thread in threading.enumerate() if thread.name == "tcptrace-http"]
        for thread in workers:
            thread.join(DEADLINE_S)
        assert not any(thread.is_alive() for thread in (*workers, server._thread))


def configured(directory: Path, text: str) -> WebConfig:
    path = directory / "web.yml"
    path.write_text(text)
    return read_config(path)


def connect(server: MetricsServer, context: ssl.SSLContext | None = None) -> socket.socket:
    client = socket.create_connection(server.address, DEADLINE_S)
    if context is None:
        return client
    try:
        return context.wrap_socket(
            client, server_hostname=server.address[0], suppress_ragged_eofs=False
        )
    except BaseException:
        client.close()
        raise


def ask(  # noqa: PLR0913 - each has a default
    server: MetricsServer,
    path: str = "/metrics",
    *,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
    context: ssl.SSLContext | None = None,
) -> Answer:
    """Asks once, over a connection of its own."""
    with connect(server, context) as client:
        connection = http.client.HTTPConnection("x")
        connection.sock = client
        connection.request(method, path, body, dict(headers or {}))
        return answer_of(connection)


def answer_of(connection: http.client.HTTPConnection) -> Answer:
    with connection.getresponse() as response:
        headers = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, headers, response.read())


def until_end(client: socket.socket) -> bytes:
    """Reads until the server ends the connection, by FIN or by reset."""
    received = b""
    with contextlib.suppress(ConnectionError):
        while data := client.recv(1 << 16):
            received += data
    return received


def talk(server: MetricsServer, data: bytes, context: ssl.SSLContext | None = None) -> bytes:
    """Sends bytes, says that there are no more, reads to the end."""
    with connect(server, context) as client:
        with contextlib.suppress(OSError):  # it may have ended already
            client.sendall(data)
            if context is None:
                client.shutdown(socket.SHUT_WR)
        return until_end(client)


def wait_until(condition: Callable[[], bool], what: str) -> None:
    deadline_s = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline_s, what
        time.sleep(0.005)
