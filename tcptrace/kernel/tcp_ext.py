"""Where the kernel keeps its own counters (TcpExt), for bpf/tcp_ext.h."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tcptrace.kernel.symbols import address

if TYPE_CHECKING:
    from tcptrace.kernel.layouts import Layouts

MIB_CONSTANTS: Final = (
    "LINUX_MIB_LISTENOVERFLOWS",
    "LINUX_MIB_TCPREQQFULLDOCOOKIES",
    "LINUX_MIB_TCPREQQFULLDROP",
)
"""Of the enum in include/uapi/linux/snmp.h; a later kernel may number them in another way."""


def tcp_ext_flags(layouts: Layouts) -> list[str]:
    """Tells the compiler what the probes need to read the counters; nothing if that isn't known.

    Addresses may be hidden (kernel.kptr_restrict): the probes then judge by the queues' lengths.
    """
    offsets = address("__per_cpu_offset")
    numbers = {name: layouts.constant(name) for name in MIB_CONSTANTS}
    if offsets is None or None in numbers.values():
        return []
    flags = [f"-D{name.removeprefix('LINUX_')}={number}" for name, number in numbers.items()]
    return [*flags, f"-DPER_CPU_OFFSETS={offsets:#x}ULL"]
