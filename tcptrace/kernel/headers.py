"""Reads struct layouts and prototypes from the running kernel's headers, where it has no BTF.

bcc compiles a function for each member, which returns the member's offset and size, and for each
prototype, which returns how many arguments it has; the numbers are then read out of the functions'
instructions. Nothing is loaded into the kernel. What doesn't compile, this kernel has not.
"""

from __future__ import annotations

import os
import platform
import re
import struct
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from tcptrace.errors import CannotTrace
from tcptrace.kernel.layouts import Member
from tcptrace.kernel.views import VIEWS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

_KHEADERS: Final = Path("/sys/kernel/kheaders.tar.xz")
_INCLUDES: Final = (
    "linux/cgroup.h",
    "linux/kernfs.h",
    "linux/skbuff.h",
    "linux/tcp.h",
    "net/inet_common.h",
    "net/inet_timewait_sock.h",
    "net/net_namespace.h",
    "net/sock.h",
    "net/tcp.h",
)
_SYN_RECV: Final = (
    "struct sock *(const struct sock *, struct sk_buff *, struct request_sock *, "
    "struct dst_entry *, struct request_sock *, bool *"
)
PROTOTYPES: Final[Mapping[str, Mapping[int, str]]] = {
    "__inet_twsk_schedule": {3: "void(struct inet_timewait_sock *, int, bool)"},
    "inet_twsk_hashdance": {
        3: "void(struct inet_timewait_sock *, struct sock *, struct inet_hashinfo *)"
    },
    "inet_twsk_hashdance_schedule": {
        4: "void(struct inet_timewait_sock *, struct sock *, struct inet_hashinfo *, int)"
    },
    "inet_listen": {2: "int(struct socket *, int)"},
    "tcp_abort": {2: "int(struct sock *, int)"},
    "tcp_conn_request": {
        4: "int(struct request_sock_ops *, const struct tcp_request_sock_ops *, struct sock *, "
        "struct sk_buff *)"
    },
    "tcp_make_synack": {
        6: "struct sk_buff *(const struct sock *, struct dst_entry *, struct request_sock *, "
        "struct tcp_fastopen_cookie *, enum tcp_synack_type, struct sk_buff *)"
    },
    "tcp_req_err": {3: "void(struct sock *, u32, bool)"},
    "tcp_rtx_synack": {2: "int(const struct sock *, struct request_sock *)"},
    "tcp_set_state": {2: "void(struct sock *, int)"},
    "tcp_v4_syn_recv_sock": {
        6: f"{_SYN_RECV})",
        7: f"{_SYN_RECV}, void (*)(struct sock *, const struct sock *))",
    },
}
"""Functions that headers declare and of which a probe reads more than the first argument, with the
prototypes that it can read. Another one makes 0 arguments: no hook then attaches there."""

_SPARE: Final = frozenset(
    f"{member.struct}.{member.path}"
    for members in VIEWS.values()
    for member in members
    if member.instead_of
) | {"inet_twsk_hashdance_schedule"}
"""Asked for once something is missing: a run more costs seconds."""
_RUNS: Final = 3
_SIZE_BITS: Final = 12
_MOVES: Final = (0xB4, 0xB7)
"""BPF_ALU | BPF_MOV | BPF_K in 32 and 64 bits: the register gets the instruction's number."""


class Headers:
    """The kernel's headers, as far as the probes ask.

    Args:
        answers: what each question's function returns; a question that didn't compile has none.
    """

    def __init__(self, answers: Mapping[str, int]) -> None:
        self._answers = answers

    @classmethod
    def of_kernel(cls, bcc: Any, lack: str) -> Self:
        """Compiles the questions against the installed headers.

        Args:
            bcc: the module.
            lack: why there is no BTF to ask, for the refusal.

        Raises:
            CannotTrace: the headers are not installed, or this bcc can't compile them.
        """
        if find_headers() is None:
            raise CannotTrace(f"{lack}, nor its headers: {how_to_install()}")
        os.environ.pop("BCC_KERNEL_SOURCE", None)
        questions = dict(_questions())
        asked = {name: questions[name] for name in questions if name not in _SPARE}
        for _ in range(_RUNS):
            module, unknown = _compile(bcc, asked)
            if not unknown:
                break
            questions = {name: questions[name] for name in questions if name not in unknown}
            asked = questions
        if module is None:
            version = getattr(bcc, "__version__", "?")
            raise CannotTrace(
                f"{lack}, and bcc {version} can't compile the headers of {platform.release()}: "
                "it takes a newer bcc, or a kernel with BTF"
            )
        return cls({question: _answer(module, question) for question in asked})

    def member(self, struct: str, path: str) -> Member | None:
        """See Layouts."""
        answer = self._answers.get(f"{struct}.{path}")
        if answer is None:
            return None
        return Member(answer >> _SIZE_BITS, answer & (1 << _SIZE_BITS) - 1)

    def arguments(self, function: str) -> int | None:
        """See Layouts; None too where the headers don't declare what the kernel has."""
        return self._answers.get(function)


def find_headers() -> Path | None:
    """Where bcc will find the running kernel's headers, if they are installed."""
    installed = Path("/lib/modules", platform.release(), "build")
    return next((path for path in (installed, _KHEADERS) if path.exists()), None)


def how_to_install() -> str:
    """What a person does about missing headers."""
    release = platform.release()
    return f"apt-get install linux-headers-{release} (Fedora, RHEL: kernel-devel-{release})"


def _questions() -> Iterator[tuple[str, str]]:
    """Each question's name and the C expression that answers it."""
    for members in VIEWS.values():
        for member in members:
            kind = f"struct {member.struct}"
            offset = f"__builtin_offsetof({kind}, {member.path})"
            size = f"sizeof((({kind} *)0)->{member.path})"
            yield f"{member.struct}.{member.path}", f"{offset} << {_SIZE_BITS} | {size}"
    for function, prototypes in PROTOTYPES.items():
        expression = "0"
        for count, prototype in prototypes.items():
            is_it = f"__builtin_types_compatible_p(typeof({function}), {prototype})"
            expression = f"{is_it} ? {count} : {expression}"
        yield function, expression


def _text(questions: Mapping[str, str]) -> str:
    """A `#line` before each question makes the compiler's messages name it."""
    lines = [f"#include <{name}>" for name in _INCLUDES]
    for question, expression in questions.items():
        function = f"int {_function(question)}(void *ctx) {{ return {expression}; }}"
        lines += [f'#line 1 "question {question}"', function]
    return "\n".join(lines) + "\n"


def _function(question: str) -> str:
    return f"answer_{question.replace('.', '__')}"


def _compile(bcc: Any, questions: Mapping[str, str]) -> tuple[Any, set[str]]:
    """Returns the module, or None and the questions that this kernel's headers can't answer."""
    with tempfile.TemporaryFile() as said:
        try:
            with _errors_into(said.fileno()):
                return bcc.BPF(text=_text(questions).encode(), cflags=["-ferror-limit=0"]), set()
        except Exception:  # noqa: BLE001 - bcc raises plain Exception
            said.seek(0)
            return None, _unanswered(said.read().decode(errors="replace").splitlines())


def _unanswered(messages: Iterable[str]) -> set[str]:
    """The questions with errors of their own; none if the headers themselves have errors."""
    unknown = set()
    for message in messages:
        if not re.search(r"\berror: ", message):
            continue
        match = re.match(r"question ([\w.]+):", message)
        if match is None:
            return set()
        unknown.add(match[1])
    return unknown


@contextmanager
def _errors_into(descriptor: int) -> Iterator[None]:
    """Has the compiler's messages, which LLVM writes by itself, go elsewhere for a while."""
    sys.stderr.flush()
    kept = os.dup(2)
    os.dup2(descriptor, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _answer(module: Any, question: str) -> int:
    """What the function returns: the number that its first instruction moves."""
    code = module.dump_func(_function(question).encode())
    operation, number = struct.unpack_from("<B3xi", code)
    if operation not in _MOVES:
        raise CannotTrace(f"bcc compiles constants in an unknown way ({operation:#x})")
    return int(number)
