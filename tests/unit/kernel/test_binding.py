"""What is asked of bcc; what is told of a hook that the kernel takes no program for. No kernel."""

from __future__ import annotations

import ctypes
import errno
import os
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest

from tcptrace.kernel import binding
from tcptrace.kernel.binding import NotAttached, attach_one
from tcptrace.kernel.hooks import Carrier, Hook, Program

HOOK = Hook("tcp_connect", "on_connect", (), "connects")
BY_KPROBE = Program(HOOK, Carrier.KPROBE, 0)
BY_FENTRY = Program(HOOK, Carrier.FENTRY, 0)
FUNCTIONS = {BY_KPROBE: "by_kprobe", BY_FENTRY: "by_fentry"}
ENOTSUPP = 524
"""The kernel's own; no C library has a name for it."""


def bcc_that_attaches(number: int = 0, link: int = -1) -> Any:
    def attach_kprobe(*_: object) -> int:
        ctypes.set_errno(number)
        return link

    lib = SimpleNamespace(
        bpf_function_start=lambda *_: 0,
        bpf_function_size=lambda *_: 8,
        bpf_attach_kprobe=attach_kprobe,
    )
    return SimpleNamespace(lib=lib)


def refusal(bcc: Any, *candidates: Program) -> str:
    with pytest.raises(NotAttached) as refused:
        attach_one(bcc, SimpleNamespace(module=None), FUNCTIONS, candidates, lambda _: 0)
    return str(refused.value)


@pytest.mark.parametrize(("number", "name"), [(errno.EPERM, "EPERM"), (ENOTSUPP, "524")])
def test_a_program_that_is_not_loaded(
    number: int, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(binding, "load", refuse)
    told = refusal(bcc_that_attaches(), BY_FENTRY)
    assert told == f"the kernel refuses the fentry on tcp_connect ({name})"


@pytest.mark.parametrize(("number", "told"), [(errno.ENOENT, " (ENOENT)"), (0, "")])
def test_one_that_is_not_attached_is_closed(
    number: int, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = os.open(os.devnull, os.O_RDONLY)
    monkeypatch.setattr(binding, "load", lambda *_: loaded)
    assert refusal(bcc_that_attaches(number), BY_KPROBE) == (
        f"the kernel refuses the kprobe on tcp_connect{told}"
    )
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(loaded)


def test_the_next_one_may_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(carrier: Carrier, *_: object) -> int:
        if carrier is Carrier.FENTRY:
            raise OSError(errno.EPERM, "")
        return 7

    monkeypatch.setattr(binding, "load", load)
    found = attach_one(
        bcc_that_attaches(link=8),
        SimpleNamespace(module=None),
        FUNCTIONS,
        (BY_FENTRY, BY_KPROBE),
        lambda _: 0,
    )
    assert found == (BY_KPROBE, 8, 7)


def test_the_text_is_optimized_once_and_not_described(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = []

    class Compiler:
        def __init__(self, *, text: bytes, cflags: list[str]) -> None:
            compiled.append((text, cflags))

    monkeypatch.setattr(binding, "_without_symbols", nullcontext)
    binding.compile_text(SimpleNamespace(BPF=Compiler), "text", ["-DTEXT"])
    assert compiled == [(b"text", ["-DTEXT", "-g0", "-Xclang", "-disable-llvm-passes"])]
