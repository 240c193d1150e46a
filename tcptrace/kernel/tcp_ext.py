"""Where the kernel keeps its own counters (TcpExt), for bpf/tcp_ext.h."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tcptrace.kernel.btf import Btf

_CONSTANTS: Final = (
    "LINUX_MIB_LISTENOVERFLOWS",
    "LINUX_MIB_TCPREQQFULLDOCOOKIES",
    "LINUX_MIB_TCPREQQFULLDROP",
)
"""Of the enum in include/uapi/linux/snmp.h; a later kernel may number them in another way."""
_ANY_PER_CPU_VARIABLE: Final = "runqueues"


def tcp_ext_flags(btf: Btf) -> list[str]:
    """Tells the compiler what the probes need to read the counters; nothing if that isn't known.

    The probes then judge by the queues' lengths.
    """
    variable = btf.variable(_ANY_PER_CPU_VARIABLE)
    numbers = btf.constants(_CONSTANTS)
    if variable is None or len(numbers) < len(_CONSTANTS):
        return []
    flags = [f"-D{name.removeprefix('LINUX_')}={number}" for name, number in numbers.items()]
    return [*flags, f"-DPER_CPU_VARIABLE={variable}"]
