"""The head of an HTTP/1 request: parsed strictly, within bounds, without I/O.

Source: RFC 9112, sections 2.2 to 5; RFC 9110, sections 5.3 and 12.4.2.
"""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

LONGEST_HEAD: Final = 16 << 10
"""Bytes of request line and headers."""
_LONGEST_TARGET: Final = 2048
_MOST_HEADERS: Final = 64
_WORD: Final = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_REQUEST_LINE: Final = re.compile(rf"({_WORD}) ([!-~]+) HTTP/([0-9])\.([0-9])")
_HEADER: Final = re.compile(rf"({_WORD}):[ \t]*([\t -~\x80-\xff]*)")
_ORIGIN: Final = re.compile(r"https?://[^/?#]*", re.IGNORECASE)


class BadRequest(Exception):  # noqa: N818 - HTTP's own name for it
    """What came is no request that can be served; the connection ends with the answer."""

    def __init__(self, status: HTTPStatus) -> None:
        super().__init__(status.phrase)
        self.status = status


class Request(NamedTuple):
    """What was asked."""

    method: str
    path: str
    """Without the query."""
    headers: Mapping[str, str]
    """Names in lower case; a header that came repeatedly is joined by commas."""
    keep_alive: bool
    """Whether the client wants the connection to stay, and it can."""
    has_body: bool

    def accepts_gzip(self) -> bool:
        """Whether the client named gzip, and not to forbid it."""
        for coding in self.headers.get("accept-encoding", "").lower().split(","):
            name, *parameters = (part.strip() for part in coding.split(";"))
            if name == "gzip":
                return not any(re.fullmatch(r"q=0(\.0*)?", parameter) for parameter in parameters)
        return False


def oversize(head: bytes | bytearray) -> BadRequest:
    """Says why a head that is longer than LONGEST_HEAD is refused: its first line, or the rest."""
    in_line = len(head.partition(b"\n")[0]) > _LONGEST_TARGET
    return BadRequest(
        HTTPStatus.REQUEST_URI_TOO_LONG if in_line else HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
    )


def parse_head(head: bytes) -> Request:
    """Parses request line and headers.

    Args:
        head: without the empty line that ends it.

    Raises:
        BadRequest: it breaks a rule or a bound.
    """
    first, *lines = head.decode("latin-1").replace("\r\n", "\n").split("\n")
    match = _REQUEST_LINE.fullmatch(first)
    if not match:
        raise BadRequest(HTTPStatus.BAD_REQUEST)
    method, target, major, minor = match.groups()
    if major != "1":
        raise BadRequest(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED)
    if len(target) > _LONGEST_TARGET:
        raise BadRequest(HTTPStatus.REQUEST_URI_TOO_LONG)
    headers = _headers(lines)
    options = [option.strip() for option in headers.get("connection", "").lower().split(",")]
    if minor == "0":
        stays = "keep-alive" in options
    elif "host" in headers:
        stays = "close" not in options
    else:
        raise BadRequest(HTTPStatus.BAD_REQUEST)
    has_body = "transfer-encoding" in headers or headers.get("content-length", "0") != "0"
    path = re.split(r"[?#]", _ORIGIN.sub("", target, count=1), maxsplit=1)[0]
    return Request(method, path or "/", headers, stays and not has_body, has_body)


def _headers(lines: list[str]) -> dict[str, str]:
    if len(lines) > _MOST_HEADERS:
        raise BadRequest(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
    headers: dict[str, str] = {}
    for line in lines:
        match = _HEADER.fullmatch(line)
        if not match:
            raise BadRequest(HTTPStatus.BAD_REQUEST)
        name, value = match[1].lower(), match[2].strip()
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers
