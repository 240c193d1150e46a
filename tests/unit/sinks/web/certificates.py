"""Keys and certificates for the tests, made with openssl's command line."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path

SERVER_NAMES = "DNS:localhost,IP:127.0.0.1,IP:::1"
CLIENT_NAMES = (
    "DNS:scraper.test,IP:10.1.2.3,IP:fd00::7,email:ops@example.org,URI:spiffe://test/prom"
)


class Pair(NamedTuple):
    certificate: Path
    key: Path


class Certificates(NamedTuple):
    """An authority with a server and two clients, and a client of an authority nobody trusts."""

    directory: Path
    authority: Pair
    server: Pair
    client: Pair
    nameless: Pair
    stranger: Pair
    intermediate: Pair
    """Signed by the authority."""
    deputed: Pair
    """A client, signed by the intermediate."""


def run(*arguments: str | Path) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True, timeout=60)


def signed(directory: Path, name: str, by: Pair | None, *extensions: str) -> Pair:
    """Makes a pair; without `by` it signs itself."""
    pair = Pair(directory / f"{name}.crt", directory / f"{name}.key")
    signer: list[str | Path] = ["-CA", by.certificate, "-CAkey", by.key] if by else []
    options = [option for extension in extensions for option in ("-addext", extension)]
    run(
        *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
        *("-subj", f"/CN={name}", "-days", "2", "-keyout", pair.key, "-out", pair.certificate),
        *signer,
        *options,
    )
    return pair


def make(directory: Path) -> Certificates:
    authority = signed(directory, "authority", None)
    other = signed(directory, "other-authority", None)
    intermediate = signed(directory, "intermediate", authority)
    end = "basicConstraints=critical,CA:FALSE"
    return Certificates(
        directory,
        authority,
        signed(directory, "server", authority, end, f"subjectAltName={SERVER_NAMES}"),
        signed(directory, "client", authority, end, f"subjectAltName={CLIENT_NAMES}"),
        signed(directory, "nameless", authority, end),
        signed(directory, "stranger", other, end, f"subjectAltName={CLIENT_NAMES}"),
        intermediate,
        signed(directory, "deputed", intermediate, end, f"subjectAltName={CLIENT_NAMES}"),
    )
