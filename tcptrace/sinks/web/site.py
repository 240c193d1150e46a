"""What is served under one configuration: from request to response, without sockets."""

from __future__ import annotations

import gzip
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from tcptrace.sinks.web.text import complain

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tcptrace.sinks.web.auth import BasicAuth
    from tcptrace.sinks.web.request import Request
    from tcptrace.sinks.web.settings import WebConfig

Render: TypeAlias = Callable[[str], tuple[bytes, str]]
"""From an Accept header (empty: none came) to a body and its content type."""
Pages: TypeAlias = Callable[[str], "Response | None"]
"""From a path to what is there besides the metrics; None if nothing is. From any thread."""

_PLAIN: Final = "text/plain; charset=utf-8"
_WORTH_ZIPPING: Final = 4096
"""Bytes; a smaller body fits in a packet or three."""
_LEVEL: Final = 1
"""Takes 2 ms a megabyte and leaves 6 % of it; level 6 takes 5 ms and leaves 5 %."""
_PAGE: Final = b"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>tcptrace</title></head>
<body><h1>tcptrace</h1><p><a href="/metrics">Metrics</a></p></body></html>
"""
_SAFETY: Final = {
    "Content-Security-Policy": "default-src 'none'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
}
"""Unless the response or the configuration says otherwise."""


class Response(NamedTuple):
    """What to answer."""

    status: HTTPStatus
    body: bytes
    content_type: str = _PLAIN
    headers: Mapping[str, str] = {}


def refusal(status: HTTPStatus, headers: Mapping[str, str] | None = None) -> Response:
    """Makes a response that only says its status."""
    return Response(status, f"{status.value} {status.phrase}\n".encode(), headers=headers or {})


def _auth(users: Mapping[str, str]) -> BasicAuth | None:
    if not users:
        return None
    from tcptrace.sinks.web.auth import BasicAuth  # noqa: PLC0415 - bcrypt, for users alone

    return BasicAuth(users)


class Site:
    """Answers requests.

    Args:
        config: whom to answer, and with which headers.
        render: makes the metrics; called from one thread at a time.
        pages: has other things to show; without it `/` has a link to the metrics.
    """

    def __init__(self, config: WebConfig, render: Render, pages: Pages | None = None) -> None:
        self.tls = config.tls
        self._headers = config.headers
        self._pages = pages
        self._auth = _auth(config.users)
        self._render = render

    def answer(self, request: Request) -> Response:
        """Answers one request; never raises."""
        if (objection := self._objection(request)) is not None:
            return objection
        if request.method not in {"GET", "HEAD"}:
            return refusal(HTTPStatus.METHOD_NOT_ALLOWED, {"Allow": "GET, HEAD"})
        match request.path:
            case "/metrics":
                return self._metrics(request)
            case "/-/healthy":
                return Response(HTTPStatus.OK, b"healthy\n")
            case "/" if self._pages is None:
                return Response(HTTPStatus.OK, _PAGE, "text/html; charset=utf-8")
        return self._page(request)

    def _objection(self, request: Request) -> Response | None:
        """Why whoever asks gets nothing; None if it may have it."""
        if self._auth is None:
            return None
        match self._auth.admits(request.headers.get("authorization")):
            case True:
                return None
            case None:
                return refusal(HTTPStatus.SERVICE_UNAVAILABLE, {"Retry-After": "1"})
        challenge = 'Basic realm="tcptrace", charset="UTF-8"'
        return refusal(HTTPStatus.UNAUTHORIZED, {"WWW-Authenticate": challenge})

    def encode(self, response: Response, *, has_body: bool, keep_alive: bool) -> bytes:
        """Writes a response as HTTP/1.1.

        Args:
            response: any.
            has_body: False for the answer to HEAD.
            keep_alive: whether another request may follow.
        """
        headers = {
            "Date": time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime()),
            "Content-Type": response.content_type,
            "Content-Length": str(len(response.body)),
            "Connection": "keep-alive" if keep_alive else "close",
            **_SAFETY,
            **response.headers,
            **self._headers,
        }
        status = response.status
        lines = [f"HTTP/1.1 {status.value} {status.phrase}"]
        lines += (f"{name}: {value}" for name, value in headers.items())
        head = "\r\n".join((*lines, "\r\n")).encode("latin-1", "replace")
        return head + response.body if has_body else head

    def _metrics(self, request: Request) -> Response:
        try:
            body, content_type = self._render(request.headers.get("accept", ""))
        except Exception as error:  # noqa: BLE001 - whatever it is, the next scrape may succeed
            complain(f"rendering the metrics failed: {type(error).__name__}: {error}")
            return refusal(HTTPStatus.INTERNAL_SERVER_ERROR)
        return _zipped(Response(HTTPStatus.OK, body, content_type, {"Vary": "Accept"}), request)

    def _page(self, request: Request) -> Response:
        try:
            response = self._pages(request.path) if self._pages is not None else None
        except Exception as error:  # noqa: BLE001 - the next one may succeed
            complain(f"showing {request.path} failed: {type(error).__name__}: {error}")
            return refusal(HTTPStatus.INTERNAL_SERVER_ERROR)
        return refusal(HTTPStatus.NOT_FOUND) if response is None else _zipped(response, request)


def _zipped(response: Response, request: Request) -> Response:
    """The same, compressed if it is worth it and the client can read it."""
    vary = ", ".join(filter(None, (response.headers.get("Vary"), "Accept-Encoding")))
    headers = {**response.headers, "Vary": vary}
    body = response.body
    if len(body) >= _WORTH_ZIPPING and request.accepts_gzip():
        body = gzip.compress(body, _LEVEL, mtime=0)
        headers["Content-Encoding"] = "gzip"
    return response._replace(body=body, headers=headers)
