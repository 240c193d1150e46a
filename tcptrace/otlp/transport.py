"""Sends one request over HTTP, within a time; whatever the endpoint does, the answer is an Answer.

Nothing that an endpoint says is trusted: only so much of it is read, and its words are cut. It is
asked for no compression, and no redirection is followed: where to send to is the user's to say.

Source: opentelemetry-proto, docs/specification.md (OTLP/HTTP); RFC 9110, section 10.2.3.
"""

from __future__ import annotations

import gzip
import signal
import ssl
import time
from contextlib import contextmanager, suppress
from email.utils import parsedate_to_datetime
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import urlsplit

from tcptrace import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator
    from http.client import HTTPResponse
    from types import FrameType

    from tcptrace.otlp.settings import Settings

_PORTS: Final = {"http": 80, "https": 443}
_OK: Final = range(200, 300)
_LATER: Final = (429, 502, 503, 504)
"""Statuses after which the same may be sent again."""
_MOST_ANSWER: Final = 1 << 16
_MOST_WORDS: Final = 160
_LONGEST_WAIT_S: Final = 600.0
_GRPC_PORT: Final = 4317


class Answer(NamedTuple):
    """How a request went."""

    trouble: str
    """Why it was not taken, in words; "" if it was."""
    is_worth_retrying: bool
    wait_s: float
    """For how long the endpoint asked not to be asked; 0 if it did not."""
    body: bytes
    """Of an endpoint that took it."""


class _Overdue(Exception):  # noqa: N818 - a timer, not a fault
    """The request has taken too long as a whole."""


class Transport:
    """A connection to one URL, kept open from request to request.

    Args:
        url: checked by settings.check_url.
        settings: headers, compression, time.
        context: of TLS; None for http.
    """

    def __init__(self, url: str, settings: Settings, context: ssl.SSLContext | None) -> None:
        parts = urlsplit(url)
        port = parts.port or _PORTS[parts.scheme]
        self._path = parts.path or "/"
        self._timeout_s = settings.timeout_s
        self._gzip = settings.gzip
        self._headers = {
            "user-agent": f"tcptrace/{__version__}",
            **settings.headers,
            "content-type": "application/x-protobuf",
        }
        host = parts.hostname or ""
        self._hint = " (is it the port for gRPC?)" if port == _GRPC_PORT else ""
        self._connection: HTTPConnection
        if context is None:
            self._connection = HTTPConnection(host, port, timeout=settings.timeout_s)
        else:
            self._connection = HTTPSConnection(
                host, port, timeout=settings.timeout_s, context=context
            )

    def post(self, body: bytes) -> Answer:
        """Sends a request and reads its answer; never raises, and never takes much longer."""
        headers = dict(self._headers)
        if self._gzip:
            body = gzip.compress(body, 6)
            headers["content-encoding"] = "gzip"
        try:
            with _deadline(self._timeout_s):
                return self._exchange(body, headers)
        except (_Overdue, OSError, HTTPException, ValueError) as error:
            return self._failed(self._trouble(error))

    def _trouble(self, error: Exception) -> str:
        """What has gone wrong, in words."""
        if isinstance(error, (_Overdue, TimeoutError)):
            return f"no answer within {self._timeout_s:g} s"
        if isinstance(error, ssl.SSLCertVerificationError):
            return f"its certificate is not to be trusted: {error.verify_message}"
        if isinstance(error, ssl.SSLError):
            words = str(error.reason or error.args[-1]).partition(" (_ssl.c")[0]
            return f"TLS fails: {words}"
        if isinstance(error, (BrokenPipeError, ConnectionResetError)):
            return f"it closes the connection{self._hint}"
        if isinstance(error, HTTPException):
            return f"what it answers is not HTTP ({type(error).__name__}){self._hint}"
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        return f"can't be reached: {reason}"

    def close(self) -> None:
        """Closes the connection."""
        with suppress(Exception):
            self._connection.close()

    def _exchange(self, body: bytes, headers: dict[str, str]) -> Answer:
        is_fresh = self._connection.sock is None
        try:
            self._connection.request("POST", self._path, body, headers)
            response = self._connection.getresponse()
        except (ConnectionError, HTTPException):
            if is_fresh:
                raise
            # The endpoint had closed a connection that was kept: that is no failure of its.
            self._connection.close()
            self._connection.request("POST", self._path, body, headers)
            response = self._connection.getresponse()
        told = response.read(_MOST_ANSWER)
        if not response.isclosed():
            self._connection.close()  # it has more to say than anybody wants to hear
        if response.status in _OK:
            return Answer("", is_worth_retrying=False, wait_s=0.0, body=told)
        return Answer(
            f"it answers {response.status} {_words(response, told)}".strip(),
            is_worth_retrying=response.status in _LATER,
            wait_s=_wait_s(response.headers.get("retry-after", "")),
            body=b"",
        )

    def _failed(self, trouble: str) -> Answer:
        self.close()
        return Answer(trouble[:_MOST_WORDS], is_worth_retrying=True, wait_s=0.0, body=b"")


def tls_context(settings: Settings) -> ssl.SSLContext | None:
    """What TLS needs, read while it can be: later nobody's files may be out of reach.

    Raises:
        OSError: a file that the environment names can't be read, or holds no certificate or key.
    """
    if not any(url.startswith("https:") for url in settings.urls.values()):
        return None
    context = ssl.create_default_context(cafile=settings.ca or None)
    if settings.certificate:
        context.load_cert_chain(settings.certificate, settings.key or None, _no_password)
    return context


def _no_password() -> bytes:
    raise OSError("the key is encrypted: give one that is not")


def _words(response: HTTPResponse, told: bytes) -> str:
    """What an endpoint says of its refusal, if it is text; its reason phrase else."""
    kind = response.headers.get("content-type", "")
    text = (
        told.decode("utf-8", "replace")
        if kind.startswith(("text/plain", "application/json"))
        else ""
    )
    return (" ".join(text.split()) or response.reason or "")[:_MOST_WORDS]


def _wait_s(told: str) -> float:
    """Reads a Retry-After: seconds, or a date."""
    if told.isascii() and told.isdigit():
        return min(_LONGEST_WAIT_S, float(told[:6]))
    with suppress(ValueError, TypeError, OverflowError):
        wait_s = parsedate_to_datetime(told).timestamp() - time.time()
        return max(0.0, min(_LONGEST_WAIT_S, wait_s))
    return 0.0


@contextmanager
def _deadline(seconds: float) -> Iterator[None]:
    """Within it, what takes longer is interrupted: an endpoint may answer a byte a second."""

    def ring(_number: int, _frame: FrameType | None) -> None:
        raise _Overdue

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
