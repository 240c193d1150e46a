"""Joins bpf/ into the one text that bcc compiles, with this kernel's views and entry points."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tcptrace.errors import CannotTrace

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tcptrace.kernel.options import TraceOptions

COUNTERS: Final = 128
"""Eight-byte counters; see COUNTER_* in bpf/trace.c."""
COUNTER_LOST: Final = 0
COUNTER_HITS: Final = 64
SLOTS: Final = 8192
"""Listeners that the ledger can hold at once, less one."""

# accept_queue before state and reset: a final ACK's context tells what a RST on a listener means,
# and why a child closed.
_PROBES: Final = (
    "connect",
    "syn_queue",
    "accept_queue",
    "state",
    "migration",
    "retransmit",
    "reset",
    "timewait",
    "cookie",
    "census",
)
_MASK: Final = 2**64 - 1


def bpf_directory() -> Path:
    """The folder of the C sources: beside the package in a checkout, inside it when installed.

    Raises:
        CannotTrace: the installation is not whole.
    """
    package = Path(__file__).resolve().parent.parent
    for candidate in (package / "bpf", package.parent / "bpf"):
        if (candidate / "trace.c").is_file():
            return candidate
    raise CannotTrace("the BPF sources are missing from this installation: install tcptrace again")


def join(views: str, entry_points: str, directory: Path) -> str:
    """Returns the whole text. `#line` markers let the compiler's messages name our files."""
    parts = [
        "#include <uapi/linux/ptrace.h>",
        '#line 1 "views"',
        views,
        '#include "wire.h"',
        '#include "read.h"',
        '#include "tcp_ext.h"',
    ]
    for name in ("trace", "ledger", *(f"probes/{name}" for name in _PROBES)):
        path = directory / f"{name}.c"
        parts += [f'#line 1 "{path.name}"', path.read_text(encoding="utf-8")]
    parts += ['#line 1 "entry points"', entry_points]
    return "\n".join(parts)


def compiler_flags(options: TraceOptions, directory: Path) -> list[str]:
    """Compiles the filter in: what a trace does not ask for is not even in its programs."""
    defines: dict[str, object] = {
        "SECRET": f"{int.from_bytes(os.urandom(8)):#x}ULL",
        "RING_PAGES": options.ring_pages,
        "COUNTERS": COUNTERS,
    }
    if options.port is not None:
        defines["FILTER_PORT"] = options.port
    if options.pid is not None:
        defines["FILTER_PID"] = options.pid
    if options.netns is not None:
        defines["FILTER_NETNS"] = f"{options.netns}U"
    if options.family is not None:
        defines["FILTER_FAMILY"] = {4: "AF_INET", 6: "AF_INET6"}[options.family]
    if options.cidr is not None:
        defines |= _cidr(options)
    if options.ledger:
        defines |= {"LEDGER": 1, "SLOTS": SLOTS}
    return [f"-I{directory}", *(f"-D{name}={value}" for name, value in defines.items())]


def _cidr(options: TraceOptions) -> dict[str, str]:
    network = options.cidr
    if network is None:
        return {}
    is_ipv4 = network.version == 4  # noqa: PLR2004 - the protocol's number
    prefix = network.prefixlen + (96 if is_ipv4 else 0)
    address = (0xFFFF << 32 if is_ipv4 else 0) | int(network.network_address)
    mask = ~((1 << (128 - prefix)) - 1) & (2**128 - 1)
    words = {"FILTER_CIDR": "1"}
    for index, value in enumerate(_words(address)):
        words[f"FILTER_CIDR_NET_{index}"] = f"{value:#x}ULL"
    for index, value in enumerate(_words(mask)):
        words[f"FILTER_CIDR_MASK_{index}"] = f"{value:#x}ULL"
    return words


def _words(value: int) -> Iterable[int]:
    """The two 64-bit words of 16 network-order bytes, as they lie in memory here."""
    raw = value.to_bytes(16, "big")
    return (int.from_bytes(raw[:8], "little") & _MASK, int.from_bytes(raw[8:], "little") & _MASK)
