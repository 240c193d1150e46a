from __future__ import annotations

import base64
import threading
from typing import TYPE_CHECKING

import bcrypt
import pytest

from tcptrace.sinks.web import auth
from tcptrace.sinks.web.auth import AT_ONCE, BasicAuth, flaw_of

if TYPE_CHECKING:
    from collections.abc import Callable

PASSWORD = "schnüffel:nase"  # noqa: S105 - of nobody
HASH = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
OTHER_HASH = bcrypt.hashpw(b"other", bcrypt.gensalt(5)).decode()
USERS = {"alice": HASH, "bob": OTHER_HASH}


def header(user: str, password: str, scheme: str = "Basic") -> str:
    return f"{scheme} {base64.b64encode(f'{user}:{password}'.encode()).decode()}"


@pytest.fixture
def verified(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The hashes that bcrypt was asked about."""
    asked: list[bytes] = []
    check: Callable[[bytes, bytes], bool] = bcrypt.checkpw

    def noting(password: bytes, hashed: bytes) -> bool:
        asked.append(hashed)
        return check(password, hashed)

    monkeypatch.setattr(bcrypt, "checkpw", noting)
    return asked


def test_right_passwords_pass() -> None:
    gate = BasicAuth(USERS)
    assert gate.admits(header("alice", PASSWORD))
    assert gate.admits(header("bob", "other", scheme="bAsIc"))


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Basic",
        "Basic ",
        "Basic !!!!",
        "Basic YQ",  # "a" without padding
        "Basic YQ==",  # no colon
        f"Bearer {PASSWORD}",
        header("alice", "wrong"),
        header("alice", "other"),
        header("bob", PASSWORD),
        header("carol", PASSWORD),
        header("", PASSWORD),
        header("alice", PASSWORD + "\0"),
        header("Alice", PASSWORD),
        f"{header('alice', PASSWORD)}, {header('alice', PASSWORD)}",
        "Basic \xff\xfe",
    ],
)
def test_anything_else_does_not(authorization: str | None) -> None:
    assert not BasicAuth(USERS).admits(authorization)


def test_without_users_everybody_passes() -> None:
    assert BasicAuth({}).admits(None)


def test_an_unknown_name_costs_one_bcrypt_and_always_of_the_same_cost(
    verified: list[bytes],
) -> None:
    gate = BasicAuth(USERS)
    for name in ("carol", "dave", "erin", "frank", "grace", "heidi", "ivan", "judy", "mallory"):
        verified.clear()
        assert not gate.admits(header(name, "x"))
        assert not gate.admits(header(name, "y"))
        assert len(verified) == 2
        assert verified[0] == verified[1]


def test_an_unknown_name_with_some_users_password_stays_outside(verified: list[bytes]) -> None:
    gate = BasicAuth({"alice": HASH})
    assert not gate.admits(header("carol", PASSWORD))
    assert not gate.admits(header("carol", PASSWORD))
    assert verified == [HASH.encode()] * 2


def test_a_right_password_is_hashed_once(verified: list[bytes]) -> None:
    gate = BasicAuth(USERS)
    assert all(gate.admits(header("alice", PASSWORD)) for _ in range(5))
    assert len(verified) == 1
    assert not gate.admits(header("alice", "wrong"))
    assert not gate.admits(header("alice", "wrong"))
    assert len(verified) == 3


def test_simultaneous_first_scrapes_hash_once(verified: list[bytes]) -> None:
    gate = BasicAuth(USERS)
    admitted: list[bool | None] = []
    threads = [
        threading.Thread(target=lambda: admitted.append(gate.admits(header("alice", PASSWORD))))
        for _ in range(AT_ONCE)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert admitted == [True] * AT_ONCE
    assert len(verified) == 1


def test_few_wait_and_who_was_right_before_never_does() -> None:
    gate = BasicAuth(USERS)
    assert gate.admits(header("alice", PASSWORD))
    for _ in range(AT_ONCE):
        assert gate._places.acquire(blocking=False)
    with gate._lock:
        assert gate.admits(header("alice", PASSWORD))
        assert gate.admits("Basic nonsense") is False
        for user, password in (("alice", "wrong"), ("carol", "x"), ("bob", "other")):
            assert gate.admits(header(user, password)) is None
    gate._places.release()
    for _ in range(2):  # its place is given back, whatever was found
        assert gate.admits(header("alice", "wrong")) is False
        assert gate.admits(header("alice", PASSWORD + "\0")) is False
        assert gate.admits(header("bob", "other"))


def test_what_is_remembered_is_bounded_and_no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auth, "_REMEMBERED", 4)
    long = "p" * 72  # bcrypt reads no further, so all these are right
    gate = BasicAuth({"alice": bcrypt.hashpw(long.encode(), bcrypt.gensalt(4)).decode()})
    assert all(gate.admits(header("alice", long + str(number))) for number in range(10))
    assert len(gate._right) == 4
    assert not any(b"ppp" in digest for digest in gate._right)


@pytest.mark.parametrize("prefix", ["$2$", "$2a$", "$2b$", "$2y$"])
def test_every_prefix_that_bcrypt_had_verifies(prefix: str) -> None:
    hashed = prefix + bcrypt.hashpw(b"ascii", bcrypt.gensalt(4)).decode()[4:]
    assert flaw_of(hashed) is None
    assert BasicAuth({"alice": hashed}).admits(header("alice", "ascii"))


@pytest.mark.parametrize(
    "hashed",
    [
        "",
        "secret",
        "$1$abc$def",
        HASH[:-1],
        HASH + "x",
        HASH + "\n",
        HASH.replace("$04$", "$03$"),
        HASH.replace("$04$", "$31$"),
        HASH.replace("$2b$", "$2x$"),
        HASH[:7] + "." * 21 + "9" + HASH[29:],  # bits in the salt beyond its 128
        HASH[:20] + "ü" + HASH[21:],
    ],
)
def test_damaged_hashes_are_noticed_and_not_repeated(hashed: str) -> None:
    flaw = flaw_of(hashed)
    assert flaw is not None
    assert HASH[10:20] not in flaw
