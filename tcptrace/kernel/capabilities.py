"""The capabilities by which a trace begins, and what goes wrong without each.

The systemd unit and the DaemonSet give these and no others.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, NamedTuple


class Capability(NamedTuple):
    """One of them."""

    name: str
    bit: int
    """Its number in the kernel's masks. Source: include/uapi/linux/capability.h."""
    without: str
    """What goes wrong where it is missing."""


_GIVING_UP: Final = "the collector can't give up root"
_OWNERS: Final = "owners of listeners are not all found"
NEEDED: Final = (
    Capability("CAP_SYS_ADMIN", 21, "nothing can be traced"),
    Capability("CAP_SETUID", 7, _GIVING_UP),
    Capability("CAP_SETGID", 6, _GIVING_UP),
    Capability("CAP_SETPCAP", 8, "the collector's bounding set stays as it is"),
    Capability("CAP_SYS_PTRACE", 19, f"{_OWNERS}, nor other network namespaces"),
    Capability("CAP_DAC_READ_SEARCH", 2, _OWNERS),
)


def missing() -> list[Capability]:
    """Those that this process has not."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    (effective,) = (
        int(line.split()[1], 16) for line in status.splitlines() if line.startswith("CapEff:")
    )
    return [capability for capability in NEEDED if not effective >> capability.bit & 1]


def told(capabilities: list[Capability]) -> str:
    """Names them, each with what goes wrong, in one line."""
    return "; ".join(f"{one.name} is missing: {one.without}" for one in capabilities)
