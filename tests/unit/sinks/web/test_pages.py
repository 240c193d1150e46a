"""Pages beside the metrics: for the same users, and in nobody's way."""

from __future__ import annotations

import base64
import gzip
import socket
from http import HTTPStatus
from typing import TYPE_CHECKING

import bcrypt
import pytest

from tcptrace.sinks.web.limits import Limits
from tcptrace.sinks.web.settings import WebConfig
from tcptrace.sinks.web.site import Response
from unit.sinks.web.serving import BODY, DEADLINE_S, ask, connect, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tcptrace.sinks.web.server import MetricsServer

LARGE = b'{"a":"' + b"x" * 20_000_000 + b'"}'
POLICY = "default-src 'none'; script-src 'self'"
NEVER_READ = b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n"
USERS = {"alice": bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode()}


def pages(path: str) -> Response | None:
    match path:
        case "/":
            headers = {"Content-Security-Policy": POLICY}
            return Response(HTTPStatus.OK, b"<p>" * 4096, "text/html", headers)
        case "/large":
            return Response(HTTPStatus.OK, LARGE, "application/json")
        case "/broken":
            raise ValueError(path)
    return None


@pytest.fixture
def server() -> Iterator[MetricsServer]:
    with serving(pages=pages) as server:
        yield server


def test_they_are_served_beside_the_metrics(server: MetricsServer) -> None:
    page = ask(server, "/", headers={"Accept-Encoding": "gzip"})
    assert (page.status, page.headers["content-type"]) == (200, "text/html")
    assert gzip.decompress(page.body) == b"<p>" * 4096
    assert page.headers["vary"] == "Accept-Encoding"
    assert ask(server, "/metrics").body == BODY
    assert ask(server, "/other").status == 404


def test_a_page_has_its_own_policy_and_all_else_the_strictest(server: MetricsServer) -> None:
    assert ask(server, "/").headers["content-security-policy"] == POLICY
    policy = ask(server, "/metrics").headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; base-uri")


def test_the_configuration_has_the_last_word_on_headers() -> None:
    config = WebConfig(headers={"Content-Security-Policy": "sandbox"})
    with serving(config=config, pages=pages) as server:
        assert ask(server, "/").headers["content-security-policy"] == "sandbox"


@pytest.mark.parametrize("path", ["/", "/large", "/broken", "/other"])
def test_only_users_see_them(path: str) -> None:
    with serving(config=WebConfig(users=USERS), pages=pages) as server:
        assert ask(server, path).status == 401
        login = base64.b64encode(b"alice:secret").decode()
        assert ask(server, path, headers={"Authorization": f"Basic {login}"}).status != 401


def test_one_that_fails_is_told_on_stderr(
    server: MetricsServer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ask(server, "/broken").status == 500
    assert capsys.readouterr().err == "tcptrace: showing /broken failed: ValueError: /broken\n"
    assert ask(server, "/").status == 200


def test_browsers_that_never_read_hold_up_no_scrape() -> None:
    patient = Limits(workers=4, timeout_s=DEADLINE_S, patience_s=0.2)
    with serving(pages=pages, limits=patient) as server:
        browsers = [connect(server) for _ in range(20)]
        try:
            for browser in browsers:
                browser.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                browser.sendall(NEVER_READ)
            assert ask(server, "/metrics").body == BODY
        finally:
            for browser in browsers:
                browser.close()
