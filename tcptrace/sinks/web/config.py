"""The web configuration file, in the format that Prometheus' exporters share.

As there, paths are relative to the file. Not as there: it is read once, and again when asked to,
since its key may not be readable once the process has dropped its privileges; and what can't be
honoured is an error. `http2: true`, the format's default, is leave to speak it, not an order:
HTTP/1.1 is spoken.

Source: github.com/prometheus/exporter-toolkit, docs/web-configuration.md.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from tcptrace.sinks.web.auth import flaw_of
from tcptrace.sinks.web.document import read_document
from tcptrace.sinks.web.settings import WebConfig
from tcptrace.sinks.web.tls import server_tls

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tcptrace.sinks.web.document import Section

_KEYS: Final = ("tls_server_config", "http_server_config", "basic_auth_users")
_UNSUPPORTED: Final = {
    "rate_limit": "isn't supported; how much is served at once is bounded anyway",
    "auth_excluded_paths": "isn't supported; basic_auth_users guard every path",
}
_HEADERS: Final[Mapping[str, tuple[str, ...]]] = {
    "Content-Security-Policy": (),
    "Strict-Transport-Security": (),
    "X-Content-Type-Options": ("nosniff",),
    "X-Frame-Options": ("deny", "sameorigin"),
    "X-XSS-Protection": (),
}
"""Headers that may be set, and their values where only some will do."""


def read_config(path: Path) -> WebConfig:
    """Reads a web configuration file, and every file that it names.

    Raises:
        BadArgument: it can't be read, isn't in the format, or asks for what can't be honoured.
    """
    document = read_document(path)
    document.expect(_KEYS, _UNSUPPORTED)
    tls = document.section("tls_server_config")
    http = document.section("http_server_config")
    users = document.section("basic_auth_users")
    return WebConfig(
        tls=server_tls(tls) if tls else None,
        headers=MappingProxyType(_headers(http) if http else {}),
        users=MappingProxyType(_users(users) if users else {}),
    )


def _headers(http: Section) -> dict[str, str]:
    http.expect(("http2", "headers"))
    http.flag("http2", default=True)
    section = http.section("headers")
    if not section:
        return {}
    section.expect(_HEADERS)
    headers = {}
    for name in section.names():
        value = section.text(name, may_be_blank=True)
        if not value:
            continue  # the format's way to unset one
        allowed = _HEADERS[name]
        if allowed and value not in allowed:
            raise section.wrong(name, f"must be {' or '.join(allowed)}")
        if not (value.isascii() and value.isprintable()):
            raise section.wrong(name, "must be printable ASCII")
        headers[name] = value
    return headers


def _users(section: Section) -> dict[str, str]:
    users = {}
    for user in section.names():
        if not user or ":" in user or not user.isprintable():
            raise section.wrong(user, "a user's name must be printable, without a colon")
        hashed = section.text(user) or ""
        if flaw := flaw_of(hashed):
            raise section.wrong(user, flaw)
        users[user] = hashed
    return users
