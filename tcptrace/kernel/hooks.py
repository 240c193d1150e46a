"""The hooks of a trace, what carries each, and the entry points that join a carrier to its body.

A hook's body is written once in bpf/probes/. For each hook the table names what it may be carried
by, best first; the entry point for the carrier that is chosen on this kernel is generated, so that
the body gets the same arguments from registers (kprobe), the trampoline's array (fentry, fexit) or
the tracepoint's array (raw tracepoint). Numbers of arguments come from BTF: prototypes differ even
between point releases.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


class Carrier(StrEnum):
    """What runs a body."""

    FENTRY = "fentry"
    FEXIT = "fexit"
    TP_BTF = "tp_btf"
    RAW_TRACEPOINT = "raw_tracepoint"
    KPROBE = "kprobe"
    KRETPROBE = "kretprobe"


TYPED: Final = (Carrier.FENTRY, Carrier.FEXIT, Carrier.TP_BTF)
"""Whose arguments the verifier knows the types of: the bodies may load from them."""
KPROBES: Final = (Carrier.KPROBE, Carrier.KRETPROBE)


class Hook(NamedTuple):
    """One place in the kernel that a trace attaches to.

    Attributes:
        name: the kernel's function, or the tracepoint.
        body: the function in bpf/probes/ that runs there.
        arguments: the kernel's arguments that the body gets, by position from 0: `*2` is a
            pointer to a struct, `2` an integer, `&2` the place of a pointer to a number.
        returns: whether it attaches to the return; its value is then the body's last argument.
        tells: what a trace without this hook lacks, in words for people.
        optional: whether a trace can do without.
        is_for_ledger: whether nothing but the ledger of listeners needs it.
        former: what older kernels call it; its arguments up to those that the body gets are the
            same.
    """

    name: str
    body: str
    arguments: tuple[str, ...]
    tells: str
    returns: bool = False
    is_tracepoint: bool = False
    optional: bool = False
    is_for_ledger: bool = False
    former: str = ""


class Subject(NamedTuple):
    """The same facts by two ways: with tracepoints and by function probes alone."""

    traced: tuple[Hook, ...]
    probed: tuple[Hook, ...]


_STATES: Final = "every change of state"
_SYNS: Final = "SYNs queued, dropped or answered with a cookie"
_CHILDREN: Final = "final ACKs and the children that they make"
_ACCEPTS: Final = "accept()"
_TIMEWAITS: Final = "TIME_WAIT"
_RESETS: Final = "RSTs sent and received"
_COOKIE_RESULTS: Final = "whether a SYN cookie was valid"


_TIMEWAIT_ENDS: Final = (
    Hook("inet_twsk_kill", "on_twsk_kill", ("*0",), _TIMEWAITS),
    Hook("inet_twsk_deschedule_put", "on_twsk_release", ("*0",), _TIMEWAITS),
)
_TIMEWAIT_REARMED: Final = Hook(
    "__inet_twsk_schedule", "on_twsk_schedule", ("*0", "2"), _TIMEWAITS, optional=True
)
_TIMEWAIT_BEGINS: Final = Hook(
    "inet_twsk_hashdance_schedule",
    "on_timewait",
    ("*1", "*0"),
    _TIMEWAITS,
    former="inet_twsk_hashdance",
)


_GRAFT: Final = Hook("security_sock_graft", "on_graft", ("*0",), _ACCEPTS, optional=True)
_COOKIES: Final = tuple(
    Hook(name, body, arguments, _COOKIE_RESULTS, returns, optional=True, is_for_ledger=True)
    for family in ("v4", "v6")
    for name, body, arguments, returns in (
        (f"__cookie_{family}_check", "on_cookie_checked", (), True),
        (f"cookie_{family}_check", "on_cookie_check_return", (), True),
        (f"cookie_{family}_check", "on_cookie_check", ("*0",), False),
    )
)
CENSUS_HOOK: Final = "sock_diag_save_cookie"
_SNAPSHOTS: Final = (
    Hook(
        CENSUS_HOOK,
        "on_census",
        ("*0",),
        "sockets that were there before",
        optional=True,
        is_for_ledger=True,
    ),
    Hook(
        "inet_listen",
        "on_listen",
        ("*0", "1"),
        "a listen() again before its next event",
        optional=True,
        is_for_ledger=True,
    ),
)


MIGRATION_HOOK: Final = "reuseport_migrate_sock"
_MIGRATIONS: Final = "connections that migrate to another listener"
_REQUEST_ENDS: Final = "what ended a half-open connection"


def _both(*hooks: Hook) -> Subject:
    return Subject(hooks, hooks)


# In this order from a life's end to its beginning: they attach so, and a life whose beginning is
# seen then has all its later hooks in place.
SUBJECTS: Final[tuple[Subject, ...]] = (
    Subject(
        traced=(
            *_TIMEWAIT_ENDS,
            Hook(
                "tcp_timewait_state_process",
                "on_timewait_segment",
                ("*0",),
                _TIMEWAITS,
                returns=True,
                optional=True,
            ),
            _TIMEWAIT_BEGINS,
        ),
        probed=(
            *_TIMEWAIT_ENDS,
            _TIMEWAIT_REARMED,
            _TIMEWAIT_BEGINS,
        ),
    ),
    Subject(
        traced=(
            Hook("tcp_receive_reset", "on_reset_received", ("*0",), _RESETS, is_tracepoint=True),
            Hook("tcp_send_reset", "on_reset_sent", ("*0", "*1"), _RESETS, is_tracepoint=True),
        ),
        probed=(
            Hook("tcp_reset", "on_reset_received", ("*0",), _RESETS),
            Hook("tcp_v4_send_reset", "on_reset_sent", ("*0", "*1"), _RESETS),
            Hook("tcp_v6_send_reset", "on_reset_sent", ("*0", "*1"), _RESETS, optional=True),
            Hook("tcp_send_active_reset", "on_active_reset", ("*0",), _RESETS),
        ),
    ),
    Subject(
        traced=(
            _GRAFT,
            Hook("inet_csk_accept", "on_accepted", ("*0",), _ACCEPTS, returns=True),
        ),
        probed=(
            _GRAFT,
            Hook("inet_csk_accept", "on_accept_return", (), _ACCEPTS, returns=True),
            Hook("inet_csk_accept", "on_accept", ("*0",), _ACCEPTS, is_for_ledger=True),
        ),
    ),
    _both(
        *_COOKIES,
        Hook("tcp_req_err", "on_req_err", ("*0", "1", "2"), _REQUEST_ENDS, optional=True),
        Hook("tcp_abort", "on_abort", ("*0", "1"), _REQUEST_ENDS, optional=True),
    ),
    Subject(
        traced=(
            Hook(
                MIGRATION_HOOK,
                "on_migrated",
                ("*0", "*1"),
                _MIGRATIONS,
                returns=True,
                optional=True,
            ),
        ),
        probed=(
            Hook(
                MIGRATION_HOOK,
                "on_migrate_return",
                (),
                _MIGRATIONS,
                returns=True,
                optional=True,
            ),
            Hook(MIGRATION_HOOK, "on_migrate", ("*0", "*1"), _MIGRATIONS, optional=True),
        ),
    ),
    Subject(
        traced=(
            Hook(
                "inet_sock_set_state",
                "on_state_changed",
                ("*0", "1", "2"),
                _STATES,
                is_tracepoint=True,
            ),
        ),
        probed=(
            Hook("inet_csk_listen_start", "on_listen_start_return", (), "listen()", returns=True),
            Hook("tcp_set_state", "on_set_state", ("*0", "1"), _STATES),
            Hook("inet_csk_listen_start", "on_listen_start", ("*0",), "listen()"),
        ),
    ),
    _both(
        Hook(
            "__inet_csk_reqsk_queue_drop",
            "on_request_drop",
            ("*0", "*1", "2"),
            "half-open connections that expire or are reset",
            optional=True,
        ),
        Hook(
            "tcp_v6_syn_recv_sock",
            "on_syn_recv_sock_return",
            (),
            _CHILDREN,
            returns=True,
            optional=True,
        ),
        Hook(
            "tcp_v6_syn_recv_sock",
            "on_syn_recv_sock",
            ("*0", "*1", "*2", "&5"),
            _CHILDREN,
            optional=True,
        ),
        Hook("tcp_v4_syn_recv_sock", "on_syn_recv_sock_return", (), _CHILDREN, returns=True),
        Hook("tcp_v4_syn_recv_sock", "on_syn_recv_sock", ("*0", "*1", "*2", "&5"), _CHILDREN),
    ),
    Subject(
        traced=(
            Hook(
                "tcp_retransmit_skb",
                "on_retransmit",
                ("*0",),
                "SYN retransmits",
                is_tracepoint=True,
            ),
            Hook(
                "tcp_retransmit_synack",
                "on_retransmit_synack",
                ("*0", "*1"),
                "SYN-ACK retransmits",
                is_tracepoint=True,
            ),
        ),
        probed=(
            Hook("tcp_retransmit_skb", "on_retransmit", ("*0",), "SYN retransmits"),
            Hook("tcp_rtx_synack", "on_retransmit_synack", ("*0", "*1"), "SYN-ACK retransmits"),
        ),
    ),
    _both(
        Hook("tcp_conn_request", "on_conn_request_return", (), _SYNS, returns=True),
        Hook("tcp_make_synack", "on_make_synack", ("*0", "*2", "4", "*5"), _SYNS),
        Hook("tcp_conn_request", "on_conn_request", ("*2", "*3"), _SYNS),
        Hook("tcp_connect", "on_connect", ("*0",), "the local port of connect()"),
    ),
    _both(*_SNAPSHOTS),
)


class Program(NamedTuple):
    """One BPF program: a hook's body and what carries it."""

    hook: Hook
    carrier: Carrier
    number: int
    """The hook's number in this trace: the place of its hit counter."""


def choose(  # noqa: PLR0913 - what a trace wants, and what this kernel has
    attach: str,
    arguments: Callable[[str], int | None],
    is_symbol: Callable[[str], bool],
    *,
    is_carried: Callable[[str], bool] = lambda _name: False,
    tracepoint: Callable[[str], int | None] = lambda _name: None,
    stacks: bool = False,
    ledger: bool = False,
) -> tuple[list[tuple[Program, ...]], list[Hook]]:
    """Chooses what may carry each hook on this kernel.

    Args:
        attach: `fentry` or `kprobe`.
        is_carried: whether a trampoline takes the arguments of a function that has more of them
            than TRAMPOLINE_ARGUMENTS.
        tracepoint: BTF's id of a tracepoint's prototype; None if that is not known.
        ledger: whether the hooks for the ledger are wanted too.
        stacks: whether call stacks are wanted: then functions alone, since a tracepoint's stack
            lacks tcp_set_state, which reaches it by a tail call.
        arguments: how many arguments BTF says that a function takes; None if it knows no such one.
        is_symbol: whether the kernel has such a function for a kprobe.

    Returns:
        For each hook its possible programs, best first, in the order of attaching; and the hooks
        that this kernel lacks.
    """
    chosen: list[tuple[Program, ...]] = []
    lacking: list[Hook] = []
    for subject in SUBJECTS:
        listed = subject.probed if stacks or attach == "kprobe" else subject.traced
        for hook in (_as_named(each, arguments, is_symbol) for each in listed):
            if hook.is_for_ledger and not ledger:
                continue
            carriers = _carriers(hook, attach, arguments, is_symbol, is_carried)
            if hook.is_tracepoint and tracepoint(hook.name) is not None:
                carriers.insert(0, Carrier.TP_BTF)
            if carriers:
                chosen.append(tuple(Program(hook, each, len(chosen)) for each in carriers))
            else:
                lacking.append(hook)
    return chosen, lacking


def _as_named(
    hook: Hook, arguments: Callable[[str], int | None], is_symbol: Callable[[str], bool]
) -> Hook:
    """The hook by the name that this kernel has for it."""
    if not hook.former or arguments(hook.name) is not None or is_symbol(hook.name):
        return hook
    return hook._replace(name=hook.former)


def _carriers(
    hook: Hook,
    attach: str,
    arguments: Callable[[str], int | None],
    is_symbol: Callable[[str], bool],
    is_carried: Callable[[str], bool],
) -> list[Carrier]:
    if hook.is_tracepoint:
        return [Carrier.RAW_TRACEPOINT]
    count = arguments(hook.name)
    if count is not None and count <= max(map(_position, hook.arguments), default=-1):
        return []  # another prototype: its registers would be read wrongly
    carriers: list[Carrier] = []
    if (
        attach == "fentry"
        and count is not None
        and (count <= TRAMPOLINE_ARGUMENTS or is_carried(hook.name))
    ):
        carriers.append(Carrier.FEXIT if hook.returns else Carrier.FENTRY)
        if not hook.optional:
            return carriers  # where it is refused, the whole trace is carried by kprobes
    # A return probe has no arguments, so that a body that wants some has no such way.
    if not (hook.returns and hook.arguments) and is_symbol(hook.name):
        carriers.append(Carrier.KRETPROBE if hook.returns else Carrier.KPROBE)
    return carriers


TRAMPOLINE_ARGUMENTS: Final = 6
"""What every kernel's fentry trampoline on x86-64 can carry; from 6.3 on they carry 12."""


def entry_points(
    programs: Iterable[Program],
    arguments: Callable[[str], int | None],
    *,
    count_hits: bool = False,
) -> tuple[str, dict[Program, str]]:
    """Writes the C functions that carry the bodies.

    Args:
        programs: which.
        arguments: how many a function of the kernel takes.
        count_hits: whether each counts how often it runs.

    Returns:
        Their text, and the name of each program's: twins, as for IPv4 and IPv6, share one.
    """
    names: dict[str, str] = {}
    functions = {}
    for program in programs:
        text = _entry_point(program, arguments, count_hits=count_hits)
        # bcc has plans of its own for some names that begin with a carrier.
        name = f"by_{program.carrier}_{program.hook.name}"
        functions[program] = names.setdefault(text, name)
    return "".join(f"int {name}{text}" for text, name in names.items()), functions


_CONTEXTS: Final = {
    Carrier.FENTRY: "unsigned long long",
    Carrier.FEXIT: "unsigned long long",
    Carrier.TP_BTF: "unsigned long long",
    Carrier.RAW_TRACEPOINT: "struct bpf_raw_tracepoint_args",
    Carrier.KPROBE: "struct pt_regs",
    Carrier.KRETPROBE: "struct pt_regs",
}


_CASTS: Final = {"": "(int)", "*": "(void *)", "&": "(void *)&"}


def _entry_point(
    program: Program, arguments: Callable[[str], int | None], *, count_hits: bool
) -> str:
    """All of the function but its name."""
    hook = program.hook
    values = ["ctx", str(program.carrier in TYPED).lower()]
    for argument in hook.arguments:
        value = _value(program.carrier, argument)
        values.append(_CASTS[argument.rstrip("0123456789")] + value)
    if hook.returns:
        is_probe = program.carrier is Carrier.KRETPROBE
        result = "PT_REGS_RC(ctx)" if is_probe else f"ctx[{arguments(hook.name)}]"
        values.append("(void *)" + result)
    hit = f"    count(COUNTER_HITS + {program.number});\n" if count_hits else ""
    return (
        f"({_CONTEXTS[program.carrier]} *ctx)\n{{\n{hit}"
        f"    return {hook.body}({', '.join(values)});\n}}\n"
    )


def _position(argument: str) -> int:
    return int(argument.lstrip("*&"))


def _value(carrier: Carrier, argument: str) -> str:
    position = _position(argument)
    if carrier is Carrier.KPROBE:
        return f"PT_REGS_PARM{position + 1}(ctx)"
    if carrier is Carrier.RAW_TRACEPOINT:
        return f"ctx->args[{position}]"
    return f"ctx[{position}]"
