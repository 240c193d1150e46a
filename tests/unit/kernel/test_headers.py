"""Layouts and prototypes out of compiled answers; real headers are for the matrix."""

from __future__ import annotations

import os
import platform
import re
import struct
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from tcptrace.errors import CannotTrace
from tcptrace.kernel import headers
from tcptrace.kernel.headers import PROTOTYPES, Headers
from tcptrace.kernel.hooks import SUBJECTS
from tcptrace.kernel.layouts import Member
from tcptrace.kernel.views import VIEWS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MOVE_AND_EXIT = struct.Struct("<BBhiBBhi")
LACK = "this kernel has no BTF"
QUESTION = re.compile(r'#line 1 "question ([^"]+)"\nint (\w+)\(')


class Compiler:
    """A bcc that knows no C: each answer is `number`, but to what it is told is unknown."""

    __version__ = "0.99"

    def __init__(
        self, number: int, *unknown: str, in_headers: bool = False, operation: int = 0xB7
    ) -> None:
        self.number = number
        self.operation = operation
        self.unknown = unknown
        self.in_headers = in_headers
        self.runs = 0

    def BPF(self, *, text: bytes, cflags: list[str]) -> Any:  # noqa: N802 - bcc's name
        self.runs += 1
        assert "-ferror-limit=0" in cflags, "all that is unknown must be told at once"
        asked = dict(QUESTION.findall(text.decode()))
        wrong = [question for question in asked if question in self.unknown]
        lines = [f"question {question}:1:30: error: no such member" for question in wrong]
        if self.in_headers:
            lines.insert(0, "include/linux/bpf.h:99:1: error: unknown type name 'x'")
        os.write(2, "\n".join([*lines, "1 warning generated."]).encode())
        if wrong or self.in_headers:
            raise Exception("Failed to compile BPF module")  # noqa: TRY002 - as bcc does
        return SimpleNamespace(dump_func=self._dump(set(asked.values())))

    def _dump(self, functions: set[str]) -> Callable[[bytes], bytes]:
        def dump(name: bytes) -> bytes:
            assert name.decode() in functions
            return MOVE_AND_EXIT.pack(self.operation, 0, 0, self.number, 0x95, 0, 0, 0)

        return dump


@pytest.fixture(autouse=True)
def _installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(headers, "find_headers", lambda: tmp_path)


def test_offset_and_size_of_a_member() -> None:
    found = Headers.of_kernel(Compiler(576 << 12 | 4), LACK)
    assert found.member("sock", "sk_ack_backlog") == Member(576, 4)


def test_every_member_of_the_views_is_asked_for() -> None:
    found = Headers.of_kernel(Compiler(1), LACK)
    for members in VIEWS.values():
        for member in members:
            known = found.member(member.struct, member.path) is not None
            assert known is not bool(member.instead_of)


def test_what_does_not_compile_is_not_there() -> None:
    """And costs one more run, not one for each."""
    compiler = Compiler(2, "sock.sk_cgrp_data.cgroup", "tcp_skb_cb.tcp_tw_isn", "tcp_req_err")
    found = Headers.of_kernel(compiler, LACK)
    assert compiler.runs == 2
    assert found.member("sock", "sk_cgrp_data.cgroup") is None
    assert found.member("sock", "sk_cgrp_data.val") == Member(0, 2)
    assert found.member("tcp_skb_cb", "tcp_tw_isn") is None
    assert found.arguments("tcp_req_err") is None
    assert found.arguments("tcp_set_state") == 2


def test_headers_that_bcc_cannot_compile_are_named() -> None:
    compiler = Compiler(2, "sock.sk_err", in_headers=True)
    with pytest.raises(CannotTrace, match=r"^this kernel has no BTF, and bcc 0\.99 can't compile"):
        Headers.of_kernel(compiler, LACK)
    assert compiler.runs == 1


def test_missing_headers_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(headers, "find_headers", lambda: None)
    with pytest.raises(CannotTrace, match=f"linux-headers-{re.escape(platform.release())}"):
        Headers.of_kernel(Compiler(1), LACK)


def test_the_compiler_keeps_its_messages_to_itself(capfd: pytest.CaptureFixture[str]) -> None:
    Headers.of_kernel(Compiler(1, "tcp_req_err"), LACK)
    assert capfd.readouterr().err == ""


def test_an_instruction_that_moves_no_number_is_an_error() -> None:
    with pytest.raises(CannotTrace, match="0x18"):
        Headers.of_kernel(Compiler(1, operation=0x18), LACK)


def test_prototypes_are_known_where_a_probe_reads_more_than_the_first_argument() -> None:
    """But for those that no header asked declares: the same since 5.10, or since they came."""
    static = {
        "__inet_csk_reqsk_queue_drop",
        "reuseport_migrate_sock",
        "tcp_v4_send_reset",
        "tcp_v6_send_reset",
        "tcp_v6_syn_recv_sock",
    }
    for subject in SUBJECTS:
        for hook in subject.probed:
            if any(int(argument.lstrip("*")) > 0 for argument in hook.arguments):
                assert hook.name in PROTOTYPES or hook.name in static, hook.name
                assert not hook.former or hook.former in PROTOTYPES, hook.former
