from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcptrace.sinks.web.request import BadRequest, Request, parse_head


def parsed(*lines: str) -> Request:
    return parse_head("\r\n".join(lines).encode("latin-1"))


def status(*lines: str) -> int:
    with pytest.raises(BadRequest) as caught:
        parsed(*lines)
    return int(caught.value.status)


def test_a_scrapers_request() -> None:
    request = parsed(
        "GET /metrics?collect[]=x HTTP/1.1",
        "Host: web-3:9100",
        "User-Agent: Prometheus/3.1.0",
        "Accept: application/openmetrics-text;version=1.0.0;q=0.6",
        "accept:text/plain;q=0.1  ",
        "Accept-Encoding: gzip",
    )
    assert request.method == "GET"
    assert request.path == "/metrics"
    accept = "application/openmetrics-text;version=1.0.0;q=0.6, text/plain;q=0.1"
    assert request.headers["accept"] == accept
    assert request.keep_alive
    assert not request.has_body
    assert request.accepts_gzip()


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("/", "/"),
        ("http://web-3:9100/metrics?x#y", "/metrics"),
        ("HTTPS://web-3", "/"),
        ("*", "*"),
        ("//metrics", "//metrics"),
        ("/metrics/../x", "/metrics/../x"),
        ("?x", "/"),
    ],
)
def test_targets(target: str, path: str) -> None:
    assert parsed(f"GET {target} HTTP/1.1", "Host: x").path == path


@pytest.mark.parametrize(
    ("lines", "stays"),
    [
        (("GET / HTTP/1.1", "Host: x"), True),
        (("GET / HTTP/1.1", "Host: x", "Connection: te, Close"), False),
        (("GET / HTTP/1.0",), False),
        (("GET / HTTP/1.0", "Connection: Keep-Alive"), True),
        (("POST / HTTP/1.1", "Host: x", "Content-Length: 3"), False),
        (("POST / HTTP/1.1", "Host: x", "Content-Length: 0"), True),
        (("POST / HTTP/1.1", "Host: x", "Transfer-Encoding: chunked"), False),
        (("POST / HTTP/1.1", "Host: x", "Content-Length: 0", "Content-Length: 5"), False),
    ],
)
def test_whether_the_connection_stays(lines: tuple[str, ...], stays: bool) -> None:
    assert parsed(*lines).keep_alive is stays


@pytest.mark.parametrize(
    ("accept", "accepts"),
    [
        ("gzip", True),
        ("deflate, GZIP;q=0.5", True),
        ("gzip; q=0", False),
        ("gzip;q=0.000", False),
        ("identity", False),
        ("x-gzipped", False),
        ("", False),
    ],
)
def test_gzip(accept: str, accepts: bool) -> None:
    request = parsed("GET / HTTP/1.1", "Host: x", f"Accept-Encoding: {accept}")
    assert request.accepts_gzip() is accepts


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (("",), 400),
        (("GET",), 400),
        (("GET /",), 400),
        (("GET  / HTTP/1.1", "Host: x"), 400),
        (("GET / HTTP/1.1",), 400),  # no Host
        (("GET / HTTP/1.1", "Host x"), 400),
        (("GET / HTTP/1.1", "Host : x"), 400),
        (("GET / HTTP/1.1", "Host: x", " folded"), 400),
        (("GET / HTTP/1.1", "Host: x", "A: \0"), 400),
        (("GET / HTTP/1.1", "Host: x", "A: b\rc"), 400),
        (("G\x01T / HTTP/1.1", "Host: x"), 400),
        (("GET /\xfc HTTP/1.1", "Host: x"), 400),
        (("\x16\x03\x01\x02",), 400),
        (("PRI * HTTP/2.0",), 505),
        (("GET / HTTP/0.9",), 505),
        (("GET /" + "a" * 2048 + " HTTP/1.1", "Host: x"), 414),
        (("GET / HTTP/1.1", "Host: x", *["A: b"] * 64), 431),
    ],
)
def test_what_breaks_a_rule(lines: tuple[str, ...], expected: int) -> None:
    assert status(*lines) == expected


def test_lines_may_end_in_a_newline_only() -> None:
    assert parse_head(b"GET /a HTTP/1.1\nHost: x").path == "/a"


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_whatever_comes_is_a_request_or_a_bad_one(head: bytes) -> None:
    for data in (head, b"GET / HTTP/1.1\r\nHost: x\r\n" + head):
        try:
            request = parse_head(data)
        except BadRequest as bad:
            assert 400 <= bad.status <= 505  # noqa: PT017
        else:
            assert request.path
