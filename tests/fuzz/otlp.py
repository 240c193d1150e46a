"""What an OTLP endpoint answers: bytes to the real transport, and what the child says of it."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from functools import cache
from typing import Any, Final

from hypothesis import strategies as st

from tcptrace.otlp.deliveries import Deliveries
from tcptrace.otlp.sender import _rejected
from tcptrace.otlp.settings import SIGNALS, read_settings
from tcptrace.otlp.transport import Transport, _wait_s
from tcptrace.sinks.terminal import safe_text

_PIECES: Final = (
    b"HTTP/1.1 ", b"HTTP/1.0 ", b"HTTP/9 ", b"200", b"204", b"100", b"301", b"429", b"503", b"999",
    b" OK", b"\r\n", b"\n", b"\r\n\r\n", b"content-length: 5", b"content-length: -1", b"hello",
    b"content-length: 99999999999", b"transfer-encoding: chunked", b"retry-after: ", b"5", b"ffff",
    b"Wed, 21 Oct 2026 07:28:00 GMT", b"content-type: text/plain", b"connection: close", b": ",
    b"\x1b[2J", b"\xff", b"\0", b"x" * 70_000, b"a: b\r\n" * 120, b"location: http://127.0.0.1:1/",
    b"\x0a\x0b\x08\x02\x12\x07too old",
)  # fmt: skip
ANSWERS: Final = st.lists(st.sampled_from(_PIECES) | st.binary(max_size=6), max_size=20).map(
    b"".join
)
RETRIES: Final = st.text(max_size=40) | st.integers().map(str) | st.floats().map(str)
_TOLD: Final = st.none() | st.booleans() | st.integers() | st.text(max_size=300)
LINES: Final = st.dictionaries(
    st.sampled_from(["signal", "sent", "rejected", "unsent", "refused", "trouble", "x"]),
    _TOLD | st.sampled_from(SIGNALS) | st.lists(_TOLD, max_size=2),
)


class _Endpoint:
    """Answers what it is told to, and closes."""

    def __init__(self) -> None:
        self.answer = b""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            with connection, suppress(OSError):
                connection.recv(65536)
                connection.sendall(self.answer)


@cache
def _endpoint() -> _Endpoint:
    return _Endpoint()


def check_answer(answer: bytes) -> None:
    """Whatever comes, a request ends, with words that are bounded."""
    endpoint = _endpoint()
    endpoint.answer = answer
    url = f"http://127.0.0.1:{endpoint.port}"
    settings = read_settings(url, {"OTEL_EXPORTER_OTLP_TIMEOUT": "500"})
    transport = Transport(settings.urls["traces"], settings, None)
    told = transport.post(b"x")
    transport.close()
    assert len(told.trouble) < 300
    assert safe_text(told.trouble).isprintable()
    assert 0 <= told.wait_s <= 600
    assert not (told.trouble and told.body)
    for signal in SIGNALS:
        count, words = _rejected(signal, told.body)
        assert count >= 0
        assert len(words) < 300


def check_retry(text: str) -> None:
    """A time within bounds, whatever it says."""
    assert 0 <= _wait_s(text) <= 600


def check_line(told: dict[str, Any]) -> None:
    """Counts only grow, words are bounded."""
    deliveries = Deliveries(SIGNALS)
    deliveries.take(told)
    deliveries.take(told)
    counts = (*deliveries.sent.values(), *deliveries.lost.values(), *deliveries.rejected.values())
    assert all(count >= 0 for count in counts)
    assert all(len(line) < 500 for line in deliveries.news)
