from __future__ import annotations

import socket
import ssl
from typing import TYPE_CHECKING

import pytest

from tcptrace.sinks.web.settings import WebConfig
from unit.sinks.web.serving import (
    BODY,
    DEADLINE_S,
    SCRAPE,
    ask,
    configured,
    connect,
    serving,
    talk,
    until_end,
)

if TYPE_CHECKING:
    from unit.sinks.web.certificates import Certificates, Pair

PAIR = "cert_file: server.crt, key_file: server.key"
TLS = f"tls_server_config: {{{PAIR}}}"
MUTUAL = (
    f"tls_server_config: {{{PAIR}, client_ca_file: authority.crt, "
    "client_auth_type: RequireAndVerifyClientCert%s}"
)


def trusting(certificates: Certificates, as_: Pair | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(certificates.authority.certificate))
    context.verify_flags &= ~getattr(ssl, "VERIFY_X509_STRICT", 0)
    context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
    if as_:
        context.load_cert_chain(as_.certificate, as_.key)
    return context


def admitted(certificates: Certificates, text: str, as_: Pair | None, version: str) -> bool:
    context = trusting(certificates, as_)
    context.maximum_version = ssl.TLSVersion[version]
    with serving(config=configured(certificates.directory, text)) as server:
        try:
            return ask(server, context=context).body == BODY
        except (ssl.SSLError, ConnectionError):
            return False


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
def test_a_scrape_over_tls(certificates: Certificates, version: str) -> None:
    context = trusting(certificates)
    context.set_alpn_protocols(["h2", "http/1.1"])
    context.maximum_version = ssl.TLSVersion[version]
    with serving(config=configured(certificates.directory, TLS)) as server:
        assert server.url.startswith("https://")
        with connect(server, context) as client:
            assert isinstance(client, ssl.SSLSocket)
            assert client.version() == version.replace("_", ".")
            assert client.selected_alpn_protocol() == "http/1.1"
            for _ in range(3):
                client.sendall(SCRAPE)
                assert client.recv(1 << 16).endswith(BODY)
            client.sendall(SCRAPE * 5 + b"GET / HTTP/1.0\r\n\r\n")
            received = until_end(client)  # raises without close_notify
            assert received.count(b"HTTP/1.1 200 OK") == 6


def test_a_large_response_over_tls(certificates: Certificates) -> None:
    body = b"x" * 3_000_000
    config = configured(certificates.directory, TLS)
    with serving(lambda _: (body, "text/plain"), config) as server:
        assert ask(server, context=trusting(certificates)).body == body


def test_versions_are_kept_to(certificates: Certificates) -> None:
    text = f"tls_server_config: {{{PAIR}, min_version: TLS13}}"
    assert admitted(certificates, text, None, "TLSv1_3")
    assert not admitted(certificates, text, None, "TLSv1_2")


def test_suites_are_kept_to(certificates: Certificates) -> None:
    suite = "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"
    text = f"tls_server_config: {{{PAIR}, max_version: TLS12, cipher_suites: [{suite}]}}"
    config = configured(certificates.directory, text)
    context = trusting(certificates)
    with serving(config=config) as server, connect(server, context) as client:
        assert isinstance(client, ssl.SSLSocket)
        assert (client.cipher() or [""])[0] == "ECDHE-ECDSA-CHACHA20-POLY1305"


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
@pytest.mark.parametrize(
    ("who", "allowed_sans", "expected"),
    [
        ("client", "", True),
        ("nameless", "", True),
        ("stranger", "", False),
        (None, "", False),
        ("client", "[scraper.test]", True),
        ("client", "[x, 10.1.2.3]", True),
        ("client", "['FD00:0::7']", True),
        ("client", "[ops@example.org]", True),
        ("client", "['spiffe://test/prom']", True),
        ("client", "[scraper, '*.test', client]", False),
        ("nameless", "[nameless]", False),
        ("stranger", "[scraper.test]", False),
    ],
)
def test_client_certificates(
    certificates: Certificates, who: str | None, allowed_sans: str, expected: bool, version: str
) -> None:
    names = f", client_allowed_sans: {allowed_sans}" if allowed_sans else ""
    pair = getattr(certificates, who) if who else None
    assert admitted(certificates, MUTUAL % names, pair, version) is expected


@pytest.mark.parametrize(("who", "expected"), [("client", True), (None, True), ("stranger", False)])
def test_a_certificate_may_be_optional(
    certificates: Certificates, who: str | None, expected: bool
) -> None:
    text = MUTUAL.replace("RequireAndVerifyClientCert", "VerifyClientCertIfGiven") % ""
    pair = getattr(certificates, who) if who else None
    assert admitted(certificates, text, pair, "TLSv1_3") is expected


def test_an_intermediate_may_be_whom_to_trust(certificates: Certificates) -> None:
    text = MUTUAL.replace("authority.crt", "intermediate.crt") % ""
    assert admitted(certificates, text, certificates.deputed, "TLSv1_3")
    assert not admitted(certificates, text, certificates.client, "TLSv1_3")


def test_who_speaks_plain_http_is_told(certificates: Certificates) -> None:
    with serving(config=configured(certificates.directory, TLS)) as server:
        answer = talk(server, SCRAPE)
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert answer.endswith(b"this port speaks https\n")


def test_who_speaks_no_tls_after_its_first_byte_is_dropped(certificates: Certificates) -> None:
    with serving(config=configured(certificates.directory, TLS)) as server:
        assert b"HTTP" not in talk(server, b"\x16" + b"nonsense" * 99)
        assert ask(server, context=trusting(certificates)).status == 200


def test_a_resumed_session_is_checked_too(certificates: Certificates) -> None:
    text = MUTUAL % ", client_allowed_sans: [scraper.test]"
    context = trusting(certificates, certificates.client)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with serving(config=configured(certificates.directory, text)) as server:
        with connect(server, context) as first:
            assert isinstance(first, ssl.SSLSocket)
            session = first.session
        plain = socket.create_connection(server.address, DEADLINE_S)
        with context.wrap_socket(plain, server_hostname="127.0.0.1", session=session) as second:
            assert second.session_reused
            second.sendall(SCRAPE)
            assert second.recv(1 << 16).endswith(BODY)


def test_reload_swaps_certificates_and_ends_old_connections(certificates: Certificates) -> None:
    directory = certificates.directory
    context = trusting(certificates)
    with serving(config=configured(directory, TLS)) as server:
        with connect(server, context) as client:
            client.sendall(SCRAPE)
            assert client.recv(1 << 16).endswith(BODY)
            server.reload(configured(directory, MUTUAL % ""))
            assert until_end(client) == b""  # raises without close_notify
        with pytest.raises((ssl.SSLError, ConnectionError)):
            ask(server, context=context)
        assert ask(server, context=trusting(certificates, certificates.client)).status == 200
        server.reload(WebConfig())
        assert ask(server).status == 200
