from __future__ import annotations

import base64
import concurrent.futures
import contextlib
import gzip
import http.client
import socket
import threading
from typing import TYPE_CHECKING

import bcrypt
import pytest

from tcptrace.errors import OutputFailed
from tcptrace.sinks.web.limits import Limits
from tcptrace.sinks.web.server import MetricsServer
from tcptrace.sinks.web.settings import WebConfig
from unit.sinks.web.serving import (
    BODY,
    DEADLINE_S,
    SCRAPE,
    Gated,
    answer_of,
    ask,
    connect,
    render,
    serving,
    talk,
    until_end,
    wait_until,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

LARGE = b"".join(b'tcptrace_sockets{state="established",netns="%d"} 7\n' % n for n in range(20_000))
USERS = {"alice": bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode()}


@pytest.fixture
def server() -> Iterator[MetricsServer]:
    with serving() as server:
        yield server


def login(password: str, user: str = "alice") -> dict[str, str]:
    return {"Authorization": f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"}


def large(_accept: str) -> tuple[bytes, str]:
    return LARGE, "text/plain"


def test_a_scrape(server: MetricsServer) -> None:
    answer = ask(server, "/metrics?x=1", headers={"Accept": "application/openmetrics-text"})
    assert answer.status == 200
    assert answer.body == BODY
    assert answer.headers["content-type"] == "text/plain; accepted=application/openmetrics-text"
    assert answer.headers["content-length"] == str(len(BODY))
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "gmt" in answer.headers["date"].lower()
    assert "server" not in answer.headers


def test_the_page_links_to_the_metrics_and_to_nothing_else(server: MetricsServer) -> None:
    answer = ask(server, "/")
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert b'<a href="/metrics">' in answer.body
    assert b"//" not in answer.body


def test_health(server: MetricsServer) -> None:
    assert ask(server, "/-/healthy").status == 200


@pytest.mark.parametrize("path", ["/metrics/", "/METRICS", "/favicon.ico", "//", "/<script>"])
def test_other_paths_are_not_found_and_not_repeated(server: MetricsServer, path: str) -> None:
    answer = ask(server, path)
    assert answer.status == 404
    assert answer.body == b"404 Not Found\n"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "get", "X-Y"])
@pytest.mark.parametrize("path", ["/metrics", "/", "/x"])
def test_other_methods_are_not_allowed(server: MetricsServer, method: str, path: str) -> None:
    answer = ask(server, path, method=method)
    assert answer.status == 405
    assert answer.headers["allow"] == "GET, HEAD"


@pytest.mark.parametrize("path", ["/metrics", "/", "/-/healthy", "/x"])
def test_head_is_get_without_a_body(server: MetricsServer, path: str) -> None:
    got, head = ask(server, path), ask(server, path, method="HEAD")
    assert head.body == b""
    assert (head.status, {**head.headers, "date": ""}) == (got.status, {**got.headers, "date": ""})


def test_nothing_follows_the_head_of_an_answer_to_head(server: MetricsServer) -> None:
    assert talk(server, b"HEAD / HTTP/1.0\r\n\r\n").endswith(b"\r\n\r\n")


def test_a_body_is_not_waited_for_but_may_be_sent(server: MetricsServer) -> None:
    answer = ask(server, method="POST", body=b"x" * 8_000_000)
    assert answer.status == 405
    assert answer.headers["connection"] == "close"


def test_a_large_body_is_zipped_if_the_client_likes() -> None:
    with serving(large) as server:
        plain = ask(server)
        zipped = ask(server, headers={"Accept-Encoding": "deflate, gzip"})
        refused = ask(server, headers={"Accept-Encoding": "gzip;q=0"})
        head = ask(server, method="HEAD", headers={"Accept-Encoding": "gzip"})
    assert plain.body == refused.body == LARGE
    assert "content-encoding" not in plain.headers
    assert zipped.headers["content-encoding"] == "gzip"
    assert gzip.decompress(zipped.body) == LARGE
    assert len(zipped.body) < len(LARGE) / 5
    assert "Accept-Encoding" in zipped.headers["vary"]
    assert head.headers["content-length"] == zipped.headers["content-length"]


def test_a_small_body_is_not_zipped(server: MetricsServer) -> None:
    assert ask(server, headers={"Accept-Encoding": "gzip"}).body == BODY


def test_one_connection_serves_many_requests(server: MetricsServer) -> None:
    with connect(server) as client:
        connection = http.client.HTTPConnection("x")
        connection.sock = client
        for path in ("/metrics", "/x", "/") * 5:
            connection.request("GET", path)
            assert answer_of(connection).headers["connection"] == "keep-alive"
            assert connection.sock is client


def test_requests_may_come_before_answers_are_read(server: MetricsServer) -> None:
    received = talk(server, b"\r\n" + SCRAPE * 9 + b"GET / HTTP/1.0\r\n\r\n" + SCRAPE)
    assert received.count(b"HTTP/1.1 200 OK") == 10
    assert received.count(b"Connection: close") == 1


def test_a_request_may_come_in_pieces(server: MetricsServer) -> None:
    with connect(server) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in SCRAPE:
            client.sendall(bytes([byte]))
        assert client.recv(1 << 16).startswith(b"HTTP/1.1 200 OK")


@pytest.mark.parametrize(
    ("request_", "ends"),
    [(b"GET / HTTP/1.0\r\n\r\n", True), (b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n", True)],
)
def test_the_connection_ends_when_the_client_likes(
    server: MetricsServer, request_: bytes, ends: bool
) -> None:
    with connect(server) as client:
        client.sendall(request_)
        assert until_end(client).endswith(b"\n") is ends


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET / HTTP/2.0\r\n\r\n", 505),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
    ],
)
def test_bad_requests_are_answered(server: MetricsServer, data: bytes, status: int) -> None:
    assert talk(server, data).startswith(b"HTTP/1.1 %d " % status)


def test_configured_headers_are_on_every_response(server: MetricsServer) -> None:
    headers = {"X-Frame-Options": "deny", "Content-Security-Policy": "default-src 'self'"}
    server.reload(WebConfig(headers=headers, users=USERS))
    for password in ("secret", "wrong"):
        answer = ask(server, headers=login(password))
        assert answer.headers["x-frame-options"] == "deny"
        assert answer.headers["content-security-policy"] == "default-src 'self'"


@pytest.mark.parametrize("path", ["/metrics", "/", "/-/healthy", "/x"])
def test_users_guard_every_path(path: str) -> None:
    with serving(config=WebConfig(users=USERS)) as server:
        for headers in ({}, login("wrong"), login("secret", "carol"), {"Authorization": "Basic"}):
            answer = ask(server, path, headers=headers)
            assert answer.status == 401
            assert answer.headers["www-authenticate"].startswith('Basic realm="tcptrace"')
            assert BODY not in answer.body
        assert ask(server, path, headers=login("secret")).status == (404 if path == "/x" else 200)
        assert ask(server, path, method="POST").status == 401


def test_a_failing_render_is_answered_and_told(capfd: pytest.CaptureFixture[str]) -> None:
    failures = [ValueError("no\nsuch \x1b[31mthing"), RecursionError(), KeyError("x" * 5000)]

    def fail(accept: str) -> tuple[bytes, str]:
        if failures:
            raise failures.pop()
        return render(accept)

    with serving(fail) as server:
        for _ in range(3):
            answer = ask(server)
            assert answer.status == 500
            assert answer.body == b"500 Internal Server Error\n"
        assert ask(server).status == 200
    told = capfd.readouterr().err.splitlines()
    assert len(told) == 3
    assert told[2].endswith(r"failed: ValueError: no\nsuch \x1b[31mthing")
    assert len(told[0]) < 500


def test_nothing_is_logged_otherwise(
    server: MetricsServer, capfd: pytest.CaptureFixture[str]
) -> None:
    ask(server)
    ask(server, "/x")
    talk(server, b"nonsense\r\n\r\n")
    server.close()
    assert capfd.readouterr() == ("", "")


def test_renders_come_one_at_a_time_and_fifty_scrapes_at_once_succeed() -> None:
    inside = threading.Semaphore(1)
    alone = []
    rounds = 50

    def slow(accept: str) -> tuple[bytes, str]:
        alone.append(inside.acquire(blocking=False))
        threading.Event().wait(0.002)  # others run meanwhile
        inside.release()
        return render(accept)

    with serving(slow) as server, concurrent.futures.ThreadPoolExecutor(rounds) as pool:
        together = threading.Barrier(rounds)

        def scrape(_: int) -> int:
            together.wait(DEADLINE_S)
            return ask(server).status

        assert list(pool.map(scrape, range(rounds))) == [200] * rounds
    assert alone == [True] * rounds


def test_no_more_are_served_at_once_than_there_are_workers() -> None:
    gated = Gated()
    with serving(gated, limits=Limits(workers=2)) as server, gated, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(connect(server)) for _ in range(6)]
        for client in clients:
            client.sendall(SCRAPE)
        loads = server._reception
        wait_until(lambda: (len(loads._busy), len(loads._queued)) == (2, 4), "the rest don't queue")
        gated.gate.set()
        for client in clients:
            assert client.recv(1 << 16).startswith(b"HTTP/1.1 200 OK")


def test_reload_swaps_users_and_ends_old_connections(server: MetricsServer) -> None:
    with connect(server) as client:
        client.sendall(SCRAPE)
        assert client.recv(1 << 16).startswith(b"HTTP/1.1 200 OK")
        server.reload(WebConfig(users=USERS))
        assert until_end(client) == b""
    assert ask(server).status == 401
    assert ask(server, headers=login("secret")).status == 200
    server.reload(None)
    assert ask(server).status == 200


def test_a_request_that_comes_just_after_a_reload_is_not_served_by_the_old(
    server: MetricsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with connect(server) as client:
        client.sendall(SCRAPE)
        assert client.recv(1 << 16).startswith(b"HTTP/1.1 200 OK")
        wait_until(lambda: bool(server._reception._parked), "it doesn't stay")
        monkeypatch.setattr(server._reception, "forget", lambda: None)
        server.reload(WebConfig(users=USERS))
        client.sendall(SCRAPE)
        assert until_end(client) == b""


def test_a_scrape_under_way_survives_a_reload() -> None:
    gated = Gated()
    with serving(gated) as server, gated, connect(server) as client:
        client.sendall(SCRAPE)
        assert gated.began.wait(DEADLINE_S)
        server.reload(WebConfig(users=USERS))
        gated.gate.set()
        answer = until_end(client)
        assert answer.startswith(b"HTTP/1.1 200 OK")
        assert b"Connection: close" in answer


def test_a_scrape_under_way_survives_the_close() -> None:
    gated = Gated()
    with serving(gated) as server, gated, connect(server) as client:
        client.sendall(SCRAPE)
        assert gated.began.wait(DEADLINE_S)
        closing = threading.Thread(target=server.close)
        closing.start()
        wait_until(lambda: server._reception._listener.fileno() < 0, "still listening")
        gated.gate.set()
        assert until_end(client).startswith(b"HTTP/1.1 200 OK")
        closing.join()


def test_close_does_not_wait_for_a_hanging_render() -> None:
    gated = Gated()
    with serving(gated) as server, gated, connect(server) as client:
        client.sendall(SCRAPE)
        assert gated.began.wait(DEADLINE_S)
        server.close()
        assert not server._thread.is_alive()
        gated.gate.set()


def test_close_gives_the_port_back() -> None:
    with serving() as server:
        with connect(server) as idle:
            server.close()
            server.close()
            assert until_end(idle) == b""
        again = MetricsServer(server.address, render)
        again.close()  # never started
    with pytest.raises(ConnectionRefusedError):
        connect(server)


def test_connections_wait_from_construction_on() -> None:
    server = MetricsServer(("127.0.0.1", 0), render)
    with connect(server) as client:
        client.sendall(SCRAPE)
        server.start()
        assert client.recv(1 << 16).startswith(b"HTTP/1.1 200 OK")
        server.close()


def test_a_taken_port_is_an_error(server: MetricsServer) -> None:
    with pytest.raises(OutputFailed, match="Address already in use"):
        MetricsServer(server.address, render)


@pytest.mark.parametrize(("host", "shown"), [("::1", "[::1]"), ("127.0.0.1", "127.0.0.1")])
def test_the_url(host: str, shown: str) -> None:
    with serving(host=host) as server:
        assert server.url == f"http://{shown}:{server.address[1]}/metrics"
        assert ask(server).status == 200
