"""Where to send to and how: the URL, and OpenTelemetry's own environment variables.

Checked before anything begins, so that a slip is one line and not a silence. A variable for one
signal (OTEL_EXPORTER_OTLP_TRACES_ENDPOINT) goes before what is for both.

Source: OpenTelemetry's specification, protocol/exporter.md, sdk-environment-variables.md.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlsplit

from tcptrace.errors import BadArgument
from tcptrace.sinks.terminal import safe_text

if TYPE_CHECKING:
    from collections.abc import Mapping

METRICS: Final = "metrics"
TRACES: Final = "traces"
SIGNALS: Final = (METRICS, TRACES)
DEFAULT_TIMEOUT_S: Final = 10.0
DEFAULT_PERIOD_S: Final = 60.0
_PREFIX: Final = "OTEL_EXPORTER_OTLP_"
_SHORTEST_MS: Final = 100
_LONGEST_MS: Final = 3_600_000
_SCHEMES: Final = ("http", "https")
_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""RFC 9110, section 5.6.2: a token."""
_VALUE: Final = re.compile(r"[\x20-\x7e\t]*")
_OURS: Final = ("host", "content-length", "content-type", "content-encoding", "transfer-encoding")
_PROTOCOL: Final = "http/protobuf"


@dataclass(frozen=True)
class Settings:
    """What the sender needs.

    Attributes:
        urls: by signal; a signal that is not sent is not there.
        headers: to send with every request; their values are secrets.
        ca: a file of certificates to trust instead of the system's; "" for the system's.
        certificate: our own for the endpoint to see; "" for none.
        key: of that certificate, where it is not in the same file.
        gzip: whether to compress.
        timeout_s: for a whole request, seconds.
        period_s: between two states of the metrics.
        attributes: of the resource, as the environment has them.
    """

    urls: dict[str, str]
    headers: dict[str, str]
    ca: str = ""
    certificate: str = ""
    key: str = ""
    gzip: bool = False
    timeout_s: float = DEFAULT_TIMEOUT_S
    period_s: float = DEFAULT_PERIOD_S
    attributes: dict[str, str] | None = None

    def as_json(self) -> dict[str, Any]:
        """What Settings(**…) makes it of again."""
        return asdict(self)


def read_settings(url: str, environ: Mapping[str, str]) -> Settings:
    """Puts the URL and the environment together.

    Args:
        url: the endpoint's, to which /v1/metrics and /v1/traces are added.
        environ: this process's.

    Raises:
        BadArgument: the line names the option or the variable, and what it should be.
    """
    _require_protocol(environ)
    base = check_url(url, "--otlp")
    urls = {}
    for signal in SIGNALS:
        if environ.get(f"OTEL_{signal.upper()}_EXPORTER") == "none":
            continue
        variable = f"{_PREFIX}{signal.upper()}_ENDPOINT"
        own = environ.get(variable)
        urls[signal] = check_url(own, variable) if own else f"{base.rstrip('/')}/v1/{signal}"
    if not urls:
        raise BadArgument("--otlp: OTEL_METRICS_EXPORTER and OTEL_TRACES_EXPORTER are both none")
    compression = environ.get(f"{_PREFIX}COMPRESSION", "none")
    if compression not in ("none", "gzip"):
        raise BadArgument(f"{_PREFIX}COMPRESSION: {safe_text(compression)}: write none or gzip")
    attributes = _pairs(environ, "OTEL_RESOURCE_ATTRIBUTES")
    if service := _text(environ, "OTEL_SERVICE_NAME"):
        attributes["service.name"] = service
    return Settings(
        urls=urls,
        headers=_headers(environ),
        ca=environ.get(f"{_PREFIX}CERTIFICATE", ""),
        certificate=environ.get(f"{_PREFIX}CLIENT_CERTIFICATE", ""),
        key=environ.get(f"{_PREFIX}CLIENT_KEY", ""),
        gzip=compression == "gzip",
        timeout_s=_seconds(environ, f"{_PREFIX}TIMEOUT", DEFAULT_TIMEOUT_S),
        period_s=_seconds(environ, "OTEL_METRIC_EXPORT_INTERVAL", DEFAULT_PERIOD_S),
        attributes=attributes,
    )


def check_url(url: str, what: str) -> str:
    """Returns the URL.

    Raises:
        BadArgument: no request can be sent there.
    """
    shown = safe_text(url)
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise BadArgument(f"{what}: {shown}: {safe_text(str(error))}") from error
    if parts.scheme not in _SCHEMES or not host:
        raise BadArgument(f"{what}: {shown}: is no URL like http://collector.example:4318")
    if parts.username is not None or parts.password is not None:
        raise BadArgument(
            f"{what}: put credentials into {_PREFIX}HEADERS (authorization=…), not into the URL"
        )
    if parts.query or parts.fragment:
        raise BadArgument(f"{what}: {shown}: a query or a fragment has no place there")
    if not url.isascii() or not url.isprintable() or " " in url:
        raise BadArgument(f"{what}: {shown}: only ASCII without spaces; other characters as %XX")
    return url


def require_library() -> None:
    """Makes sure that OTLP can be written.

    Raises:
        BadArgument: says what to install.
    """
    from importlib.util import find_spec  # noqa: PLC0415 - needed here alone

    try:
        found = find_spec("opentelemetry.proto.collector")
    except ModuleNotFoundError:
        found = None
    if found is None:
        raise BadArgument(
            "--otlp needs opentelemetry-proto: pip install 'tcptrace[otlp]'; beside the Debian"
            " package: pip install --break-system-packages opentelemetry-proto"
        )


def _require_protocol(environ: Mapping[str, str]) -> None:
    protocol = environ.get(f"{_PREFIX}PROTOCOL", _PROTOCOL)
    if protocol != _PROTOCOL:
        raise BadArgument(
            f"{_PREFIX}PROTOCOL: {safe_text(protocol)}: only {_PROTOCOL} is spoken (port 4318)"
        )


def _headers(environ: Mapping[str, str]) -> dict[str, str]:
    variable = f"{_PREFIX}HEADERS"
    headers = _pairs(environ, variable)
    for name, value in headers.items():
        if not _NAME.fullmatch(name) or name.lower() in _OURS or not _VALUE.fullmatch(value):
            raise BadArgument(f"{variable}: {safe_text(name)} can't be sent as a header")
    return headers


def _text(environ: Mapping[str, str], variable: str) -> str:
    text = environ.get(variable, "")
    try:
        text.encode()
    except UnicodeEncodeError as error:  # bytes that os.environ has as lone surrogates
        raise BadArgument(f"{variable}: write it in UTF-8") from error
    return text


def _pairs(environ: Mapping[str, str], variable: str) -> dict[str, str]:
    """Reads name=value,name=value, with values percent-encoded; values are never shown."""
    pairs = {}
    for part in _text(environ, variable).split(","):
        name, equals, value = part.partition("=")
        if not part.strip():
            continue
        if not equals or not name.strip():
            raise BadArgument(f"{variable}: write it as name=value,name=value")
        pairs[unquote(name.strip())] = unquote(value.strip())
    return pairs


def _seconds(environ: Mapping[str, str], variable: str, default_s: float) -> float:
    text = environ.get(variable)
    if not text:
        return default_s
    if not (text.isascii() and text.isdigit() and _SHORTEST_MS <= int(text[:9]) <= _LONGEST_MS):
        raise BadArgument(
            f"{variable}: {safe_text(text)}: write milliseconds, {_SHORTEST_MS} to {_LONGEST_MS}"
        )
    return int(text) / 1000
