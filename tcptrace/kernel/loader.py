"""The loader child: compiles with bcc, loads, attaches, hands the descriptors over, exits.

Run as `python -m tcptrace.kernel.loader FD`: reads one JSON request from the UNIX socket FD, and
answers with one JSON manifest and its descriptors (SCM_RIGHTS). It is the only process that imports
bcc (kernel.binding), needs root, and holds LLVM; all of it is gone when the trace begins.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import signal
import socket
import sys
from ipaddress import ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tcptrace.errors import CannotTrace, TcptraceError
from tcptrace.kernel import views
from tcptrace.kernel.binding import NotAttached, attach_one, compile_text, import_bcc
from tcptrace.kernel.btf import Btf, NoBtf
from tcptrace.kernel.headers import Headers
from tcptrace.kernel.hooks import MIGRATION_HOOK, choose, entry_points
from tcptrace.kernel.ledger import CONTROL_MIGRATION
from tcptrace.kernel.options import TraceOptions
from tcptrace.kernel.source import SLOTS, bpf_directory, compiler_flags, join
from tcptrace.kernel.symbols import kallsyms, stext
from tcptrace.kernel.tcp_ext import tcp_ext_flags
from tcptrace.wire.ledger import OVERFLOW_SLOT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tcptrace.kernel.hooks import Hook, Program
    from tcptrace.kernel.layouts import Layouts

_PR_SET_PDEATHSIG: Final = 1


def main() -> None:
    """Serves one request and exits without running bcc's clean-up: the descriptors live on."""
    if sys.argv[1:] == ["--version"]:
        _print_version()
        return
    channel = socket.socket(fileno=int(sys.argv[1]))
    request = json.loads(channel.recv(65536))
    _die_with(request["collector"])
    try:
        manifest, descriptors = load(request)
    except TcptraceError as error:
        manifest, descriptors = {"error": str(error)}, []
    except Exception as error:  # noqa: BLE001 - the collector tells it; bcc raises plain Exception
        manifest, descriptors = {"error": f"loading failed ({error}): see `tcptrace doctor`"}, []
    socket.send_fds(channel, [json.dumps(manifest).encode()], descriptors)
    channel.close()
    sys.stderr.flush()
    os._exit(0)


def _die_with(collector: int) -> None:
    """A collector that is killed takes the loader along, and all that it has attached so far."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != collector:
        os._exit(1)


def load(request: dict[str, Any]) -> tuple[dict[str, Any], list[int]]:
    """Compiles, loads and attaches what a request asks for.

    Args:
        request: `options` (TraceOptions as JSON), `count_hits`, `collector` (its pid).

    Returns:
        The manifest (attached and lacking hooks, carrier) and the descriptors: ring, counters, with
        a ledger its slots and its control, then a link and a program for each attached hook.

    Raises:
        CannotTrace: neither BTF nor headers, no bcc, a compile error, or a hook that no carrier can
            attach.
    """
    options = _options(request["options"])
    bcc = import_bcc()
    attaches = ["fentry", "kprobe"] if options.attach == "auto" else [options.attach]
    layouts: Layouts
    try:
        layouts = Btf.of_kernel()
    except NoBtf as lack:
        if options.attach == "fentry":
            raise CannotTrace(f"{lack}, which fentry needs: use --attach kprobe") from lack
        attaches = ["kprobe"]
        layouts = Headers.of_kernel(bcc, str(lack))
    failure = None
    for attach in attaches:
        try:
            return _attach_all(bcc, layouts, options, attach, count_hits=request["count_hits"])
        except NotAttached as refusal:
            failure = refusal
    raise CannotTrace(f"{failure}: see `tcptrace doctor`")


def _attach_all(
    bcc: Any, layouts: Layouts, options: TraceOptions, attach: str, *, count_hits: bool
) -> tuple[dict[str, Any], list[int]]:
    chosen, lacking = choose(
        attach,
        layouts.arguments,
        _is_symbol_of(layouts),
        tracepoint=layouts.tracepoint if isinstance(layouts, Btf) else lambda _name: None,
        stacks=options.stacks,
        ledger=options.ledger,
    )
    missing = [hook for hook in lacking if not hook.optional]
    if missing:
        raise NotAttached(f"this kernel has no {missing[0].name} that can carry {attach}")
    module = _build(bcc, layouts, options, chosen, count_hits=count_hits)
    maps = [module["events"].map_fd, module["counters"].map_fd]
    if options.ledger:
        maps += [module["slots"].map_fd, module["control"].map_fd]
    attached: list[Program] = []
    pairs: list[int] = []
    for candidates in chosen:
        hook = candidates[0].hook
        try:
            program, *pair = attach_one(bcc, module, candidates)
        except NotAttached:
            if not hook.optional:
                raise
            lacking.append(hook)
        else:
            attached.append(program)
            pairs += pair
        if options.ledger and hook.name == MIGRATION_HOOK:
            _tell_of_migration(module, lacking)
    return _manifest(attach, attached, lacking), maps + pairs


def _build(
    bcc: Any,
    layouts: Layouts,
    options: TraceOptions,
    chosen: list[tuple[Program, ...]],
    *,
    count_hits: bool,
) -> Any:
    """Compiles the programs, and fills the maps that they read."""
    programs = [program for candidates in chosen for program in candidates]
    inodes = [] if options.pid is None else [*_socket_inodes(options.pid)]
    flags = _flags(layouts, options, count_hits=count_hits)
    text = join(views.render(layouts), entry_points(programs, layouts.arguments), bpf_directory())
    module = compile_text(bcc, text, [*flags, f"-DOPEN_INODES={len(inodes) + 1}"])
    if options.pid is not None:
        _fill_open_inodes(module, inodes)
    if options.ledger:
        _fill_free_slots(module)
    return module


def _manifest(attach: str, attached: list[Program], lacking: list[Hook]) -> dict[str, Any]:
    return {
        "carrier": attach,
        "attached": [
            {"name": program.hook.name, "carrier": program.carrier, "index": program.number}
            for program in attached
        ],
        "lacking": [{"name": hook.name, "tells": hook.tells} for hook in lacking],
    }


def _flags(layouts: Layouts, options: TraceOptions, *, count_hits: bool) -> list[str]:
    flags = compiler_flags(options, bpf_directory(), count_hits=count_hits)
    if isinstance(layouts, Btf):
        flags += tcp_ext_flags(layouts)
    if options.stacks:
        flags += ["-DSTACKS=1", f"-DSTEXT={stext():#x}ULL"]
    return flags


def _is_symbol_of(layouts: Layouts) -> Callable[[str], bool]:
    """BTF knows most functions; only for the others are all the kernel's symbols read."""

    def is_symbol(name: str) -> bool:
        if layouts.arguments(name) is not None:
            return True
        return re.search(rb" [tT] %s\n" % re.escape(name).encode(), kallsyms()) is not None

    return is_symbol


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


def _options(raw: dict[str, Any]) -> TraceOptions:
    cidr = raw.pop("cidr")
    return TraceOptions(**raw, cidr=ip_network(cidr) if cidr else None)


if __name__ == "__main__":
    main()
