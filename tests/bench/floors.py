"""Programs that do nothing, or only fill a record and send it: on a trace's hooks, or on one."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from tcptrace.kernel.binding import NotAttached, attach_one, compile_text, import_bcc
from tcptrace.kernel.btf import Btf
from tcptrace.kernel.carriers import choose_here, type_id
from tcptrace.kernel.hooks import Carrier, Hook, Program, entry_points

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tcptrace.kernel.options import TraceOptions

_TRACEPOINTS: Final = (Carrier.TP_BTF, Carrier.RAW_TRACEPOINT)
# Those that send a record for an ordinary connection.
SENDERS: Final = (
    "on_state_changed",
    "on_set_state",
    "on_connect",
    "on_make_synack",
    "on_syn_recv_sock_return",
    "on_accepted",
    "on_accept_return",
    "on_timewait",
)
_FLOORS: Final = """\
#include <uapi/linux/ptrace.h>
#define nothing(...) 0
struct record {
    u64 words[14];
};
BPF_RINGBUF_OUTPUT(events, 2048);
static __always_inline int send(void *ctx)
{
    struct record *r = events.ringbuf_reserve(sizeof(struct record));
    int i;

    if (!r)
        return 0;
    r->words[0] = bpf_ktime_get_ns();
#pragma unroll
    for (i = 1; i < 14; i++)
        r->words[i] = i;
    events.ringbuf_submit(r, BPF_RB_NO_WAKEUP);
    return 0;
}
#define sends(ctx, ...) send(ctx)
"""


class Carried(NamedTuple):
    """One attached program: its hook, its carrier and its descriptor."""

    hook: str
    carrier: str
    descriptor: int


@contextlib.contextmanager
def floor(options: TraceOptions, senders: tuple[str, ...]) -> Iterator[list[Carried]]:
    """Attaches programs to what a trace attaches to.

    Args:
        options: of the trace.
        senders: the bodies in whose place a record is sent; nothing is done in the others'.
    """
    btf = Btf.of_kernel()
    chosen, _ = choose_here(btf, options, options.attach)
    emptied = [
        tuple(_with_body(program, program.hook.body in senders) for program in candidates)
        for candidates in chosen
    ]
    with _attached(emptied, btf) as programs:
        yield programs


def _with_body(program: Program, sends: bool) -> Program:
    body = "sends" if sends else "nothing"
    return program._replace(hook=program.hook._replace(body=body))


def carried_alone(*, sends: bool) -> Iterator[list[Carried]]:
    """Attaches one program where states change, by each carrier in turn.

    To tcp_set_state, or to the tracepoint in it. Nothing is yielded for one that this kernel lacks.
    """
    btf = Btf.of_kernel()
    programs = [
        _with_body(
            Program(
                Hook(
                    "inet_sock_set_state" if carrier in _TRACEPOINTS else "tcp_set_state",
                    "",
                    (),
                    "",
                    returns=carrier in (Carrier.FEXIT, Carrier.KRETPROBE),
                    is_tracepoint=carrier in _TRACEPOINTS,
                ),
                carrier,
                0,
            ),
            sends,
        )
        for carrier in Carrier
    ]
    with _compiled(programs, btf) as attach:
        for program in programs:
            with attach([(program,)]) as attached:
                if attached:
                    yield attached


Attach = Callable[[list[tuple[Program, ...]]], contextlib.AbstractContextManager[list[Carried]]]


@contextlib.contextmanager
def _attached(chosen: list[tuple[Program, ...]], btf: Btf) -> Iterator[list[Carried]]:
    programs = [program for candidates in chosen for program in candidates]
    with _compiled(programs, btf) as attach, attach(chosen) as attached:
        yield attached


@contextlib.contextmanager
def _compiled(programs: list[Program], btf: Btf) -> Iterator[Attach]:
    """Compiles programs; yields what attaches some of them."""
    bcc = import_bcc()
    points, functions = entry_points(programs, btf.arguments)
    module = compile_text(bcc, _FLOORS + points, [])
    type_of = partial(type_id, btf)

    @contextlib.contextmanager
    def attach(chosen: list[tuple[Program, ...]]) -> Iterator[list[Carried]]:
        descriptors: list[int] = []
        attached = []
        for candidates in chosen:
            with contextlib.suppress(NotAttached):
                program, link, loaded = attach_one(bcc, module, functions, candidates, type_of)
                descriptors += (link, loaded)
                attached.append(Carried(program.hook.name, program.carrier, loaded))
        try:
            yield attached
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    try:
        yield attach
    finally:
        module.cleanup()
