"""Certificates and keys in PEM: from the configuration, inline or in files, into an SSLContext."""

from __future__ import annotations

import contextlib
import os
import ssl
from typing import TYPE_CHECKING, Final

from tcptrace.errors import BadArgument
from tcptrace.sinks.web.document import read_bounded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tcptrace.sinks.web.document import Section

_LARGEST: Final = 1 << 20
"""Bytes of a PEM file."""
_MISMATCHES: Final = ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH")
_BAD_CERTIFICATES: Final = ("EE_KEY_TOO_SMALL", "CA_KEY_TOO_SMALL", "CA_MD_TOO_WEAK")


def load_chain(context: ssl.SSLContext, section: Section) -> None:
    """Loads the server's certificate (`cert`, `cert_file`) and its key (`key`, `key_file`).

    Raises:
        BadArgument: one is missing, unusable, or doesn't belong to the other.
    """
    certificate_key, certificate = _pem(section, "cert")
    key_key, key = _pem(section, "key")
    encrypted = False

    def passphrase() -> str:
        nonlocal encrypted
        encrypted = True
        return ""

    with _as_file(certificate) as certificate_path, _as_file(key) as key_path:
        _trust(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), certificate_path, section, certificate_key)
        try:
            context.load_cert_chain(certificate_path, key_path, passphrase)
        except (ssl.SSLError, ValueError) as error:
            reason = getattr(error, "reason", None) or ""
            if encrypted:
                raise section.wrong(key_key, "is encrypted, and nobody can be asked") from error
            if reason in _MISMATCHES:
                raise section.wrong(key_key, "doesn't belong to the certificate") from error
            if reason in _BAD_CERTIFICATES:
                words = reason.lower().replace("_", " ")
                raise section.wrong(certificate_key, f"OpenSSL refuses it: {words}") from error
            raise section.wrong(key_key, "holds no private key in PEM") from error


def load_authorities(context: ssl.SSLContext, section: Section) -> None:
    """Loads those who may sign clients' certificates (`client_ca`, `client_ca_file`).

    Raises:
        BadArgument: there are none.
    """
    key, authorities = _pem(section, "client_ca")
    with _as_file(authorities) as path:
        _trust(context, path, section, key)


def _pem(section: Section, key: str) -> tuple[str, bytes]:
    """Returns the key that has the PEM text, inline or as `…_file`, and the text."""
    file_key = f"{key}_file"
    if key in section and file_key in section:
        raise section.wrong(file_key, f"and {key} can't both be given")
    inline = section.text(key)
    if inline is not None:
        return key, inline.encode("utf-8", "replace")
    name = section.text(file_key)
    if name is None:
        raise section.wrong("", f"needs {file_key} (or {key})")
    try:
        return file_key, read_bounded(section.path.parent / name, _LARGEST)
    except BadArgument as error:
        raise section.wrong(file_key, str(error)) from error


def _trust(context: ssl.SSLContext, path: str, section: Section, key: str) -> None:
    try:
        context.load_verify_locations(path)
    except ssl.SSLError as error:
        raise section.wrong(key, "holds no certificate in PEM, or a damaged one") from error


@contextlib.contextmanager
def _as_file(data: bytes) -> Iterator[str]:
    """Lends `data` a path for the ssl module, which loads nothing else; no disk sees it."""
    with os.fdopen(os.memfd_create("tcptrace-pem"), "wb") as file:
        file.write(data)
        file.flush()
        yield f"/proc/self/fd/{file.fileno()}"
