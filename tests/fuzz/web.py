"""Inputs from the network: requests, headers, bytes for a real server, TLS hellos."""

from __future__ import annotations

import random
import socket
import ssl
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

import bcrypt
from hypothesis import strategies as st
from unit.hosts import watched
from unit.scraping import exporter_of, full_host
from unit.sinks.web import certificates
from unit.sinks.web.serving import BODY, render, talk, until_end

from tcptrace.browsing import Pages
from tcptrace.lifecycle.recent import Recent
from tcptrace.sinks.metrics.observed import new_tally
from tcptrace.sinks.web.auth import BasicAuth
from tcptrace.sinks.web.config import read_config
from tcptrace.sinks.web.limits import Limits
from tcptrace.sinks.web.request import BadRequest, Request, parse_head
from tcptrace.sinks.web.server import MetricsServer
from tcptrace.verdicts.window import WINDOW_NS
from tcptrace.watching import Watch

from .shown import check_lines

if TYPE_CHECKING:
    from tcptrace.exporting import Exporter

_SOON: Final = Limits(timeout_s=1.0, idle_timeout_s=1.0)
_PIECES: Final = (
    b"GET ", b"HEAD ", b"POST ", b"/metrics", b"/", b"*", b"http://x/", b" HTTP/1.1", b" HTTP/1.0",
    b" HTTP/9.9", b"\r\n", b"\n", b"\r", b"\r\n\r\n", b"Host: x", b"Accept: ", b"Connection: close",
    b"Connection: keep-alive", b"Content-Length: 5", b"Content-Length: -1", b"hello", b": ", b" ",
    b"Transfer-Encoding: chunked", b"Accept-Encoding: gzip;q=0", b"\t", b"\0", b"\xff", b"%00",
    b"Authorization: Basic ", b"YWxpY2U6eA==", b"application/openmetrics-text", b",", b";", b"=",
    b"application/vnd.google.protobuf", b"x" * 3000, b"A: b\r\n" * 70, b"\x16\x03\x01",
)  # fmt: skip
HEADS: Final = st.lists(st.sampled_from(_PIECES) | st.binary(max_size=6), max_size=24).map(b"".join)
WORDS: Final = st.lists(
    st.sampled_from(
        ["application/openmetrics-text", "application/vnd.google.protobuf", "text/plain", ",", ";",
         "version=1.0.0", "q=", "0.5", "*/*", " ", "=", "encoding=delimited", "Basic ", "Og==",
         "YWxpY2U6eA=="]
    )
    | st.text(max_size=6),
    max_size=12,
).map("".join)  # fmt: skip


PATHS: Final = st.lists(
    st.sampled_from(
        ["/", "now.json", "stories/", "1", "99999999999999999999", ".json", "page.js", "..", "%2e",
         "\0", "-", "+", "_", "\u0663", "\u00b2"]
    )
    | st.text(max_size=4),
    max_size=8,
).map("".join)  # fmt: skip


def check_head(head: bytes) -> None:
    """A request within its bounds, or a refusal."""
    with suppress(BadRequest):
        request = parse_head(head)
        assert type(request) is Request
        assert len(request.headers) <= len(head)
        request.accepts_gzip()


@cache
def _exporter() -> Exporter:
    return exporter_of(full_host())


def check_accept(accept: str) -> None:
    """Whatever is asked for, an answer in a known format."""
    _, content_type = _exporter().render(accept)
    assert content_type.startswith(("text/plain", "application/"))
    check_lines(content_type)


@cache
def _auth() -> BasicAuth:
    return BasicAuth({"alice": bcrypt.hashpw(b"correct horse", bcrypt.gensalt(4)).decode()})


@cache
def _pages() -> Pages:
    pages = Pages()
    pages.watch = Watch(full_host(), new_tally(), 10, verdicts_ns=WINDOW_NS, recent=Recent())
    watched(pages.watch, 3)
    return pages


def check_path(path: str) -> None:
    """Nothing, or one of few things."""
    answer = _pages().answer(path)
    assert answer is None or answer.headers["Content-Security-Policy"].startswith("default-src")


def check_authorization(authorization: str) -> None:
    """Nobody who doesn't know the password enters."""
    assert not _auth().admits(authorization)


@cache
def _server() -> MetricsServer:
    server = MetricsServer(("127.0.0.1", 0), render, limits=_SOON)
    server.start()
    return server


def check_bytes(data: bytes) -> None:
    """Each answer to bytes on a connection is HTTP; afterwards the server serves as ever."""
    answer = talk(_server(), data)
    assert answer == b"" or answer.startswith(b"HTTP/1.1 "), answer[:80]
    good = b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    assert talk(_server(), good).endswith(BODY)


@cache
def _tls_server() -> MetricsServer:
    directory = Path(tempfile.mkdtemp(prefix="tcptrace-fuzz-"))
    certificates.signed(directory, "server", None)
    config = directory / "web.yml"
    config.write_text("tls_server_config: {cert_file: server.crt, key_file: server.key}")
    server = MetricsServer(("127.0.0.1", 0), render, read_config(config), limits=_SOON)
    server.start()
    return server


@cache
def _hellos() -> tuple[bytes, ...]:
    found = []
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context = ssl.create_default_context()
        context.maximum_version = version
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
        with suppress(ssl.SSLWantReadError):
            client.do_handshake()
        found.append(outgoing.read())
    return tuple(found)


def check_hello(seed: int) -> None:
    """A damaged ClientHello gets an alert or an answer, and the next client is served."""
    rng = random.Random(seed)  # noqa: S311 - a fuzzer's
    hello = bytearray(rng.choice(_hellos()))
    for _ in range(rng.choice((0, 1, 2, 8))):
        hello[rng.randrange(len(hello))] = rng.randrange(256)
    data = bytes(hello[: rng.randrange(1, len(hello))] if rng.random() < 0.2 else hello)
    data += rng.randbytes(rng.choice((0, 0, 5, 300)))
    with socket.create_connection(_tls_server().address, 20) as client:
        with suppress(OSError):
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)
        answer = until_end(client)
    assert answer[:1] in (b"", b"\x15", b"\x16") or answer.startswith(b"HTTP/1.1 400")


def check_still_serving() -> None:
    """Both servers, at the end."""
    good = b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    assert talk(_server(), good).endswith(BODY)
    assert talk(_tls_server(), good, context).endswith(BODY)
