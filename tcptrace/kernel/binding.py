"""All that is asked of bcc: its Python binding is found, and it compiles, loads and attaches.

bcc has no types and raises plain Exception; what it says is put into words here.
"""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tcptrace.errors import CannotTrace
from tcptrace.kernel.hooks import TYPED, Carrier
from tcptrace.kernel.source import bpf_directory

if TYPE_CHECKING:
    from tcptrace.kernel.hooks import Program

# Where distributions put bcc's Python binding; it is pure Python, so any Python 3 can import it.
_DIST_PACKAGES: Final = (
    "/usr/lib/python3/dist-packages",
    *(f"/usr/lib/python3.{minor}/site-packages" for minor in range(14, 5, -1)),
)


_LIBC: Final = ctypes.CDLL(None, use_errno=True)
_SYS_BPF: Final = 321  # on x86-64
_BPF_PROG_LOAD: Final = 5


class NotAttached(Exception):  # noqa: N818 - an answer of the kernel's, not a fault
    """The kernel took no program for this hook by this carrier."""


def import_bcc() -> Any:
    """Returns the module.

    Raises:
        CannotTrace: there is none that works here.
    """
    sys.path.extend(path for path in _DIST_PACKAGES if Path(path, "bcc").is_dir())
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
    """Compiles the probes' text against the stub headers; nothing is loaded yet.

    Raises:
        CannotTrace: bcc can't compile it.
    """
    os.environ["BCC_KERNEL_SOURCE"] = str(bpf_directory() / "stub")

    class Module(bcc.BPF):  # type: ignore[misc] # bcc has no types
        """bcc would attach by function name on its own; we choose carriers and keep descriptors."""

        def _trace_autoload(self) -> None:
            pass

    try:
        return Module(text=text.encode(), cflags=flags)
    except Exception as error:
        raise CannotTrace(
            "bcc can't compile the probes (TCPTRACE_DEBUG=1 shows why): see `tcptrace doctor`"
        ) from error


def attach_one(bcc: Any, module: Any, candidates: tuple[Program, ...]) -> tuple[Program, int, int]:
    """Loads and attaches a hook by the first carrier that the kernel takes.

    Returns:
        That program, with the descriptors of its link and of what is loaded.

    Raises:
        NotAttached: the kernel takes none of them.
    """
    refusal = ""
    for program in candidates:
        refusal = f"the kernel refuses the {program.carrier} on {program.hook.name}"
        try:
            loaded = _load(bcc, module, program)
            link = _attach(bcc.lib, loaded, program)
        except Exception:  # noqa: BLE001 - bcc raises plain Exception; the next carrier is tried
            if ctypes.get_errno() == errno.ENOENT:
                version = getattr(bcc, "__version__", "?")
                refusal = f"bcc {version} can't read this kernel's BTF, which fentry needs"
            continue
        if link >= 0:
            return program, link, loaded
    raise NotAttached(refusal)


def _load(bcc: Any, module: Any, program: Program) -> int:
    types = {
        Carrier.FENTRY: 26,  # BPF_PROG_TYPE_TRACING
        Carrier.FEXIT: 26,
        Carrier.TP_BTF: 26,
        Carrier.RAW_TRACEPOINT: bcc.BPF.RAW_TRACEPOINT,
        Carrier.KPROBE: bcc.BPF.KPROBE,
        Carrier.KRETPROBE: bcc.BPF.KPROBE,
    }
    names = [name.encode() for name in program.functions]
    name = next(name for name in names if bcc.lib.bpf_function_start(module.module, name))
    if program.carrier is Carrier.TP_BTF:
        return _load_typed_tracepoint(bcc.lib, module.module, name, program.type_id)
    return int(module.load_func(name, types[program.carrier]).fd)


class LoadAttributes(ctypes.Structure):
    """What BPF_PROG_LOAD takes of union bpf_attr, up to attach_btf_id."""

    _fields_ = (
        ("prog_type", ctypes.c_uint32),
        ("insn_cnt", ctypes.c_uint32),
        ("insns", ctypes.c_uint64),
        ("license", ctypes.c_uint64),
        ("log", ctypes.c_uint64 * 2),
        ("kern_version", ctypes.c_uint32),
        ("prog_flags", ctypes.c_uint32),
        ("prog_name", ctypes.c_char * 16),
        ("prog_ifindex", ctypes.c_uint32),
        ("expected_attach_type", ctypes.c_uint32),
        ("btf_of_the_program", ctypes.c_uint64 * 4),
        ("line_info_cnt", ctypes.c_uint32),
        ("attach_btf_id", ctypes.c_uint32),
    )


def _load_typed_tracepoint(lib: Any, module: Any, name: bytes, type_id: int) -> int:
    """Bcc knows no such programs, but has compiled this one.

    Raises:
        OSError: the kernel refuses it.
    """
    terms = ctypes.create_string_buffer(b"GPL")  # those that bcc gives every program
    attributes = LoadAttributes(
        prog_type=26,
        insn_cnt=lib.bpf_function_size(module, name) // 8,
        insns=lib.bpf_function_start(module, name),
        license=ctypes.addressof(terms),
        prog_name=name[:15],
        expected_attach_type=23,  # BPF_TRACE_RAW_TP
        attach_btf_id=type_id,
    )
    size = ctypes.sizeof(attributes)
    loaded = int(_LIBC.syscall(_SYS_BPF, _BPF_PROG_LOAD, ctypes.byref(attributes), size))
    if loaded < 0:
        raise OSError(ctypes.get_errno(), "BPF_PROG_LOAD")
    return loaded


def _attach(lib: Any, loaded: int, program: Program) -> int:
    name = program.hook.name.encode()
    if program.carrier is Carrier.RAW_TRACEPOINT:
        return int(lib.bpf_attach_raw_tracepoint(loaded, name))
    if program.carrier in TYPED:
        return int(lib.bpf_attach_kfunc(loaded))
    is_return = program.carrier is Carrier.KRETPROBE
    event = f"{'r' if is_return else 'p'}_tcptrace_{program.hook.name}_{os.getpid()}".encode()
    return int(lib.bpf_attach_kprobe(loaded, int(is_return), event, name, 0, 0))
