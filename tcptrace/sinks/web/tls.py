"""The section `tls_server_config` as an SSLContext.

What Python's ssl module can't do is refused: certificates that are asked for but not verified, more
than one curve, TLS before 1.2 (which OpenSSL's default security level rules out).
"""

from __future__ import annotations

import ipaddress
import ssl
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from tcptrace.sinks.web.pem import load_authorities, load_chain

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tcptrace.sinks.web.document import Section

_T = TypeVar("_T")
_KEYS: Final = (
    "cert", "cert_file", "key", "key_file", "client_ca", "client_ca_file", "client_auth_type",
    "client_allowed_sans", "min_version", "max_version", "cipher_suites",
    "prefer_server_cipher_suites", "curve_preferences",
)  # fmt: skip
_VERSIONS: Final = {"TLS12": ssl.TLSVersion.TLSv1_2, "TLS13": ssl.TLSVersion.TLSv1_3}
_CURVES: Final = {
    "CurveP256": "prime256v1",
    "CurveP384": "secp384r1",
    "CurveP521": "secp521r1",
    "X25519": "X25519",
}
_ALWAYS_ON: Final = (
    "TLS_AES_128_GCM_SHA256",
    "TLS_AES_256_GCM_SHA384",
    "TLS_CHACHA20_POLY1305_SHA256",
)
"""TLS 1.3's suites: not configurable, neither here nor in Go."""
_ENCRYPTIONS: Final = {
    "AES_128_CBC_SHA": "AES128-SHA",
    "AES_256_CBC_SHA": "AES256-SHA",
    "AES_128_GCM_SHA256": "AES128-GCM-SHA256",
    "AES_256_GCM_SHA384": "AES256-GCM-SHA384",
    "CHACHA20_POLY1305_SHA256": "CHACHA20-POLY1305",
}
_SUITES: Final = {
    f"TLS_ECDHE_{signature}_WITH_{iana}": f"ECDHE-{signature}-{openssl}"
    for signature in ("ECDSA", "RSA")
    for iana, openssl in _ENCRYPTIONS.items()
}
"""Those of Go's crypto/tls.CipherSuites up to TLS 1.2, and OpenSSL's names for them."""
_VERIFYING: Final = {
    "VerifyClientCertIfGiven": ssl.CERT_OPTIONAL,
    "RequireAndVerifyClientCert": ssl.CERT_REQUIRED,
}
_UNVERIFYING: Final = ("RequestClientCert", "RequireAnyClientCert", "RequireClientCert")


class Tls(NamedTuple):
    """How to secure a connection."""

    context: ssl.SSLContext
    allowed_sans: frozenset[str]
    """A client's certificate must have one of these alternative names; empty: any will do."""

    def admits(self, certificate: Mapping[str, Any] | None) -> bool:
        """Whether a verified certificate, as `getpeercert` has it, may pass."""
        if not self.allowed_sans:
            return True
        names = (certificate or {}).get("subjectAltName", ())
        return any(canonical_san(str(name)) in self.allowed_sans for _, name in names)


def canonical_san(name: str) -> str:
    """Writes an alternative name that is an IP address in its shortest form."""
    try:
        return str(ipaddress.ip_address(name.strip()))
    except ValueError:
        return name


def server_tls(section: Section) -> Tls:
    """Reads the section, and every file that it names.

    Raises:
        BadArgument: something is missing, wrong, or can't be honoured.
    """
    section.expect(_KEYS)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    _set_versions(context, section)
    _set_suites(context, section)
    _set_curve(context, section)
    load_chain(context, section)
    _set_clients(context, section)
    return Tls(context, _allowed_sans(context, section))


def _set_versions(context: ssl.SSLContext, section: Section) -> None:
    lowest, highest = (
        _choice(section, key, _VERSIONS, default)
        for key, default in (("min_version", "TLS12"), ("max_version", "TLS13"))
    )
    if lowest > highest:
        raise section.wrong("min_version", "is above max_version")
    context.minimum_version = lowest
    context.maximum_version = highest


def _choice(section: Section, key: str, choices: Mapping[str, _T], default: str) -> _T:
    text = section.text(key) or default
    if text not in choices:
        raise section.wrong(key, f"must be one of {', '.join(choices)}")
    return choices[text]


def _set_suites(context: ssl.SSLContext, section: Section) -> None:
    names = section.texts("cipher_suites")
    for name in names:
        if name not in _SUITES and name not in _ALWAYS_ON:
            raise section.wrong("cipher_suites", f"there are {', '.join((*_SUITES, *_ALWAYS_ON))}")
    chosen = [_SUITES[name] for name in names if name in _SUITES]
    if chosen:
        _choose_suites(context, section, chosen)
    elif names:
        if context.maximum_version < ssl.TLSVersion.TLSv1_3:
            raise section.wrong("cipher_suites", "has none for TLS12, which max_version asks for")
        context.minimum_version = ssl.TLSVersion.TLSv1_3
    if not section.flag("prefer_server_cipher_suites", default=True):
        context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE


def _choose_suites(context: ssl.SSLContext, section: Section, chosen: list[str]) -> None:
    try:
        context.set_ciphers(":".join(chosen))
    except ssl.SSLError:
        offered = set[str]()
    else:
        offered = {str(cipher["name"]) for cipher in context.get_ciphers()}
    if missing := set(chosen) - offered:
        names = ", ".join(sorted(missing))
        raise section.wrong("cipher_suites", f"this host's OpenSSL doesn't offer {names}")


def _set_curve(context: ssl.SSLContext, section: Section) -> None:
    names = section.texts("curve_preferences")
    for name in names:
        if name not in _CURVES:
            raise section.wrong("curve_preferences", f"there are {', '.join(_CURVES)}")
    if len(names) > 1:
        raise section.wrong("curve_preferences", "only one curve can be set here")
    try:
        for name in names:
            context.set_ecdh_curve(_CURVES[name])
    except (ValueError, ssl.SSLError) as error:
        raise section.wrong("curve_preferences", f"this Python can't set {names[0]}") from error


def _set_clients(context: ssl.SSLContext, section: Section) -> None:
    name = section.text("client_auth_type") or "NoClientCert"
    has_authorities = "client_ca" in section or "client_ca_file" in section
    if name == "NoClientCert":
        if has_authorities:
            raise section.wrong("client_auth_type", "must say what client_ca_file is for")
        return
    if name in _UNVERIFYING:
        message = "certificates without verification can't be asked for; use"
        raise section.wrong("client_auth_type", f"{message} {' or '.join(_VERIFYING)}")
    context.verify_mode = _choice(section, "client_auth_type", _VERIFYING, "")
    # As in Go, whatever is in the file is trusted, be it an intermediate.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    load_authorities(context, section)


def _allowed_sans(context: ssl.SSLContext, section: Section) -> frozenset[str]:
    if "client_allowed_sans" not in section:
        return frozenset()
    if context.verify_mode != ssl.CERT_REQUIRED:
        message = "needs client_auth_type RequireAndVerifyClientCert"
        raise section.wrong("client_allowed_sans", message)
    names = section.texts("client_allowed_sans")
    if not all(names) or not names:
        raise section.wrong("client_allowed_sans", "is empty, or has an empty name")
    return frozenset(map(canonical_san, names))
