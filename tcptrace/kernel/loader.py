"""The loader: compiles with bcc, loads, attaches, hands the descriptors over, exits.

A fork of the collector that answers by one JSON manifest and its descriptors (SCM_RIGHTS). It is
the only process that imports bcc (kernel.binding), needs root, and holds LLVM; all of it is gone
when the trace begins.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import signal
import socket
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, NoReturn

from tcptrace.errors import CannotTrace, TcptraceError
from tcptrace.kernel import views
from tcptrace.kernel.binding import NotAttached, attach_one, compile_text, import_bcc
from tcptrace.kernel.btf import Btf, NoBtf
from tcptrace.kernel.carriers import choose_here, type_id
from tcptrace.kernel.hooks import MIGRATION_HOOK, entry_points
from tcptrace.kernel.ledger import CONTROL_MIGRATION
from tcptrace.kernel.program import allow_memory
from tcptrace.kernel.source import SLOTS, bpf_directory, compiler_flags, join
from tcptrace.kernel.symbols import stext
from tcptrace.kernel.tcp_ext import tcp_ext_flags
from tcptrace.wire.ledger import OVERFLOW_SLOT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tcptrace.kernel.hooks import Hook, Program
    from tcptrace.kernel.layouts import Layouts
    from tcptrace.kernel.options import TraceOptions

_PR_SET_PDEATHSIG: Final = 1


def serve(
    options: TraceOptions, collector: int, channel: socket.socket, *, count_hits: bool
) -> NoReturn:
    """Does it, and exits without running bcc's clean-up: the descriptors live on.

    Args:
        options: what is traced.
        collector: the process for which it is.
        channel: where the answer goes.
        count_hits: whether each hook counts how often it runs.
    """
    _die_with(collector)
    try:
        manifest, descriptors = load(options, collector, count_hits=count_hits)
    except TcptraceError as error:
        manifest, descriptors = {"error": str(error)}, []
    except Exception as error:  # noqa: BLE001 - the collector tells it; bcc raises plain Exception
        reason = str(error) or type(error).__name__
        manifest, descriptors = {"error": f"loading failed ({reason}): see `tcptrace doctor`"}, []
    socket.send_fds(channel, [json.dumps(manifest).encode()], descriptors)
    channel.close()
    sys.stderr.flush()
    os._exit(0)


def _die_with(collector: int) -> None:
    """A collector that is killed takes the loader along, and all that it has attached so far."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != collector:
        os._exit(1)


def load(
    options: TraceOptions, collector: int, *, count_hits: bool
) -> tuple[dict[str, Any], list[int]]:
    """Compiles, loads and attaches; see serve.

    Returns:
        The manifest (attached and lacking hooks, carrier, figures that can't be compared) and the
        descriptors: ring, counters, with a ledger its slots and its control, then a link and a
        program for each attached hook.

    Raises:
        CannotTrace: neither BTF nor headers, no bcc, a compile error, or a hook that no carrier can
            attach.
    """
    bcc = import_bcc()
    attaches = ["fentry", "kprobe"] if options.attach == "auto" else [options.attach]
    layouts: Layouts
    try:
        layouts = Btf.of_kernel()
    except NoBtf as lack:
        if options.attach == "fentry":
            raise CannotTrace(f"{lack}, which fentry needs: use --attach kprobe") from lack
        attaches = ["kprobe"]
        from tcptrace.kernel.headers import Headers  # noqa: PLC0415 - rarely needed

        layouts = Headers.of_kernel(bcc, str(lack))
    allow_memory()
    loading = _Loading(bcc, layouts, options, collector, count_hits)
    failure = None
    for attach in attaches:
        try:
            return _attach_best(loading, attach)
        except NotAttached as refusal:
            failure = refusal
    raise CannotTrace(f"{failure}: see `tcptrace doctor`")


class _Loading(NamedTuple):
    """What stays the same whatever carries the hooks.

    Attributes:
        bcc: the module.
        layouts: this kernel's.
        options: what is traced.
        collector: the process for which it is.
        count_hits: whether each hook counts how often it runs.
    """

    bcc: Any
    layouts: Layouts
    options: TraceOptions
    collector: int
    count_hits: bool


def _attach_best(loading: _Loading, attach: str) -> tuple[dict[str, Any], list[int]]:
    """Attaches each hook by its best carrier; all its carriers are compiled only if it must be."""
    chosen, lacking = choose_here(loading.layouts, loading.options, attach)
    missing = [hook for hook in lacking if not hook.optional]
    if missing:
        raise NotAttached(f"this kernel has no {missing[0].name} that can carry {attach}")
    best = [candidates[:1] for candidates in chosen]
    with_more = [candidates[0].hook for candidates in chosen if len(candidates) > 1]
    try:
        return _attach_all(loading, attach, best, lacking, needed=with_more)
    except NotAttached as refusal:
        if refusal.hook not in with_more:
            raise
    return _attach_all(loading, attach, chosen, lacking, needed=[])


def _attach_all(
    loading: _Loading,
    attach: str,
    chosen: list[tuple[Program, ...]],
    lacking: list[Hook],
    needed: list[Hook],
) -> tuple[dict[str, Any], list[int]]:
    """Attaches each hook; without one that is optional only if it is not among the needed ones."""
    options = loading.options
    lacking = [*lacking]
    module, functions = _build(loading, chosen)
    type_of = partial(type_id, loading.layouts)
    maps = [module["events"].map_fd, module["counters"].map_fd]
    if options.ledger:
        maps += [module["slots"].map_fd, module["control"].map_fd]
    attached: list[Program] = []
    pairs: list[int] = []
    for candidates in chosen:
        hook = candidates[0].hook
        try:
            program, *pair = attach_one(loading.bcc, module, functions, candidates, type_of)
        except NotAttached:
            if not hook.optional or hook in needed:
                for descriptor in pairs:
                    os.close(descriptor)
                raise
            lacking.append(hook)
        else:
            attached.append(program)
            pairs += pair
        if options.ledger and hook.name == MIGRATION_HOOK:
            _tell_of_migration(module, lacking)
    uncompared = _uncompared(loading.layouts)
    return _manifest(attach, attached, lacking, uncompared), maps + pairs


def _build(loading: _Loading, chosen: list[tuple[Program, ...]]) -> tuple[Any, dict[Program, str]]:
    """Compiles the programs, and fills the maps that they read; names each one's function."""
    layouts, options = loading.layouts, loading.options
    programs = [program for candidates in chosen for program in candidates]
    inodes = [] if options.pid is None else [*_socket_inodes(options.pid)]
    flags = [*_flags(loading), f"-DOPEN_INODES={len(inodes) + 1}"]
    points, functions = entry_points(programs, layouts.arguments, count_hits=loading.count_hits)
    text = join(views.render(layouts), points, bpf_directory())
    module = compile_text(loading.bcc, text, flags)
    _die_with(loading.collector)  # it is forgotten when a process becomes another user
    if options.pid is not None:
        _fill_open_inodes(module, inodes)
    if options.ledger:
        _fill_free_slots(module)
    return module, functions


def _uncompared(layouts: Layouts) -> list[str]:
    """Before 5.17 TIME_WAIT is counted at its end, by what tw_kill says then."""
    is_late = isinstance(layouts, Btf) and layouts.has_bitfield("inet_timewait_sock", "tw_kill")
    return ["TW+TWKilled"] if is_late else []


def _manifest(
    attach: str, attached: list[Program], lacking: list[Hook], uncompared: list[str]
) -> dict[str, Any]:
    return {
        "carrier": attach,
        "attached": [
            {"name": program.hook.name, "carrier": program.carrier, "index": program.number}
            for program in attached
        ],
        "lacking": [{"name": hook.name, "tells": hook.tells} for hook in lacking],
        "uncompared": uncompared,
    }


def _flags(loading: _Loading) -> list[str]:
    flags = compiler_flags(loading.options, bpf_directory())
    if isinstance(loading.layouts, Btf):
        flags += tcp_ext_flags(loading.layouts)
    if loading.options.stacks:
        flags += ["-DSTACKS=1", f"-DSTEXT={stext():#x}ULL"]
    return flags


def _fill_open_inodes(module: Any, inodes: list[int]) -> None:
    table = module["open_inodes"]
    for inode in inodes:
        table[table.Key(inode)] = table.Leaf(1)


def _fill_free_slots(module: Any) -> None:
    table = module["free_slots"]
    for number in range(OVERFLOW_SLOT + 1, SLOTS):
        table.push(table.Leaf(number))


def _tell_of_migration(module: Any, lacking: list[Hook]) -> None:
    """Before the hooks attach that ask: those of the states come later (hooks.SUBJECTS)."""
    is_told = all(hook.name != MIGRATION_HOOK for hook in lacking)
    table = module["control"]
    table[table.Key(CONTROL_MIGRATION)] = table.Leaf(is_told)


def _socket_inodes(pid: int) -> Iterator[int]:
    """The sockets that a process has open.

    Raises:
        CannotTrace: there is no such process.
    """
    try:
        descriptors = list(Path(f"/proc/{pid}/fd").iterdir())
    except OSError as error:
        raise CannotTrace(f"--pid {pid}: there is no such process") from error
    for descriptor in descriptors:
        try:
            target = str(descriptor.readlink())
        except OSError:
            continue  # closed in between
        if match := re.fullmatch(r"socket:\[(\d+)\]", target):
            yield int(match[1])


def _print_version() -> None:
    """Tells doctor which bcc there is, or exits with 1 and why."""
    try:
        bcc = import_bcc()
    except CannotTrace as error:
        sys.exit(str(error))
    print(f"bcc {getattr(bcc, '__version__', '?')}, {Path(bcc.__file__).parent}")  # noqa: T201


if __name__ == "__main__":
    _print_version()
