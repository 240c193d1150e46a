"""State counts: what the exporter says, and what `ss` lists."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from .namespaces import Namespace, tool
from .waiting import until

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .serving import Serving

_SS: Final = {
    "ESTAB": "established",
    "SYN-SENT": "syn_sent",
    "FIN-WAIT-1": "fin_wait1",
    "FIN-WAIT-2": "fin_wait2",
    "TIME-WAIT": "time_wait",
    "CLOSE-WAIT": "close_wait",
    "LAST-ACK": "last_ack",
    "LISTEN": "listen",
    "CLOSING": "closing",
}
"""What ss calls a state, but SYN-RECV, which is two."""


def told(serving: Serving, namespace: Namespace) -> Counter[str]:
    """The exporter's counts, without those of no socket."""
    states = serving.scrape().by("state", "tcptrace_sockets", netns=namespace.inode)
    return _without_zeros(states)


def listed(namespace: Namespace) -> Counter[str]:
    """What ss lists, without SYN_RECV and NEW_SYN_RECV, which it does not tell apart."""
    rows = tool("ip", "netns", "exec", namespace.name, "ss", "-tanH").splitlines()
    states = Counter(row.split()[0] for row in rows)
    return _without_zeros({name: states[ss] for ss, name in _SS.items()})


def compared(serving: Serving, namespace: Namespace) -> dict[str, tuple[int, int]]:
    """For each state what ss lists, and the exporter's count.

    TIME_WAIT and FIN_WAIT2 run out all the while, so ss is asked before and after; of its two
    answers, and all between, the one that is nearest to the exporter's is taken.
    """
    before = listed(namespace)
    now = told(serving, namespace)
    after = listed(namespace)
    found = {}
    for state in before | now | after:
        low, high = sorted((before[state], after[state]))
        found[state] = min(max(now[state], low), high), now[state]
    return found


def last_compared(
    serving: Serving, namespace: Namespace, within_s: float
) -> dict[str, tuple[int, int]]:
    """Waits until all states agree; returns the last comparison."""
    last: list[dict[str, tuple[int, int]]] = []

    def agree() -> bool:
        last.append(compared(serving, namespace))
        return all(kernel == ours for kernel, ours in last[-1].values())

    with suppress(AssertionError):
        until(agree, "the counts to be those of ss", within_s)
    return last[-1]


def last_differences(
    serving: Serving, namespace: Namespace, within_s: float
) -> dict[str, tuple[int, int]]:
    """Waits until there is no difference; returns the last ones seen."""
    pairs = last_compared(serving, namespace, within_s)
    return {state: pair for state, pair in pairs.items() if pair[0] != pair[1]}


def _without_zeros(counts: Mapping[str, int]) -> Counter[str]:
    return Counter({name: count for name, count in counts.items() if count})
