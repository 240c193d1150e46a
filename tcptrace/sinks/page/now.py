"""What the page is told every two seconds, described by docs/schema/now-v1.json.

Keys are added within a version, never renamed or removed. Names from processes, cgroups and
namespaces are text that is safe for a terminal; whoever makes HTML of it must escape it.
"""

from __future__ import annotations

from collections import Counter
from heapq import nlargest
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tcptrace.lifecycle.ledger import OTHER_ADDRESS, Address
from tcptrace.lifecycle.slow import SLOW_NS
from tcptrace.lifecycle.transitions import BORN_FROM, NEXT
from tcptrace.lifecycle.workload import parse
from tcptrace.sinks.listeners import title_of
from tcptrace.sinks.page.lives import life_row
from tcptrace.sinks.terminal import process_text
from tcptrace.sinks.whereabouts import places
from tcptrace.sinks.words import STAGE_WORDS
from tcptrace.tcp import State, address_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from tcptrace.lifecycle.ledger import Ledger, Listening
    from tcptrace.lifecycle.names import Names
    from tcptrace.lifecycle.queue_history import Past, Series
    from tcptrace.lifecycle.recent import Drop, Recent
    from tcptrace.lifecycle.tally import Tally
    from tcptrace.lifecycle.tracker import Tracker
    from tcptrace.sinks.units import WallClock
    from tcptrace.wire.events import Stage

SCHEMA: Final = "tcptrace.now.v1"
MOST_LISTENERS: Final = 100
MOST_DROPS: Final = 50
MOST_LIVES: Final = 50
_STATES: Final = tuple(state for state in State if state is not State.CLOSE)
_STEPS: Final = (
    *((old, new) for new, old in BORN_FROM.items()),
    *((old, new) for old, following in NEXT.items() for new in sorted(following)),
)
"""Every transition that the tables have."""


class Observed(NamedTuple):
    """What is known of a host; nothing of it may change meanwhile."""

    tracker: Tracker
    tally: Tally
    ledger: Ledger
    recent: Recent
    slow_left_out: int
    names: Names
    clock: WallClock
    now_ns: int


def now_object(of: Observed) -> dict[str, Any]:
    """Everything but what the trace itself is, and what is to be thought of it."""
    recent = of.recent
    pasts = nlargest(MOST_LISTENERS, recent.queues.pasts.values(), key=_trouble)
    return {
        "schema": SCHEMA,
        "at": of.clock.utc(of.now_ns),
        "sockets": _sockets(of.tracker.counts.sockets.values()),
        "transitions": _transitions(of.tally.transitions, recent.transitions),
        "steps_at": [of.clock.utc(at_ns) for at_ns in recent.queues.times_ns],
        "listeners": [_listener(past, of) for past in pasts],
        "listeners_left_out": len(recent.queues.pasts) - len(pasts),
        "drops": [_drop(drop, of) for drop in reversed(recent.drops)][:MOST_DROPS],
        "drops_total": recent.drop_count,
        "slow": [life_row(life, of.clock) for life in recent.slow[:MOST_LIVES]],
        "slow_from_ns": SLOW_NS,
        "slow_left_out": of.slow_left_out,
        "failed": [life_row(life, of.clock) for life in [*reversed(recent.failed)][:MOST_LIVES]],
        "failed_total": {str(how): count for how, count in sorted(recent.failed_count.items())},
    }


def _sockets(cells: Iterable[Sequence[int]]) -> dict[str, int]:
    sums = [sum(column) for column in zip(*cells, strict=True)] or [0] * (max(State) + 1)
    return {state.name: sums[state] for state in _STATES}


def _transitions(
    totals: Mapping[tuple[State, State], int], rates: Mapping[tuple[State, State], float]
) -> list[dict[str, Any]]:
    return [
        {
            "from": old.name,
            "to": new.name,
            "total": totals.get((old, new), 0),
            "rate": round(rates.get((old, new), 0.0), 2),
        }
        for old, new in _STEPS
    ]


def _trouble(past: Past) -> tuple[float, ...]:
    """By which the worst listeners come first."""
    last = past.last
    fill = last.accept_queue_peak / (last.accept_queue_limit + 1)
    return (past.drops.total(), fill, last.accepts, past.listening.is_open)


def _listener(past: Past, of: Observed) -> dict[str, Any]:
    listening, seconds = past.listening, of.recent.queues.seconds
    members = listening.members.values()
    address = listening.address
    waits = of.tally.waits.get(address)
    series = of.recent.queues.series_of(past)
    return {
        "title": title_of(address, of.names),
        "netns": address.netns,
        "address": address.address,
        "port": address.port,
        "owner": process_text(listening.owner) if listening.owner else None,
        "where": _where(listening, of.names),
        "sockets": len(members),
        "is_open": listening.is_open or address.address == OTHER_ADDRESS,
        "accept_queue_len": sum(member.slot.accept_queue_len for member in members),
        "accept_queue_limit": listening.accept_queue_limit,
        "syn_queue_len": sum(member.slot.syn_queue_len for member in members),
        "syn_queue_limit": listening.syn_queue_limit,
        "drops": _by_stage(past.drops),
        "drop_rate": _rate(past.last.drops, seconds),
        "accept_rate": _rate(past.last.accepts, seconds),
        "accept_wait_p99_ns": waits.quantile(0.99, of.now_ns) if waits else None,
        "series": None if series is None else _series(series),
    }


def _where(listening: Listening, names: Names) -> list[str]:
    workload = parse(listening.cgroup) if listening.cgroup else None
    return places(names.own_netns, workload, listening.owner, names)


def _by_stage(drops: Mapping[Stage, int]) -> list[dict[str, Any]]:
    """The most frequent first."""
    return [
        {"stage": stage.name.lower(), "words": STAGE_WORDS[stage], "count": count}
        for stage, count in Counter(drops).most_common()
    ]


def _rate(count: int, seconds: float) -> float:
    return round(count / seconds, 2) if seconds else 0.0


def _series(series: Series) -> dict[str, list[int | None]]:
    peaks, limits, syn_peaks, syn_limits, drops, accepts, waits_us = series
    return {
        "accept_queue_peaks": peaks,
        "accept_queue_limits": limits,
        "syn_queue_peaks": syn_peaks,
        "syn_queue_limits": syn_limits,
        "drops": drops,
        "accepts": accepts,
        "accept_waits_us": waits_us,
    }


def _drop(drop: Drop, of: Observed) -> dict[str, Any]:
    record, listener = drop.record, drop.listener
    local = listener.local
    past = of.recent.queues.pasts.get(
        Address(record.netns, address_text(local.address), local.port)
    )
    process = listener.process or (past.listening.owner if past else None)
    return {
        "at": of.clock.utc(record.at_ns),
        "stage": drop.stage.name.lower(),
        "words": STAGE_WORDS[drop.stage],
        "listener": str(local),
        "port": local.port,
        "owner": process_text(process) if process else None,
        "where": places(record.netns, of.names.workload(listener.cgroup), process, of.names),
        "peer": str(drop.peer),
        "accept_queue_len": record.accept_queue_len,
        "accept_queue_limit": record.accept_queue_limit,
        "syn_queue_len": record.syn_queue_len,
    }
