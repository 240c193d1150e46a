"""Loads what bcc has compiled, by bpf() calls of our own.

bcc would parse the kernel's whole BTF for each program by trampoline, and knows no typed
tracepoints.

Source: include/uapi/linux/bpf.h (union bpf_attr), bpf(2).
"""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import sys
from contextlib import suppress
from typing import Final, NamedTuple

from tcptrace.kernel.hooks import Carrier

_LIBC: Final = ctypes.CDLL(None, use_errno=True)
_SYS_BPF: Final = {"x86_64": 321, "aarch64": 280}.get(os.uname().machine, -1)
_PROG_LOAD: Final = 5
_RAW_TRACEPOINT_OPEN: Final = 17
_KPROBE: Final = 2
_RAW_TRACEPOINT: Final = 17
_TRACING: Final = 26
_TERMS: Final = ctypes.create_string_buffer(b"GPL")  # those that bcc gives every program
_LOG_SIZE: Final = 1 << 20
_NOTHING: Final = bytes([0xB7, 0, 0, 0, 0, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0])
"""Instructions: r0 = 0; exit."""


class _Kind(NamedTuple):
    """What a carrier is to the kernel."""

    type: int
    attach_type: int = 0


_KINDS: Final = {
    Carrier.FENTRY: _Kind(_TRACING, 24),
    Carrier.FEXIT: _Kind(_TRACING, 25),
    Carrier.TP_BTF: _Kind(_TRACING, 23),
    Carrier.RAW_TRACEPOINT: _Kind(_RAW_TRACEPOINT),
    Carrier.KPROBE: _Kind(_KPROBE),
    Carrier.KRETPROBE: _Kind(_KPROBE),
}


class LoadAttributes(ctypes.Structure):
    """What BPF_PROG_LOAD takes of union bpf_attr, up to attach_btf_id."""

    _fields_ = (
        ("prog_type", ctypes.c_uint32),
        ("insn_cnt", ctypes.c_uint32),
        ("insns", ctypes.c_uint64),
        ("license", ctypes.c_uint64),
        ("log_level", ctypes.c_uint32),
        ("log_size", ctypes.c_uint32),
        ("log_buf", ctypes.c_uint64),
        ("kern_version", ctypes.c_uint32),
        ("prog_flags", ctypes.c_uint32),
        ("prog_name", ctypes.c_char * 16),
        ("prog_ifindex", ctypes.c_uint32),
        ("expected_attach_type", ctypes.c_uint32),
        ("btf_of_the_program", ctypes.c_uint64 * 4),
        ("line_info_cnt", ctypes.c_uint32),
        ("attach_btf_id", ctypes.c_uint32),
    )


class _OpenAttributes(ctypes.Structure):
    """What BPF_RAW_TRACEPOINT_OPEN takes."""

    _fields_ = (("name", ctypes.c_uint64), ("prog_fd", ctypes.c_uint32))


class Code(NamedTuple):
    """Instructions that lie in this process' memory."""

    address: int
    size: int


def load(carrier: Carrier, name: str, code: Code, type_id: int) -> int:
    """Has the kernel verify and take a program.

    Args:
        carrier: by which it will be attached.
        name: of the hook; tools show its beginning.
        code: its instructions.
        type_id: BTF's id of the function or of the tracepoint's prototype, where the carrier has
            types.

    Returns:
        Its descriptor.

    Raises:
        OSError: the kernel refuses it; with TCPTRACE_DEBUG its reasons are on stderr.
    """
    attributes = LoadAttributes(
        prog_type=_KINDS[carrier].type,
        insn_cnt=code.size // 8,
        insns=code.address,
        license=ctypes.addressof(_TERMS),
        prog_name=name[:15].encode(),
        expected_attach_type=_KINDS[carrier].attach_type,
        attach_btf_id=type_id,
    )
    try:
        return _bpf(_PROG_LOAD, attributes)
    except OSError:
        if os.environ.get("TCPTRACE_DEBUG"):
            _tell_why(attributes)
        raise


def attach_typed(loaded: int) -> int:
    """Attaches a program whose type_id says to what.

    Returns:
        The link's descriptor.

    Raises:
        OSError: the kernel refuses it.
    """
    return _bpf(_RAW_TRACEPOINT_OPEN, _OpenAttributes(prog_fd=loaded))


def can_be_entered(function: str, type_id: int) -> bool:
    """Whether the kernel takes a program by trampoline at a function: tried by one."""
    nothing = ctypes.create_string_buffer(_NOTHING, len(_NOTHING))
    code = Code(ctypes.addressof(nothing), len(_NOTHING))
    try:
        loaded = load(Carrier.FENTRY, function, code, type_id)
    except OSError:
        return False
    try:
        os.close(attach_typed(loaded))
    except OSError:
        return False
    finally:
        os.close(loaded)
    return True


def allow_memory() -> None:
    """Kernels before 5.11 count maps and programs as locked memory."""
    with suppress(OSError, ValueError):
        resource.setrlimit(
            resource.RLIMIT_MEMLOCK, (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        )


def _bpf(command: int, attributes: ctypes.Structure) -> int:
    size = ctypes.sizeof(attributes)
    descriptor = int(_LIBC.syscall(_SYS_BPF, command, ctypes.byref(attributes), size))
    if descriptor < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return descriptor


def _tell_why(attributes: LoadAttributes) -> None:
    """Prints the verifier's log, or what it says of the call."""
    log = ctypes.create_string_buffer(_LOG_SIZE)
    attributes.log_level = 1
    attributes.log_size = _LOG_SIZE
    attributes.log_buf = ctypes.addressof(log)
    why = "taken at the second try"
    try:
        os.close(_bpf(_PROG_LOAD, attributes))
    except OSError as error:
        why = f"{errno.errorcode.get(error.errno or 0, '?')}\n{log.value.decode(errors='replace')}"
    print(f"{attributes.prog_name.decode()}: {why}", file=sys.stderr)  # noqa: T201 - to who debugs
