from __future__ import annotations

import os
import re
import ssl
from typing import TYPE_CHECKING

import bcrypt
import pytest

from tcptrace.errors import BadArgument
from tcptrace.sinks.web.config import read_config
from tcptrace.sinks.web.settings import WebConfig
from unit.sinks.web import certificates as making

if TYPE_CHECKING:
    from pathlib import Path

    from unit.sinks.web.certificates import Certificates

HASH = bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode()
PAIR = "cert_file: server.crt, key_file: server.key"
CLIENTS = "client_ca_file: authority.crt, client_auth_type: RequireAndVerifyClientCert"


@pytest.fixture
def directory(certificates: Certificates) -> Path:
    """Where the configuration lies beside the certificates."""
    return certificates.directory


def read(directory: Path, text: str | bytes) -> WebConfig:
    path = directory / "web.yml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_config(path)


def context(directory: Path, options: str = "") -> ssl.SSLContext:
    config = read(directory, f"tls_server_config: {{{PAIR}, {options}}}")
    assert config.tls is not None
    return config.tls.context


def test_everything_at_once(directory: Path) -> None:
    config = read(
        directory,
        f"""
        tls_server_config:
          cert_file: server.crt
          key_file: server.key
          client_ca_file: authority.crt
          client_auth_type: RequireAndVerifyClientCert
          client_allowed_sans: [scraper.test, "FD00:0:0::7"]
          min_version: TLS12
          max_version: TLS13
          cipher_suites:
            - TLS_AES_128_GCM_SHA256
            - TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384
            - TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256
          prefer_server_cipher_suites: false
          curve_preferences: [CurveP384]
        http_server_config:
          http2: true
          headers:
            X-Frame-Options: deny
            X-XSS-Protection: 0
            Content-Security-Policy: ""
            Strict-Transport-Security:
        basic_auth_users:
          alice: {HASH}
          007: {HASH}
          yes: {HASH}
        """,
    )
    assert config.tls is not None
    assert config.tls.allowed_sans == {"scraper.test", "fd00::7"}
    tls = config.tls.context
    assert tls.verify_mode == ssl.CERT_REQUIRED
    assert not tls.options & ssl.OP_CIPHER_SERVER_PREFERENCE
    old = [suite["name"] for suite in tls.get_ciphers() if suite["protocol"] == "TLSv1.2"]
    assert old == ["ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-RSA-CHACHA20-POLY1305"]
    assert config.headers == {"X-Frame-Options": "deny", "X-XSS-Protection": "0"}
    assert config.users == {"alice": HASH, "007": HASH, "yes": HASH}
    assert HASH not in repr(config)


def test_what_is_not_said_has_its_default(directory: Path) -> None:
    tls = context(directory)
    assert tls.verify_mode == ssl.CERT_NONE
    assert tls.minimum_version == ssl.TLSVersion.TLSv1_2
    assert tls.maximum_version == ssl.TLSVersion.TLSv1_3
    assert tls.options & ssl.OP_CIPHER_SERVER_PREFERENCE
    assert read(directory, "http_server_config: {http2: no}") == WebConfig()


def test_pem_may_stand_in_the_file_itself(certificates: Certificates) -> None:
    def inline(path: Path) -> str:
        return path.read_text().replace("\n", "\n    ")

    config = read(
        certificates.directory,
        f"""
tls_server_config:
  cert: |
    {inline(certificates.server.certificate)}
  key: |
    {inline(certificates.server.key)}
  client_ca: |
    # Jürgens Zertifikat
    {inline(certificates.authority.certificate)}
  client_auth_type: VerifyClientCertIfGiven
""",
    )
    assert config.tls is not None
    assert config.tls.context.verify_mode == ssl.CERT_OPTIONAL
    assert len(config.tls.context.get_ca_certs()) == 1


def test_absolute_paths_stay_so(certificates: Certificates, tmp_path: Path) -> None:
    pair = certificates.server
    text = f"tls_server_config: {{cert_file: {pair.certificate}, key_file: {pair.key}}}"
    assert read(tmp_path, text).tls is not None


def test_only_suites_of_tls13_mean_tls13_only(directory: Path) -> None:
    tls = context(directory, "cipher_suites: [TLS_AES_256_GCM_SHA384]")
    assert tls.minimum_version == ssl.TLSVersion.TLSv1_3


def test_no_suites_mean_openssls(directory: Path) -> None:
    assert len(context(directory, "cipher_suites: []").get_ciphers()) > 5


@pytest.mark.parametrize("curve", ["CurveP256", "CurveP384", "CurveP521"])
def test_a_curve_can_be_set(directory: Path, curve: str) -> None:
    context(directory, f"curve_preferences: [{curve}]")


def test_a_curve_that_this_python_cannot_set_is_refused(directory: Path) -> None:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).set_ecdh_curve("X25519")
    except (ValueError, ssl.SSLError):
        with pytest.raises(BadArgument, match="curve_preferences: this Python can't set X25519"):
            context(directory, "curve_preferences: [X25519]")
    else:
        context(directory, "curve_preferences: [X25519]")


def test_no_descriptor_stays_open(directory: Path) -> None:
    def count() -> int:
        return len(os.listdir("/proc/self/fd"))  # noqa: PTH208

    before = count()
    context(directory, CLIENTS)
    with pytest.raises(BadArgument):
        context(directory, "min_version: TLS9")
    assert count() == before


TLS = "tls_server_config: {%s}"
HTTP = "http_server_config: {%s}"
USERS = "basic_auth_users: {%s}"
MALFORMED: dict[str, tuple[str | bytes, str]] = {
    # The document.
    "empty": ("", "is empty"),
    "comments only": ("# later\n", "is empty"),
    "null": ("null", "must be a mapping"),
    "list": ("- a\n", "must be a mapping"),
    "text": ("tls_server_config", "must be a mapping"),
    "no YAML": ("a: [b", "line 1: is no YAML"),
    "two documents": ("a: b\n---\nc: d\n", "is no YAML"),
    "binary": (b"\x00\xff\xfe", "is no YAML"),
    "a tag of Python's": ("!!python/object/apply:os.system ['true']", "must be a mapping"),
    "a tagged key": ("? !!python/name:os.system\n: x", "key must be text"),
    "an escape beyond Unicode": ('a: "\\UFFFFFFFF"', "is no YAML"),
    "too deep": ("[" * 20_000, "is no YAML"),
    "too long": ("#" * 70_000, "larger than 64 KiB"),
    "a key twice": (f"{USERS}\n{USERS}" % (f"a: {HASH}", f"b: {HASH}"), "stands twice"),
    "a user twice": (USERS % f"a: {HASH}, a: {HASH}", "basic_auth_users.a: stands twice"),
    "a list as key": ("? [a, b]\n: c\n", "key must be text"),
    "a merge": ("a: &a {b: c}\n<<: *a\n", "key must be text"),
    "an unknown key": ("tls_config: {}", "tls_config: unknown key; there are tls_server_config"),
    "a rate limit": ("rate_limit: {interval: 1s, burst: 20}", "rate_limit: isn't supported"),
    "excluded paths": ("auth_excluded_paths: [/-/healthy]", "isn't supported"),
    "a hostile key": ('"\\u001b[2J\\n": x', r"\\x1b\[2J\\n: unknown key"),
    "a long key": ("k" * 500 + ": x", "k…: unknown key"),
    # Sections.
    "null section": ("tls_server_config:\n", "tls_server_config: must be a mapping"),
    "empty section": ("basic_auth_users: {}", "basic_auth_users: is empty"),
    "list section": ("http_server_config: []", "must be a mapping"),
    "itself": ("&a\ntls_server_config: *a\n", "tls_server_config.tls_server_config: unknown key"),
    # TLS: certificate and key.
    "no certificate": (TLS % "key_file: server.key", r"needs cert_file \(or cert\)"),
    "no key": (TLS % "cert_file: server.crt", r"needs key_file \(or key\)"),
    "missing certificate": (
        TLS % "cert_file: x, key_file: server.key",
        r"cert_file: /.*/x: can't be read: No such",
    ),
    "a directory": (TLS % "cert_file: ., key_file: server.key", "can't be read: Is a dir"),
    "a device": (TLS % "cert_file: /dev/zero, key_file: server.key", "is no regular file"),
    "a NUL in a name": (TLS % 'cert_file: "a\\0b", key_file: server.key', "is no file name"),
    "a surrogate in a name": (TLS % 'cert_file: "\\uD800", key_file: x', "is no file name"),
    "blank certificate": (TLS % "cert_file: '', key_file: server.key", "cert_file: is empty"),
    "null certificate": (TLS % "cert_file: , key_file: server.key", "cert_file: is empty"),
    "list certificate": (TLS % "cert_file: [a], key_file: b", "cert_file: must be text"),
    "both forms": (TLS % f"cert: x, {PAIR}", "cert_file: and cert can't both be given"),
    "key as certificate": (TLS % "cert_file: server.key, key_file: server.key", "no certificate"),
    "certificate as key": (TLS % "cert_file: server.crt, key_file: server.crt", "no private key"),
    "others' key": (TLS % "cert_file: server.crt, key_file: client.key", "doesn't belong to"),
    "inline nonsense": (TLS % "cert: x, key: y", r"tls_server_config\.cert: holds no certificate"),
    "configuration as key": (TLS % "cert_file: server.crt, key_file: web.yml", "no private key"),
    # TLS: the rest.
    "unknown TLS key": (TLS % f"{PAIR}, ca_file: x", r"tls_server_config\.ca_file: unknown key"),
    "old TLS": (TLS % f"{PAIR}, min_version: TLS10", "min_version: must be one of TLS12, TLS13"),
    "TLS by number": (TLS % f"{PAIR}, max_version: 1.3", "max_version: must be one of"),
    "blank version": (TLS % f"{PAIR}, max_version: ''", "max_version: is empty"),
    "crossed versions": (TLS % f"{PAIR}, min_version: TLS13, max_version: TLS12", "above max_ver"),
    "unknown suite": (TLS % f"{PAIR}, cipher_suites: [TLS_RSA_WITH_RC4_128_SHA]", "there are TLS_"),
    "suite by OpenSSL's name": (TLS % f"{PAIR}, cipher_suites: [AES128-SHA]", "there are TLS_"),
    "suites as text": (TLS % f"{PAIR}, cipher_suites: TLS_AES_128_GCM_SHA256", "must be a list"),
    "nested suites": (TLS % f"{PAIR}, cipher_suites: [[a]]", "must be a list of texts"),
    "no suite left": (
        TLS % f"{PAIR}, max_version: TLS12, cipher_suites: [TLS_AES_128_GCM_SHA256]",
        "cipher_suites: has none for TLS12",
    ),
    "preference as text": (TLS % f"{PAIR}, prefer_server_cipher_suites: 'true'", "true or false"),
    "preference as number": (TLS % f"{PAIR}, prefer_server_cipher_suites: 1", "true or false"),
    "two curves": (TLS % f"{PAIR}, curve_preferences: [X25519, CurveP256]", "only one curve"),
    "unknown curve": (TLS % f"{PAIR}, curve_preferences: [brainpool]", "there are CurveP256"),
    # TLS: clients.
    "unknown policy": (TLS % f"{PAIR}, client_auth_type: Maybe", "client_auth_type: must be one"),
    "unverified": (TLS % f"{PAIR}, client_auth_type: RequireAnyClientCert", "without verification"),
    "requested": (TLS % f"{PAIR}, client_auth_type: RequestClientCert", "without verification"),
    "no authority": (
        TLS % f"{PAIR}, client_auth_type: RequireAndVerifyClientCert",
        "needs client_ca_file",
    ),
    "authority without policy": (TLS % f"{PAIR}, client_ca_file: authority.crt", "must say what"),
    "authority of nothing": (
        TLS % f"{PAIR}, client_ca_file: server.key, client_auth_type: VerifyClientCertIfGiven",
        "client_ca_file: holds no certificate",
    ),
    "names without policy": (TLS % f"{PAIR}, client_allowed_sans: [a]", "needs client_auth_type"),
    "names without need": (
        TLS % f"{PAIR}, client_ca_file: authority.crt, client_allowed_sans: [a], "
        "client_auth_type: VerifyClientCertIfGiven",
        "client_allowed_sans: needs client_auth_type",
    ),
    "no names": (TLS % f"{PAIR}, {CLIENTS}, client_allowed_sans: []", "is empty"),
    "a blank name": (TLS % f"{PAIR}, {CLIENTS}, client_allowed_sans: ['']", "an empty name"),
    # HTTP.
    "http2 as text": (HTTP % "http2: maybe", r"http_server_config\.http2: must be true or false"),
    "unknown HTTP key": (HTTP % "http3: true", "http3: unknown key; there are http2, headers"),
    "a header that is not allowed": (HTTP % "headers: {Server: x}", "Server: unknown key"),
    "a header in lower case": (HTTP % "headers: {x-frame-options: deny}", "unknown key"),
    "a header's wrong value": (HTTP % "headers: {X-Frame-Options: DENY}", "must be deny or same"),
    "a split header": (HTTP % r'headers: {X-XSS-Protection: "0\r\nA: b"}', "printable ASCII"),
    "a header beyond ASCII": (HTTP % "headers: {X-XSS-Protection: ü}", "printable ASCII"),
    "a header as list": (HTTP % "headers: {X-XSS-Protection: [a]}", "must be text"),
    # Users.
    "a password in the clear": (USERS % "alice: secret", "alice: is no bcrypt hash"),
    "a user without hash": (USERS % "alice: ", "alice: is empty"),
    "a hash of another kind": (USERS % "alice: $apr1$x$y", "is no bcrypt hash"),
    "an endless hash": (USERS % f"alice: {HASH.replace('$04$', '$31$')}", "cost must be from 4"),
    "a colon in a name": (USERS % f"'a:b': {HASH}", "without a colon"),
    "a name that prints badly": (USERS % f'"a\\eb": {HASH}', "must be printable"),
    "a nameless user": (USERS % f"'': {HASH}", "must be printable"),
    "users as list": ("basic_auth_users: [alice]", "basic_auth_users: must be a mapping"),
}


@pytest.mark.parametrize(("text", "expected"), MALFORMED.values(), ids=MALFORMED)
def test_what_is_malformed_is_refused(directory: Path, text: str | bytes, expected: str) -> None:
    with pytest.raises(BadArgument, match=expected) as caught:
        read(directory, text)
    message = str(caught.value)
    assert message.startswith(str(directory))
    assert message.isprintable()
    assert "secret" not in message
    assert len(message) < 700


def test_the_line_is_said(directory: Path) -> None:
    text = "# mine\nhttp_server_config:\n  http2: true\n  header: {}\n"
    expected = re.escape(f"{directory}/web.yml, line 4: http_server_config.header: unknown key")
    with pytest.raises(BadArgument, match=expected):
        read(directory, text)


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(BadArgument, match=r"no\\nsuch: can't be read: No such file"):
        read_config(tmp_path / "no\nsuch")


def test_a_fifo_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(BadArgument, match="is no regular file"):
        read_config(tmp_path / "fifo")


def test_an_unreadable_key_is_said(
    certificates: Certificates, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("server.crt", "server.key"):
        (tmp_path / name).write_bytes((certificates.directory / name).read_bytes())
    opened = os.open

    def refuse(path: str, flags: int) -> int:
        if str(path).endswith(".key"):
            raise PermissionError(13, "Permission denied")
        return opened(path, flags)

    monkeypatch.setattr("tcptrace.sinks.web.document._without_waiting", refuse)
    with pytest.raises(BadArgument, match=r"key_file: .*/server\.key: can't be read: Permission"):
        read(tmp_path, TLS % PAIR)


def test_an_encrypted_key_is_said_and_nobody_asked(
    certificates: Certificates, tmp_path: Path
) -> None:
    locked = tmp_path / "locked.key"
    making.run(
        "ec", "-in", certificates.server.key, "-aes128", "-passout", "pass:x", "-out", locked
    )
    pair = f"cert_file: {certificates.server.certificate}, key_file: {locked}"
    with pytest.raises(BadArgument, match="key_file: is encrypted"):
        read(tmp_path, TLS % pair)


def test_a_certificate_that_is_too_weak_is_said(tmp_path: Path) -> None:
    making.run(
        *("req", "-x509", "-newkey", "rsa:1024", "-nodes", "-subj", "/CN=x"),
        *("-keyout", tmp_path / "x.key", "-out", tmp_path / "x.crt"),
    )
    with pytest.raises(BadArgument, match="cert_file: OpenSSL refuses it: ee key too small"):
        read(tmp_path, TLS % "cert_file: x.crt, key_file: x.key")
