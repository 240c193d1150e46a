"""Clients that stall, flood and talk nonsense: everybody else's scrape succeeds."""

from __future__ import annotations

import base64
import contextlib
import errno
import os
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from itertools import islice
from typing import TYPE_CHECKING

import bcrypt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tcptrace.sinks.web.auth import AT_ONCE
from tcptrace.sinks.web.limits import Limits
from tcptrace.sinks.web.settings import WebConfig
from unit.sinks.web.serving import (
    DEADLINE_S,
    SCRAPE,
    Gated,
    ask,
    configured,
    connect,
    serving,
    talk,
    until_end,
    wait_until,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tcptrace.sinks.web.server import MetricsServer
    from unit.sinks.web.certificates import Certificates

SOON = Limits(timeout_s=0.3, idle_timeout_s=0.3)
PATIENT = Limits(timeout_s=DEADLINE_S, idle_timeout_s=DEADLINE_S, patience_s=0.1)
"""Nobody is dropped but to make room."""
TLS = "tls_server_config: {cert_file: server.crt, key_file: server.key}"
PARTIAL = b"GET /metrics HTTP/1.1\r\nHost: "
BODY = b"x" * 8_000_000


@contextlib.contextmanager
def connections(server: MetricsServer, count: int) -> Iterator[list[socket.socket]]:
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(connect(server)) for _ in range(count)]


def huge(_accept: str) -> tuple[bytes, str]:
    return BODY, "text/plain"


def left_alone(server: MetricsServer) -> bool:
    reception = server._reception
    return not (reception._busy or reception._parked or reception._queued)


@pytest.mark.parametrize("sent", [b"", b"G", PARTIAL, SCRAPE, SCRAPE + PARTIAL])
def test_silence_has_an_end(sent: bytes) -> None:
    with serving(limits=SOON) as server, connect(server) as client:
        client.sendall(sent)
        received = until_end(client)
        assert received.count(b"200 OK") == sent.count(SCRAPE)
        wait_until(lambda: left_alone(server), "the connection is still there")


def test_a_trickle_has_an_end_too() -> None:
    with serving(limits=SOON) as server, connect(server) as client:
        client.settimeout(0.01)
        began_s = time.monotonic()
        with contextlib.suppress(ConnectionError):
            while time.monotonic() < began_s + DEADLINE_S:
                client.sendall(b"a")
                with contextlib.suppress(TimeoutError):
                    if not client.recv(1):
                        break
        assert time.monotonic() < began_s + DEADLINE_S / 2


@pytest.mark.parametrize("sent", [b"", b"\x16", b"\x16\x03\x01\x02\x00\x01"])
def test_a_stalled_handshake_has_an_end(certificates: Certificates, sent: bytes) -> None:
    config = configured(certificates.directory, TLS)
    with serving(config=config, limits=SOON) as server, connect(server) as client:
        client.sendall(sent)
        assert b"HTTP" not in until_end(client)
        wait_until(lambda: left_alone(server), "the connection is still there")


def test_who_never_reads_is_dropped() -> None:
    with serving(huge, limits=SOON) as server, connect(server) as client:
        client.sendall(SCRAPE)
        wait_until(lambda: bool(server._reception._busy), "nobody serves")
        wait_until(lambda: left_alone(server), "the worker still waits")
        assert len(until_end(client)) < len(BODY)
        assert ask(server).status == 200


def test_who_reads_too_slowly_is_dropped() -> None:
    with serving(huge, limits=SOON) as server, connect(server) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 14)
        client.sendall(SCRAPE)
        received, pace = 0, threading.Event()
        with contextlib.suppress(ConnectionError):
            while data := client.recv(1 << 14):
                received += len(data)
                pace.wait(0.01)
        assert received < len(BODY)


def test_a_flood_of_wrong_passwords_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """bcrypt takes as long as it may: who was right before does not notice."""
    checks = threading.Semaphore(1)
    check = bcrypt.checkpw

    def slow(password: bytes, hashed: bytes) -> bool:
        assert checks.acquire(timeout=DEADLINE_S)
        return bool(check(password, hashed))

    monkeypatch.setattr(bcrypt, "checkpw", slow)
    users = {"alice": bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode()}
    crowd = PATIENT.workers + 20
    with serving(config=WebConfig(users=users), limits=PATIENT) as server:
        try:
            assert ask(server, headers=_login("secret")).status == 200
            with ThreadPoolExecutor(crowd) as pool:
                wrong = [
                    pool.submit(ask, server, headers=_login(f"wrong{n}")) for n in range(crowd)
                ]
                refused = [one.result() for one in islice(as_completed(wrong), crowd - AT_ONCE)]
                assert {one.status for one in refused} == {503}
                assert all(int(one.headers["retry-after"]) > 0 for one in refused)
                assert ask(server, headers=_login("secret")).status == 200
                assert sum(one.done() for one in wrong) == len(refused)  # bcrypt is still at it
                checks.release(AT_ONCE)
                statuses = sorted(one.result().status for one in wrong)
            assert statuses == [401] * AT_ONCE + [503] * (crowd - AT_ONCE)
        finally:
            checks.release(2 * crowd)


def _login(password: str) -> dict[str, str]:
    return {"Authorization": f"Basic {base64.b64encode(f'alice:{password}'.encode()).decode()}"}


def test_every_request_of_a_connection_has_the_same_time_to_come() -> None:
    with serving(limits=PATIENT) as server, connect(server) as client:
        reception = server._reception
        client.sendall(SCRAPE)
        assert client.recv(1 << 16).startswith(b"HTTP/1.1 200 OK")
        wait_until(lambda: bool(reception._parked), "it doesn't stay")
        assert next(iter(reception._parked)).left_s == PATIENT.timeout_s


def test_two_hundred_idle_connections_harm_nobody() -> None:
    with serving(limits=PATIENT) as server, connections(server, 200) as idle:
        wait_until(lambda: len(server._reception._parked) == 200, "not all are accepted")
        assert threading.active_count() < 20
        assert ask(server).status == 200
        idle[0].sendall(SCRAPE)
        assert idle[0].recv(1 << 16).startswith(b"HTTP/1.1 200 OK")


def test_the_longest_idle_makes_room_for_the_next() -> None:
    limits = PATIENT._replace(waiting=4)
    with serving(limits=limits) as server, connections(server, 4) as idle:
        wait_until(lambda: len(server._reception._parked) == 4, "not all are accepted")
        assert ask(server).status == 200
        assert until_end(idle[0]) == b""
        idle[3].sendall(SCRAPE)
        assert idle[3].recv(1 << 16).startswith(b"HTTP/1.1 200 OK")


def test_what_queues_is_bounded() -> None:
    gated = Gated()
    limits = PATIENT._replace(workers=1, waiting=2)
    with serving(gated, limits=limits) as server, gated, contextlib.ExitStack() as stack:
        loads = server._reception
        clients = []
        for queued in range(3):
            clients.append(stack.enter_context(connect(server)))
            clients[-1].sendall(SCRAPE)
            wanted = (1, queued)
            wait_until(
                lambda wanted=wanted: (len(loads._busy), len(loads._queued)) == wanted,  # type: ignore[misc]
                "it isn't taken",
            )
        assert talk(server, SCRAPE) == b""
        gated.gate.set()
        assert all(client.recv(1 << 16).startswith(b"HTTP/1.1 200 OK") for client in clients)


@pytest.mark.parametrize("sent", [PARTIAL, SCRAPE], ids=["half a request", "never reads"])
def test_stalled_clients_on_every_worker_harm_nobody(sent: bytes) -> None:
    limits = PATIENT._replace(workers=4)
    with serving(huge, limits=limits) as server, connections(server, 10) as stalled:
        for client in stalled:
            client.sendall(sent)
        wait_until(lambda: len(server._reception._busy) == 4, "not every worker is busy")
        assert len(ask(server).body) == len(BODY)


def test_stalled_handshakes_on_every_worker_harm_nobody(certificates: Certificates) -> None:
    limits = PATIENT._replace(workers=2)
    config = configured(certificates.directory, TLS)
    with serving(config=config, limits=limits) as server, connections(server, 6) as stalled:
        for client in stalled:
            client.sendall(b"\x16\x03\x01")
        wait_until(lambda: len(server._reception._queued) > 0, "nobody queues")
        assert talk(server, SCRAPE).startswith(b"HTTP/1.1 400 ")  # this port speaks https


@pytest.mark.parametrize("over_tls", [False, True])
@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET /" + b"a" * 1_000_000, 414),
        (b"GET /" + b"a" * 1_000_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 200_000, 431),
        (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 100 + b"\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"b" * 20_000 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"b" * 1_000_000 + b"\r\n\r\n", 431),
    ],
    ids=[
        "line without end",
        "long line",
        "headers without end",
        "many headers",
        "long header",
        "longer header",
    ],
)
def test_floods_are_answered(
    certificates: Certificates, data: bytes, status: int, over_tls: bool
) -> None:
    context = None
    config = configured(certificates.directory, TLS) if over_tls else None
    if over_tls:
        from unit.sinks.web.test_server_tls import trusting  # noqa: PLC0415

        context = trusting(certificates)
    with serving(config=config) as server:
        assert talk(server, data, context).startswith(b"HTTP/1.1 %d " % status)
        assert ask(server, context=context).status == 200


def test_no_descriptors_left(monkeypatch: pytest.MonkeyPatch) -> None:
    accept = socket.socket.accept
    failures = [errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ECONNABORTED]

    def fail(listener: socket.socket) -> tuple[socket.socket, object]:
        if failures:
            number = failures.pop()
            raise OSError(number, os.strerror(number))
        return accept(listener)

    with serving() as server, connect(server) as idle:
        wait_until(lambda: len(server._reception._parked) == 1, "it isn't accepted")
        monkeypatch.setattr(socket.socket, "accept", fail)
        assert ask(server).status == 200
        assert not failures
        assert until_end(idle) == b""


def test_no_threads_left(monkeypatch: pytest.MonkeyPatch) -> None:
    start = threading.Thread.start
    failures = [RuntimeError("can't start new thread")]

    def fail(thread: threading.Thread) -> None:
        if thread.name == "tcptrace-http" and failures:
            raise failures.pop()
        start(thread)

    with serving() as server:
        monkeypatch.setattr(threading.Thread, "start", fail)
        assert talk(server, SCRAPE) == b""
        assert ask(server).status == 200


def test_an_unforeseen_error_ends_neither_server_nor_thread(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    failures = [ZeroDivisionError("odd\n")]

    def fail(*_: object) -> None:
        if failures:
            raise failures.pop()

    with serving() as server:
        monkeypatch.setattr(server._reception, "_expire", fail)
        assert ask(server).status == 200
        failures.append(ZeroDivisionError("odd\n"))
        monkeypatch.setattr(server, "_site", None)
        assert talk(server, SCRAPE) == b""
    lines = capfd.readouterr().err.splitlines()
    assert r"tcptrace: serving HTTP: ZeroDivisionError: odd\n" in lines
    assert any(line.startswith("tcptrace: serving a client: AttributeError") for line in lines)


def test_clients_that_vanish_leave_nothing_behind() -> None:
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    with serving(huge) as server:
        for sent in (b"", PARTIAL, SCRAPE, SCRAPE * 3) * 25:
            with connect(server) as client:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                client.sendall(sent)
        wait_until(lambda: left_alone(server), "some connections are still there")
        assert ask(server).status == 200
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


PIECES = st.binary(max_size=30) | st.sampled_from(
    [
        b"GET ", b"HEAD ", b"/metrics", b" HTTP/1.1", b" HTTP/1.0", b"\r\n", b"\n", b"\r\n\r\n",
        b"Host: x\r\n", b"Connection: keep-alive\r\n", b"Content-Length: 5\r\n", b"http://",
        b"Authorization: Basic ", b"Accept-Encoding: gzip;q=\r\n", b"\x16\x03\x01", b"\0", b" ",
        b"Transfer-Encoding: chunked\r\n", SCRAPE, SCRAPE[:-2],
    ]
)  # fmt: skip


@pytest.fixture(scope="module")
def fuzzed(certificates: Certificates) -> Iterator[tuple[MetricsServer, MetricsServer]]:
    config = configured(certificates.directory, TLS)
    complaints: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tcptrace.sinks.web.reception.complain", complaints.append)
        with serving() as plain, serving(config=config) as secured:
            yield plain, secured
            wait_until(lambda: left_alone(plain), "connections are left")
            wait_until(lambda: left_alone(secured), "connections are left")
    assert complaints == []


@settings(max_examples=300)
@given(st.lists(PIECES, max_size=12).map(b"".join))
def test_nonsense_is_survived(fuzzed: tuple[MetricsServer, MetricsServer], data: bytes) -> None:
    plain, secured = fuzzed
    received = talk(plain, data)
    assert not received or received.startswith(b"HTTP/1.1 ")
    talk(secured, data)
    assert ask(plain).status == 200
