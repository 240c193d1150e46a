"""Asks the running kernel what may carry a trace's hooks: its types, its symbols, a trial."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tcptrace.kernel.btf import Btf
from tcptrace.kernel.hooks import Carrier, choose
from tcptrace.kernel.program import can_be_entered
from tcptrace.kernel.symbols import kallsyms

if TYPE_CHECKING:
    from collections.abc import Callable

    from tcptrace.kernel.hooks import Hook, Program
    from tcptrace.kernel.layouts import Layouts
    from tcptrace.kernel.options import TraceOptions


def choose_here(
    layouts: Layouts, options: TraceOptions, attach: str
) -> tuple[list[tuple[Program, ...]], list[Hook]]:
    """Chooses for this kernel: see hooks.choose.

    Args:
        layouts: the kernel's.
        options: what is traced.
        attach: `fentry` or `kprobe`.
    """
    is_carried: Callable[[str], bool] = _never
    tracepoint: Callable[[str], int | None] = _unknown
    if isinstance(layouts, Btf):
        is_carried, tracepoint = _is_carried_of(layouts), layouts.tracepoint
    return choose(
        attach,
        layouts.arguments,
        _is_symbol_of(layouts),
        is_carried=is_carried,
        tracepoint=tracepoint,
        stacks=options.stacks,
        ledger=options.ledger,
    )


def type_id(layouts: Layouts, program: Program) -> int:
    """BTF's id of what a program attaches to; 0 where its carrier has no types."""
    if not isinstance(layouts, Btf):
        return 0
    name = program.hook.name
    if program.carrier is Carrier.TP_BTF:
        return layouts.tracepoint(name) or 0
    if program.carrier in (Carrier.FENTRY, Carrier.FEXIT):
        return layouts.function(name) or 0
    return 0


def _is_symbol_of(layouts: Layouts) -> Callable[[str], bool]:
    """BTF knows most functions; only for the others are all the kernel's symbols read."""

    def is_symbol(name: str) -> bool:
        if layouts.arguments(name) is not None:
            return True
        return re.search(rb" [tT] %s\n" % re.escape(name).encode(), kallsyms()) is not None

    return is_symbol


def _is_carried_of(btf: Btf) -> Callable[[str], bool]:
    """One function of each number of arguments is tried."""
    tried: dict[int | None, bool] = {}

    def is_carried(name: str) -> bool:
        count = btf.arguments(name)
        if count not in tried:
            tried[count] = can_be_entered(name, btf.function(name) or 0)
        return tried[count]

    return is_carried


def _never(_name: str) -> bool:
    return False


def _unknown(_name: str) -> int | None:
    return None
