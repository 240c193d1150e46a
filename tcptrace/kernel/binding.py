"""All that is asked of bcc: its Python binding is found, it compiles, and it attaches.

bcc has no types and raises plain Exception; what it says is put into words here. What it has
compiled is loaded by kernel.program.
"""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tcptrace.errors import CannotTrace
from tcptrace.kernel.hooks import TYPED, Carrier
from tcptrace.kernel.privileges import keep_capabilities
from tcptrace.kernel.program import Code, attach_typed, load
from tcptrace.kernel.source import bpf_directory
from tcptrace.kernel.versions import DIST_PACKAGES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from tcptrace.kernel.hooks import Hook, Program

_NOT_ROOT: Final = 65534
"""Any user's number but root's."""
_FLAGS: Final = ("-g0", "-Xclang", "-disable-llvm-passes")
"""Who debugs the probes has their text: describing it takes a fifth of the time. bcc optimizes
whatever clang hands over: that clang did so first took another fifth, and made no hook cheaper."""


class NotAttached(Exception):  # noqa: N818 - an answer of the kernel's, not a fault
    """The kernel took no program for a hook.

    Attributes:
        hook: which; None if it was not even tried.
    """

    def __init__(self, message: str, hook: Hook | None = None) -> None:
        super().__init__(message)
        self.hook = hook


def import_bcc() -> Any:
    """Returns the module.

    Raises:
        CannotTrace: there is none that works here.
    """
    sys.path.extend(path for path in DIST_PACKAGES if Path(path, "bcc").is_dir())
    try:
        import bcc  # noqa: PLC0415 - the path to it has just been found
    except ImportError as error:
        raise CannotTrace(
            f"bcc's Python binding can't be imported ({error}): apt-get install python3-bpfcc"
        ) from error
    except OSError as error:
        raise CannotTrace(f"bcc's libraries can't be loaded: {error}") from error
    if not hasattr(bcc, "BPF"):
        raise CannotTrace(
            "the bcc package found is PyPI's, which is something else: "
            "pip uninstall bcc; apt-get install python3-bpfcc"
        )
    return bcc


def compile_text(bcc: Any, text: str, flags: list[str]) -> Any:
    """Compiles the probes' text against the stub headers, and makes its maps.

    Raises:
        CannotTrace: bcc can't compile it.
    """
    os.environ["BCC_KERNEL_SOURCE"] = str(bpf_directory() / "stub")

    class Module(bcc.BPF):  # type: ignore[misc] # bcc has no types
        """bcc would attach by function name on its own; we choose carriers and keep descriptors."""

        def _trace_autoload(self) -> None:
            pass

    try:
        with _without_symbols():
            return Module(text=text.encode(), cflags=[*flags, *_FLAGS])
    except Exception as error:
        raise CannotTrace(
            "bcc can't compile the probes (TCPTRACE_DEBUG=1 shows why): see `tcptrace doctor`"
        ) from error


@contextmanager
def _without_symbols() -> Iterator[None]:
    """Has bcc leave all the kernel's symbols unread, which take it a third of the time.

    It looks them through for one that the probes don't use; but only as user root, whatever this
    process may do.
    """
    user = os.geteuid()
    with suppress(OSError):
        if user == 0 and keep_capabilities():
            os.seteuid(_NOT_ROOT)
    try:
        yield
    finally:
        os.seteuid(user)


def attach_one(
    bcc: Any,
    module: Any,
    functions: Mapping[Program, str],
    candidates: tuple[Program, ...],
    type_of: Callable[[Program], int],
) -> tuple[Program, int, int]:
    """Loads and attaches a hook by the first carrier that the kernel takes.

    Args:
        bcc: the module.
        module: what compile_text returned.
        functions: the name of each program's function in it.
        candidates: the programs, best first.
        type_of: BTF's id of what a program attaches to; 0 where its carrier has no types.

    Returns:
        That program, with the descriptors of its link and of what is loaded.

    Raises:
        NotAttached: the kernel takes none of them; it tells why not the last.
    """
    why = ""
    for program in candidates:
        try:
            code = _code(bcc.lib, module.module, functions[program].encode())
            loaded = load(program.carrier, program.hook.name, code, type_of(program))
        except OSError as error:
            why = _named(error)
            continue
        try:
            return program, _attach(bcc.lib, loaded, program), loaded
        except OSError as error:
            why = _named(error)
            os.close(loaded)
    last = candidates[-1]
    raise NotAttached(f"the kernel refuses the {last.carrier} on {last.hook.name}{why}", last.hook)


def _named(error: OSError) -> str:
    """The kernel's answer, ` (EPERM)`; its ENOTSUPP has no name here, and is ` (524)`."""
    return f" ({errno.errorcode.get(error.errno, error.errno)})" if error.errno else ""


def _code(lib: Any, module: Any, name: bytes) -> Code:
    return Code(lib.bpf_function_start(module, name), lib.bpf_function_size(module, name))


def _attach(lib: Any, loaded: int, program: Program) -> int:
    """Returns the link's descriptor.

    Raises:
        OSError: the kernel refuses it; without a number where bcc doesn't tell.
    """
    if program.carrier in TYPED:
        return attach_typed(loaded)
    name = program.hook.name.encode()
    ctypes.set_errno(0)
    if program.carrier is Carrier.RAW_TRACEPOINT:
        link = int(lib.bpf_attach_raw_tracepoint(loaded, name))
    else:
        is_return = program.carrier is Carrier.KRETPROBE
        event = f"{'r' if is_return else 'p'}_tcptrace_{program.hook.name}_{os.getpid()}".encode()
        link = int(lib.bpf_attach_kprobe(loaded, int(is_return), event, name, 0, 0))
    if link < 0:
        raise OSError(ctypes.get_errno(), "bcc attaches nothing")
    return link
