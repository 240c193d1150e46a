"""Dumps by sock_diag: of this machine's own namespace, and as made up by a socket of ours."""

from __future__ import annotations

import errno
import os
import socket
import struct
from typing import TYPE_CHECKING, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcptrace.errors import CannotTrace
from tcptrace.kernel import sock_diag
from tcptrace.kernel.sock_diag import ALL_STATES, LISTEN_ONLY, dump, listening_inodes, open_diag
from tcptrace.tcp import State

if TYPE_CHECKING:
    from collections.abc import Callable

HEADER = struct.Struct("=IHHII")
DATA, ERROR, DONE = 20, 2, 3


def message(kind: int, sequence: int, payload: bytes = b"", length: int | None = None) -> bytes:
    size = HEADER.size + len(payload) if length is None else length
    return HEADER.pack(size, kind, 2, sequence, 0) + payload + bytes(-len(payload) % 4)


def found(sequence: int, inode: int) -> bytes:
    return message(DATA, sequence, bytes(68) + struct.pack("=I", inode))


def done(sequence: int, error: int = 0) -> bytes:
    return message(DONE, sequence, struct.pack("=i", -error))


class FakeDiag:
    """Answers each request with parts that are made up for its sequence."""

    def __init__(self, *answers: Callable[[int], list[bytes]]) -> None:
        self._answers = list(answers)
        self._parts: list[bytes] = []
        self.requests: list[bytes] = []

    def send(self, request: bytes) -> None:
        self.requests.append(request)
        sequence = HEADER.unpack_from(request)[3]
        answer = self._answers.pop(0) if self._answers else lambda sequence: [done(sequence)]
        self._parts += answer(sequence)

    def recv(self, size: int) -> bytes:
        if not self._parts:
            raise TimeoutError(errno.EAGAIN, "nothing comes any more")
        part = self._parts.pop(0)
        assert len(part) <= size
        return part


def inodes(*answers: Callable[[int], list[bytes]]) -> set[int]:
    return listening_inodes(cast("socket.socket", FakeDiag(*answers)))


class TestMadeUp:
    def test_many_messages_in_a_part_and_many_parts(self) -> None:
        assert inodes(
            lambda s: [found(s, 1) + found(s, 2), found(s, 3), done(s)],
            lambda s: [found(s, 4) + done(s)],
        ) == {1, 2, 3, 4}

    def test_messages_begin_at_multiples_of_four_bytes(self) -> None:
        odd = bytes(68) + struct.pack("=I", 1) + b"x"
        assert inodes(lambda s: [message(DATA, s, odd) + found(s, 2) + done(s)]) == {1, 2}

    def test_both_families_are_asked_with_what_was_asked_for(self) -> None:
        fake = FakeDiag()
        parts: list[int] = []
        dump(cast("socket.socket", fake), LISTEN_ONLY, lambda: parts.append(1))
        assert len(parts) == 4, "after each question, and after each of its parts"
        asked = [struct.unpack_from("=BBBxI", request, HEADER.size) for request in fake.requests]
        assert asked == [
            (family, socket.IPPROTO_TCP, 0, 1 << State.LISTEN)
            for family in (socket.AF_INET, socket.AF_INET6)
        ]
        first, second = (HEADER.unpack_from(request) for request in fake.requests)
        assert first[0] == len(fake.requests[0]) == 72
        assert first[3] != second[3]

    def test_what_comes_between_parts_is_done(self) -> None:
        calls: list[int] = []
        fake = FakeDiag(lambda s: [found(s, 1), found(s, 2), done(s)])
        dump(cast("socket.socket", fake), ALL_STATES, lambda: calls.append(1))
        assert len(calls) == 6

    def test_a_refusal_is_an_error(self) -> None:
        with pytest.raises(OSError, match="Invalid argument") as caught:
            inodes(lambda s: [message(ERROR, s, struct.pack("=i", -errno.EINVAL) + bytes(16))])
        assert caught.value.errno == errno.EINVAL

    def test_an_end_with_an_error_is_one_too(self) -> None:
        """So ends a dump without tcp_diag: taken for an empty one, every socket would be gone."""
        with pytest.raises(OSError, match=os.strerror(errno.ENOENT)):
            inodes(lambda s: [done(s, errno.ENOENT)])

    def test_an_end_without_any_number_is_an_end(self) -> None:
        assert inodes(lambda s: [found(s, 1) + message(DONE, s)]) == {1}

    def test_the_rest_of_a_dump_that_was_given_up_is_passed_over(self) -> None:
        def stale(sequence: int) -> list[bytes]:
            former = sequence - 1
            refused = message(ERROR, former, struct.pack("=i", -5))
            return [found(former, 99) + done(former), refused, found(sequence, 1) + done(sequence)]

        assert inodes(stale) == {1}

    def test_no_answer_is_an_error(self) -> None:
        with pytest.raises(OSError, match="nothing comes"):
            inodes(lambda s: [found(s, 1)])

    @pytest.mark.parametrize(
        "broken",
        [
            b"",
            b"\x01",
            HEADER.pack(0, DATA, 0, 0, 0) + bytes(80),
            HEADER.pack(15, DATA, 0, 0, 0) + bytes(80),
            HEADER.pack(2**32 - 1, DATA, 0, 0, 0) + bytes(80),
        ],
        ids=["empty", "short", "length 0", "length 15", "length too large"],
    )
    def test_a_broken_part_ends_with_the_last_whole_message(self, broken: bytes) -> None:
        assert inodes(lambda s: [found(s, 1) + broken, done(s)]) == {1}

    def test_a_message_cut_short(self) -> None:
        assert inodes(lambda s: [found(s, 1) + found(s, 2)[:-1], done(s)]) == {1}
        assert inodes(lambda s: [message(DATA, s, bytes(20)), done(s)]) == set()

    @given(st.lists(st.binary(max_size=200), max_size=4))
    def test_whatever_comes_it_ends(self, parts: list[bytes]) -> None:
        inodes(lambda s: [*parts, done(s)])

    @given(st.lists(st.tuples(st.integers(0, 5), st.binary(max_size=60)), max_size=6))
    def test_whatever_its_messages_say(self, told: list[tuple[int, bytes]]) -> None:
        def answer(sequence: int) -> list[bytes]:
            return [*(message(kind, sequence, payload) for kind, payload in told), done(sequence)]

        fake = FakeDiag(answer)
        try:
            listening_inodes(cast("socket.socket", fake))
        except OSError as error:
            assert error.errno is not None  # noqa: PT017 - either way is right


class TestThisMachine:
    @pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
    def test_a_listener_of_ours_is_among_those_found(self, family: int) -> None:
        with socket.socket(family) as listener, open_diag() as diag:
            listener.listen()
            inode = os.fstat(listener.fileno()).st_ino
            assert inode in listening_inodes(diag)
            listener.close()
            assert inode not in listening_inodes(diag)

    def test_what_does_not_listen_is_not(self) -> None:
        with socket.socket() as listener, open_diag() as diag:
            listener.listen()
            with socket.create_connection(listener.getsockname()) as client:
                found = listening_inodes(diag)
                assert os.fstat(client.fileno()).st_ino not in found

    def test_a_whole_dump_walks_in_parts(self) -> None:
        calls: list[int] = []
        with open_diag() as diag:
            dump(diag, ALL_STATES, lambda: calls.append(1))
        assert len(calls) >= 2

    def test_a_dump_that_the_kernel_can_not_do_is_an_error(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """No module of the kernel dumps the sockets of this protocol."""
        monkeypatch.setattr(socket, "IPPROTO_TCP", 255)
        with open_diag() as diag, pytest.raises(OSError, match=os.strerror(errno.ENOENT)):
            dump(diag, ALL_STATES, lambda: None)

    def test_without_sock_diag_it_says_so(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sock_diag, "_NETLINK_SOCK_DIAG", 1 << 20)
        with pytest.raises(CannotTrace, match="modprobe tcp_diag"):
            open_diag()
