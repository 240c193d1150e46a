"""Whatever the file holds, it is a WebConfig or a BadArgument of one line."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tcptrace.errors import BadArgument
from tcptrace.sinks.web.config import read_config
from unit.sinks.web.test_config import HASH, MALFORMED

if TYPE_CHECKING:
    from tcptrace.sinks.web.settings import WebConfig

EXAMPLES = settings(max_examples=300)
KEYS = (
    "tls_server_config", "http_server_config", "basic_auth_users", "rate_limit", "headers", "http2",
    "cert", "cert_file", "key", "key_file", "client_ca_file", "client_auth_type",
    "client_allowed_sans", "min_version", "max_version", "cipher_suites", "curve_preferences",
    "prefer_server_cipher_suites", "X-Frame-Options", "Content-Security-Policy", "<<", "alice",
)  # fmt: skip
VALUES = (
    "TLS12", "TLS13", "NoClientCert", "RequireAndVerifyClientCert", "X25519", "deny", "nosniff",
    "TLS_AES_128_GCM_SHA256", "/dev/null", "..", HASH, "a: b", "&a", "*a", "!!binary x",
)  # fmt: skip
LEAVES = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.dates() | st.datetimes()
    | st.binary(max_size=8) | st.text(max_size=8) | st.sampled_from(VALUES)
)  # fmt: skip
TREES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=4), inner, max_size=6)
    ),
    max_leaves=20,
)
PIECES = st.sampled_from(
    [*KEYS, *VALUES, ":", ": ", "\n", "\n  ", "- ", "{", "}", "[", "]", "&a ", "*a", "? ", "| ",
     ">", '"', "'", "%YAML 1.1\n", "---", "...", "!!map ", "!", "\\x", "\t", "#", ","]
)  # fmt: skip


def read(data: bytes) -> WebConfig | None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "web.yml")
        path.write_bytes(data)
        try:
            return read_config(path)
        except BadArgument as error:
            assert str(error).isprintable()  # noqa: PT017
            return None


@EXAMPLES
@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_random_bytes(data: bytes) -> None:
    read(data)


@EXAMPLES
@given(st.lists(PIECES, max_size=40))
def test_random_pieces_of_yaml(pieces: list[str]) -> None:
    read("".join(pieces).encode())


@EXAMPLES
@given(TREES)
def test_random_structures(tree: Any) -> None:
    read(yaml.safe_dump(tree, allow_unicode=True).encode("utf-8", "surrogatepass"))


@EXAMPLES
@given(
    st.sampled_from([text for text, _ in MALFORMED.values() if len(text) < 500]),
    st.integers(0, 500),
    st.binary(max_size=3),
)
def test_what_is_nearly_right(text: str | bytes, at: int, inserted: bytes) -> None:
    data = text if isinstance(text, bytes) else text.encode()
    read(data[:at] + inserted + data[at + 1 :])


LARGE = 65_000
BOMBS = {
    "brackets": b"[" * LARGE,
    "closed brackets": b"[" * (LARGE // 2) + b"]" * (LARGE // 2),
    "keys": b"? " * (LARGE // 2),
    "dashes": b"- " * (LARGE // 2),
    "steps": b"".join(b" " * depth + b"a:\n" for depth in range(350)),
    "digits": b"%YAML " + b"9" * LARGE + b".1\n---\na",
    "anchors": b"a: [" + b"&a x, *a, " * (LARGE // 11) + b"]",
    "laughs": b"a0: &a0 {x: y}\n"
    + b"".join(
        b"a%d: &a%d {%s}\n"
        % (n, n, b", ".join(b"k%d: *a%d" % (key, n - 1) for key in range(10)) + b", <<: *a0")
        for n in range(1, 40)
    ),
    "quotes": b'"' + b"\\n" * (LARGE // 2) + b'"',
    "newlines": b"a: |\n" + b" \n" * (LARGE // 2),
    "comments": b"#\n" * (LARGE // 2),
    "users": b"basic_auth_users:\n" + b"".join(b"  a%d: x\n" % n for n in range(6000)),
}


@pytest.mark.parametrize("data", BOMBS.values(), ids=BOMBS)
def test_bombs_take_seconds_at_most(data: bytes) -> None:
    began_s = time.process_time()
    assert read(data) is None
    assert time.process_time() - began_s < 10
