"""docs/reliability.md, from the rows of every kernel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .rows import table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .rows import Row

_OPENING: Final = """\
# How far tcptrace can be trusted

Made by `make reliability`, which plays each scenario in a guest of each kernel. The kernel's
figures are its own counters (`/proc/net/netstat`, `/proc/net/snmp`) and `ss -tan`; tcptrace's are
those of `tcptrace serve`. Each is a sum over the scenario's network namespaces; the difference is
the sum of each namespace's own, so that none makes up for another. The command fails unless each
difference is 0, or tcptrace tells less than the kernel, by no more than what it says itself was
lost by the hooks that the figure needs. `ss` is asked just before and just after; sockets that run
out in between count as tcptrace has them.

What is counted in the kernel (queues, drops, cookies) does not depend on events and is exact even
when most of them are lost. What is told by events (state counts, connects, accepts) is off by what
was lost, until the next snapshot makes the state counts right again.
"""


def page(told: Sequence[tuple[str, list[Row]]]) -> str:
    """The whole page.

    Args:
        told: the version of each kernel, and its rows.
    """
    parts = [_OPENING]
    for kernel, rows in told:
        unexplained = sum(not row.is_explained for row in rows)
        verdict = f"{unexplained} unexplained" if unexplained else "all 0 or explained"
        parts.append(f"## Linux {kernel}\n\n{len(rows)} figures: {verdict}.\n\n{table(rows)}\n")
    return "\n".join(parts)
