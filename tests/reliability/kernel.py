"""The kernel's own Tcp counters of a network namespace, from /proc/net/snmp."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from live.namespaces import Namespace


def tcp_counters(namespace: Namespace) -> Counter[str]:
    """ActiveOpens, PassiveOpens and their like since the namespace was made."""
    with namespace.inside():
        lines = Path("/proc/thread-self/net/snmp").read_text(encoding="ascii").splitlines()
    names, values = (line.split()[1:] for line in lines if line.startswith("Tcp:"))
    return Counter(dict(zip(names, map(int, values), strict=True)))
