"""Of what a connection's cost is made, and how far it is from the floor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from .aims import KERNELS, Place, medians

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .aims import Figures

_IN_ALL: Final = Place("instructions", "in all")
_PROBES: Final = Place("instructions", "probes")
_DRAINED: Final = Place("hooks", "drained", "All hooks")
_EMPTY: Final = Place("hooks", "empty programs", "All hooks")
_SENT: Final = Place("hooks", "records filled and sent", "All hooks")
_TOOLS: Final = {
    "tcptrace serve": "serve, fentry",
    "tcptrace port --json": "port, fentry",
    "tcptrace port, of another port": "port, of another port, fentry",
}
"""The instructions' rows, and those of their hooks."""
_READING: Final = (
    "What the probes read and keep is told hook by hook below; what the tracer makes of it, module",
    "by module, natively. On 6.1 no trampoline takes the seven arguments of tcp_v4_syn_recv_sock:",
    "its kprobe and kretprobe cost as much as seven programs by fentry, and it is they that keep a",
    "connection of another port from costing less there. Earlier point releases of 6.1 have six of",
    "them, and cost that less ([kernel notes](kernel-notes.md)).",
)


class Makeup(NamedTuple):
    """Instructions of a connection, each besides those before."""

    carried: float
    records: float
    probes: float
    drained: float
    tracer: float

    @property
    def floor(self) -> float:
        return self.carried + self.records + self.drained


def makeup(figures: Figures, kernel: str, tool: str, hooks: str) -> Makeup | None:
    """What a tool's figure is made of; None if something has not been measured."""
    found = [
        *(medians(figures, kernel, place, hooks) for place in (_EMPTY, _DRAINED)),
        *(medians(figures, kernel, place, tool) for place in (_PROBES, _IN_ALL)),
    ]
    if not all(found):
        return None
    empty, drained, probes, in_all = (values[0] for values in found)
    # What is left out sends nothing.
    (sent,) = medians(figures, kernel, _SENT, hooks) or [empty]
    return Makeup(empty, sent - empty, probes - sent, drained, in_all - probes - drained)


def lines(figures: Figures) -> Iterator[str]:
    """A table: a column for each tool and kernel."""
    found = {
        f"{tool}, {kernel}": made
        for tool, hooks in _TOOLS.items()
        for kernel in KERNELS
        if (made := makeup(figures, kernel, tool, hooks))
    }
    if not found:
        return
    rows = {
        "to the hooks and back: empty programs": [made.carried for made in found.values()],
        "records filled and sent": [made.records for made in found.values()],
        "the ring emptied by a process that does nothing else": [
            made.drained for made in found.values()
        ],
        "**the floor**": [made.floor for made in found.values()],
        "what the probes read and keep besides": [made.probes for made in found.values()],
        "what the tracer makes of it": [made.tracer for made in found.values()],
        "**in all**": [sum(made) for made in found.values()],
    }
    yield from (
        "",
        "## What a connection's cost is made of",
        "",
        "Instructions, from the first and the third part below. The floor is what anybody pays who",
        "has as many programs run and as many records sent, and one process that empties the ring.",
        "",
        f"| | {' | '.join(found)} |",
        f"|---|{'---:|' * len(found)}",
    )
    for name, values in rows.items():
        yield f"| {name} | {' | '.join(f'{value:,.0f}' for value in values)} |"
    times = [f"{sum(made) / made.floor:.1f} ×" for made in found.values()]
    yield f"| in all, to the floor | {' | '.join(times)} |"
    yield from ("", *_READING)
