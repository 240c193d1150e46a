"""Verdicts on sockets: CLOSE_WAIT that nobody ends, ports that TIME_WAIT holds, storms of RSTs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tcptrace.lifecycle.ledger import Address
from tcptrace.tcp import address_text
from tcptrace.verdicts.facts import RemoteFacts, most
from tcptrace.verdicts.queues import FEWEST
from tcptrace.verdicts.verdict import Cause, Confidence, Verdict
from tcptrace.wire.ledger import Count

if TYPE_CHECKING:
    from tcptrace.lifecycle.connection import Process
    from tcptrace.tcp import Endpoint
    from tcptrace.verdicts.case import Case, Home
    from tcptrace.verdicts.facts import Resets
    from tcptrace.verdicts.survey import Held, Holder, Way

_FEWEST_HELD: Final = 20
_MANY_HELD: Final = 100
_MINUTE_NS: Final = 60_000_000_000
_NEARLY_ALL: Final = 0.8
"""Of the ephemeral ports."""
_FEWEST_RESETS: Final = 20
_RESET_SHARE: Final = 0.2
"""Some peers always end by a RST: health checks, load balancers, browsers."""


def close_wait_verdict(case: Case, holder: Holder, held: Held) -> Verdict | None:
    """A process does not close what its peers have closed."""
    end = most(held.ends)
    if end is None:
        return None
    where: Address | Endpoint = end
    aged = held.aged
    if holder.port:
        local = Address(holder.netns, address_text(end.address), holder.port)
        where = case.home_of(local)
        listener = case.listeners.get(where)
        if listener is not None and holder.process is None:
            aged -= listener.accept_len  # accept() may not have taken them
    if aged < _FEWEST_HELD:
        return None
    is_certain = aged >= _MANY_HELD and held.oldest_ns >= _MINUTE_NS
    return Verdict(
        Cause.CLOSE_WAIT_LEAK,
        Confidence.CERTAIN if is_certain else Confidence.LIKELY,
        holder.netns,
        where,
        holder.process,
        holder.cgroup,
        None,
        aged,
        max(aged, held.aged + held.young),
        (),
        {
            "seconds": round(case.seconds, 1),
            "close_waits_old": aged,
            "close_waits": held.aged + held.young,
            "oldest_ns": held.oldest_ns,
        },
        case.now_ns,
    )


def time_wait_verdict(case: Case, netns: int, home: Home) -> Verdict | None:
    """connect() to a remote end finds no local port, or soon won't."""
    fewest = max(1, _NEARLY_ALL * home.ephemeral_ports)
    held = [way for way, waits in home.ways.items() if waits >= fewest]
    for way in sorted(held, key=home.ways.__getitem__, reverse=True):
        facts = case.facts.remotes.get((netns, way[1]), RemoteFacts())
        if facts.failed >= FEWEST or not home.lets_reuse(way):
            return _time_wait(case, netns, home, way, facts)
    return None


def _time_wait(case: Case, netns: int, home: Home, way: Way, facts: RemoteFacts) -> Verdict:
    figures: dict[str, int | float] = {
        "seconds": round(case.seconds, 1),
        "time_waits": home.ways[way],
        "time_waits_of_clients": home.ways.total(),
        "ephemeral_ports": home.ephemeral_ports,
        "ports_reusable": int(home.lets_reuse(way)),
        "connects": case.facts.connects[netns],
        "connects_failed": facts.failed,
    }
    if home.tw_reuse is not None:
        figures["tw_reuse"] = home.tw_reuse
    return Verdict(
        Cause.EPHEMERAL_PORTS_IN_TIME_WAIT,
        Confidence.CERTAIN if facts.failed >= FEWEST else Confidence.LIKELY,
        netns,
        way[1],
        most(facts.processes),
        most(facts.cgroups) or 0,
        None,
        facts.failed,
        max(facts.failed, case.facts.connects[netns]),
        (),
        figures,
        case.now_ns,
    )


def reset_verdicts(case: Case) -> list[Verdict]:
    """RSTs end a large part of a listener's, or of a remote end's connections.

    Where both ends are traced, the one that sends them is told.
    """
    found = []
    for address, facts in case.facts.listeners.items():
        now = case.listeners.get(address)
        of = max(facts.counts[Count.CHILD_CREATED], facts.lives)
        cgroup = now.cgroup if now is not None else 0
        process = now.process if now is not None else None
        found.append(_resets(case, address, facts.resets, of, process, cgroup))
    for (netns, end), seen in case.facts.remotes.items():
        local = Address(netns, address_text(end.address), end.port)
        if end.is_loopback and case.home_of(local) in case.listeners:
            continue  # its listener's connections are the same ones
        cgroup = most(seen.cgroups) or 0
        found.append(_resets(case, (netns, end), seen.resets, 0, None, cgroup))
    return [verdict for verdict in found if verdict is not None]


def _resets(  # noqa: PLR0913, PLR0917 - what a verdict takes
    case: Case,
    place: Address | tuple[int, Endpoint],
    resets: Resets,
    of: int,
    process: Process | None,
    cgroup: int,
) -> Verdict | None:
    netns = place[0]
    where = place if isinstance(place, Address) else place[1]
    number = resets.sent + resets.received
    of = max(number, of or case.facts.connects[netns])
    if number < _FEWEST_RESETS or number < _RESET_SHARE * of:
        return None
    is_ours = resets.sent >= resets.received
    if not is_ours and resets.paired * 2 >= number:
        return None
    peer = most(resets.peers)
    is_one = peer is not None and resets.peers[peer] * 2 >= number
    return Verdict(
        Cause.RESET_STORM,
        # One peer alone may be a health check, or a client that was restarted.
        Confidence.LIKELY if is_one else Confidence.CERTAIN,
        netns,
        where,
        most(resets.processes) or process,
        cgroup,
        None,
        number,
        of,
        (),
        {
            "seconds": round(case.seconds, 1),
            "resets_sent": resets.sent,
            "resets_received": resets.received,
            "peers": len(resets.peers),
        },
        resets.last_at_ns,
        peer if is_one and peer is not None else b"",
    )
