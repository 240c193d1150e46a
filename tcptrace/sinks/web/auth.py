"""HTTP basic authentication against bcrypt hashes.

Source: RFC 7617.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import re
import threading
from typing import TYPE_CHECKING, Final

import bcrypt

if TYPE_CHECKING:
    from collections.abc import Mapping

_HASH: Final = re.compile(r"\$2[aby]?\$(\d\d)\$[./A-Za-z0-9]{53}")
_COSTS: Final = range(4, 19)
"""18 is some 15 s, which a scrape doesn't wait for; its result is remembered, though."""
_LONGEST: Final = 72
"""So many bytes of a password count for bcrypt."""
_REMEMBERED: Final = 128
AT_ONCE: Final = 5
"""Passwords that are checked or wait for it. A flood of wrong ones takes no more threads."""


def flaw_of(hashed: str) -> str | None:
    """Says what is wrong with a bcrypt hash, without repeating it; None if nothing is."""
    match = _HASH.fullmatch(hashed)
    if not match:
        return "is no bcrypt hash ($2y$10$…, as `htpasswd -nB` writes)"
    if int(match[1]) not in _COSTS:
        return f"bcrypt's cost must be from {_COSTS[0]} to {_COSTS[-1]}"
    try:
        bcrypt.hashpw(b"", b"$2b$04$" + hashed[-53:-31].encode())
    except ValueError:
        return "the salt of the bcrypt hash is damaged"
    return None


class BasicAuth:
    """Who may enter.

    A name that doesn't exist costs one bcrypt like any other: its password is compared with some
    user's hash, always the same one, so that not even differing costs tell. Passwords that were
    right are remembered, as digests under a random key, and never wait. Thread-safe; one bcrypt at
    a time.

    Args:
        users: names to hashes that have no flaw; empty lets everybody enter.
    """

    def __init__(self, users: Mapping[str, str]) -> None:
        self._hashes = {
            user.encode(): re.sub(r"^\$2\$", "$2a$", hashed).encode()
            for user, hashed in users.items()
        }
        self._key = os.urandom(32)
        self._right: dict[bytes, None] = {}
        self._lock = threading.Lock()
        self._places = threading.Semaphore(AT_ONCE)

    def admits(self, authorization: str | None) -> bool | None:
        """Whether a request with this Authorization header may pass; None: too many wait for it."""
        if not self._hashes:
            return True
        credentials = _credentials(authorization or "")
        if credentials is None:
            return False
        user, password = credentials
        digest = self._digest(user, password)
        if digest in self._right:
            return True
        if not self._places.acquire(blocking=False):
            return None
        try:
            with self._lock:
                return digest in self._right or self._verify(user, password, digest)
        finally:
            self._places.release()

    def _verify(self, user: bytes, password: bytes, digest: bytes) -> bool:
        hashed = self._hashes.get(user) or self._decoy(user)
        try:
            matches = bcrypt.checkpw(password[:_LONGEST], hashed)
        except ValueError:
            return False
        if not (matches and user in self._hashes):
            return False
        while len(self._right) >= _REMEMBERED:
            del self._right[next(iter(self._right))]
        self._right[digest] = None
        return True

    def _decoy(self, user: bytes) -> bytes:
        hashes = tuple(self._hashes.values())
        return hashes[int.from_bytes(self._digest(user, b"")[:8], "big") % len(hashes)]

    def _digest(self, user: bytes, password: bytes) -> bytes:
        whole = len(user).to_bytes(4, "big") + user + password
        return hashlib.blake2b(whole, key=self._key).digest()


def _credentials(authorization: str) -> tuple[bytes, bytes] | None:
    scheme, _, encoded = authorization.strip().partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, colon, password = base64.b64decode(encoded.strip(), validate=True).partition(b":")
    except (binascii.Error, ValueError):
        return None
    return (user, password) if colon else None
