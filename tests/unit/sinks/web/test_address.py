from __future__ import annotations

import errno
import os
import socket

import pytest

from tcptrace.errors import BadArgument, NotThere, OutputFailed
from tcptrace.sinks.web.address import listen, parse_address


@pytest.mark.parametrize(
    ("text", "address"),
    [
        (":9100", ("", 9100)),
        ("127.0.0.1:0", ("127.0.0.1", 0)),
        ("[::]:9100", ("::", 9100)),
        ("[fe80::1%eth0]:65535", ("fe80::1%eth0", 65535)),
        ("host.example:80", ("host.example", 80)),
        ("[2001:db8::1]:65535", ("2001:db8::1", 65535)),
    ],
)
def test_addresses_are_read(text: str, address: tuple[str, int]) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize(
    "text",
    [
        "",
        "9100",
        "::1:9100",
        "[::1]",
        "[::1]9100",
        ":65536",
        ":-1",
        ":٣",
        "a:b",
        "a:1:2",
        "\n:1:",
        "[::1:80",
    ],
)
def test_what_is_no_address_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(BadArgument, match="no address") as caught:
        parse_address(text)
    assert "\n" not in str(caught.value)


def reaches(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=5):
            return True
    except OSError:
        return False


@pytest.mark.parametrize("host", ["", "::"])
def test_every_address_means_ipv4_and_ipv6(host: str) -> None:
    with listen(host, 0) as listener:
        port = listener.getsockname()[1]
        assert reaches("127.0.0.1", port)
        assert reaches("::1", port)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_one_address_is_one_address(host: str) -> None:
    with listen(host, 0) as listener:
        port = listener.getsockname()[1]
        assert reaches("127.0.0.1", port) == (host != "::1")
        assert reaches("::1", port) == (host == "::1")


def test_a_host_without_ipv6_listens_on_ipv4(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tcptrace.sinks.web.address._has_ipv6", lambda: False)
    with listen("", 0) as listener:
        assert listener.family == socket.AF_INET


def test_a_taken_port_is_said() -> None:
    with listen("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(OutputFailed, match=rf"127\.0\.0\.1:{port}: Address already in use"):
            listen("127.0.0.1", port)


def test_a_forbidden_port_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(socket.socket, "bind", refuse)
    with pytest.raises(OutputFailed, match=r"can't listen on \[::1\]:80: Permission denied"):
        listen("::1", 80)


@pytest.mark.parametrize("host", ["a" * 70, "\udc80", "\0"])
def test_what_can_be_no_address_is_said(host: str) -> None:
    with pytest.raises(BadArgument, match="can't listen on") as caught:
        listen(host, 9100)
    assert str(caught.value).isprintable()


def test_an_address_that_is_not_here_may_come() -> None:
    with pytest.raises(NotThere, match=r"can't listen on 192\.0\.2\.1:9100: "):
        listen("192.0.2.1", 9100)


@pytest.mark.parametrize(
    ("number", "error"), [(socket.EAI_AGAIN, NotThere), (socket.EAI_NONAME, BadArgument)]
)
def test_a_name_that_nobody_knows_yet_too(
    number: int, error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    def know_nothing(*_: object, **__: object) -> None:
        raise socket.gaierror(number, "nobody knows")

    monkeypatch.setattr(socket, "getaddrinfo", know_nothing)
    with pytest.raises(error, match=r"can't listen on here\.example:9100: nobody knows"):
        listen("here.example", 9100)
