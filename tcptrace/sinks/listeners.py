"""The listeners of a host as a table for people, or as JSON Lines."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from tcptrace.lifecycle.ledger import OTHER_ADDRESS
from tcptrace.lifecycle.workload import parse
from tcptrace.sinks import whereabouts
from tcptrace.sinks.terminal import comm_text, flow, process_text, safe_text
from tcptrace.sinks.units import duration, short
from tcptrace.sinks.whereabouts import container_text, unit_text
from tcptrace.sinks.words import STAGE_WORDS
from tcptrace.wire.ledger import Count

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from tcptrace.lifecycle.ledger import Address, Member
    from tcptrace.lifecycle.names import Names
    from tcptrace.lifecycle.overview import Row
    from tcptrace.sinks.terminal import Paint

SCHEMA: Final = "tcptrace.listener.v1"
_CELLS: Final = "{:16} {:>9} {:>4} {:>9} {:>4} {:>7} {:>6} {:>8} {:>5}"
_TITLES: Final = (
    "OWNER", "ACCEPT Q", "PEAK", "SYN Q", "PEAK", "DROPS", "/s", "ACCEPT/s", "p99",
)  # fmt: skip
_LEAST_NAME: Final = 15
_MOST_NAME: Final = 47
_OWNER_WIDTH: Final = 16
_WIDTH: Final = 100
_GAP: Final = 2
_CELLS_WIDTH: Final = len(_CELLS.format(*_TITLES))
_NEARLY_FULL: Final = 0.8

SORTS: Final[Mapping[str, Callable[[Row], Any]]] = {
    "drops": lambda row: (-row.drop_rate, -row.drop_count, -row.accept_queue_fill),
    "accept": lambda row: (-row.accept_queue_fill, -row.drop_count),
    "syn": lambda row: -sum(m.syn_queue_peak for m in [*row.listening.members.values()]),
    "rate": lambda row: -row.accept_rate,
    "port": lambda row: (row.listening.address.port, row.listening.address.address),
}
"""How rows can be sorted, by the option's value."""


def matches(row: Row, wanted: str) -> bool:
    """Whether a row is about a port, an address or a process of that name."""
    listening = row.listening
    owner = comm_text(listening.owner.comm) if listening.owner else ""
    address = listening.address
    return wanted in (str(address.port), address.address) or wanted in owner


def render(
    rows: list[Row],
    paint: Paint,
    names: Names,
    *,
    note: list[str],
    width: int | None = None,
) -> str:
    """Returns the table.

    Args:
        rows: in the order to show.
        paint: colours, or none.
        names: of cgroups and network namespaces.
        note: what stands above it, in pieces; safe for a terminal.
        width: columns to stay within, if there are 95; None for 100.
    """
    width = width or _WIDTH
    titles = [title_of(row.listening.address, names) for row in rows]
    most = max(_LEAST_NAME, min(_MOST_NAME, width - _CELLS_WIDTH - _GAP))
    room = max([_LEAST_NAME, *(len(title) for title in titles if len(title) <= most)])
    lines = [paint(line, "dim") for line in flow(note, width)]
    lines.append(paint(_line("LISTENER", room, *_TITLES), "strong"))
    for row, title in zip(rows, titles, strict=True):
        lines += _lines_of(row, title, room, paint, width, names)
    if not rows:
        lines.append("no listeners")
    return "\n".join(lines)


def _line(title: str, room: int, *cells: str) -> str:
    return f"{title:{room}}{'':{_GAP}}{_CELLS.format(*cells)}".rstrip()


def title_of(address: Address, names: Names) -> str:
    """A listener's address, and its namespace if it isn't the tracer's own."""
    name = names.namespaces.get(address.netns, "")
    if names.own_netns and not name:
        name = str(address.netns)
    place = f"@{safe_text(name)}" if name and address.netns not in (0, names.own_netns) else ""
    if address.address == OTHER_ADDRESS:
        return f"{OTHER_ADDRESS}{place}"
    text = f"[{address.address}]" if ":" in address.address else address.address
    return f"{text}:{address.port}{place}"


def _lines_of(  # noqa: PLR0913, PLR0917 - what a line takes
    row: Row, title: str, room: int, paint: Paint, width: int, names: Names
) -> Iterator[str]:
    listening = row.listening
    members = list(listening.members.values())
    owner = process_text(listening.owner) if listening.owner else "-"
    if len(members) > 1:
        owner = f"{len(members)} sockets"
    elif not members and listening.address.address != OTHER_ADDRESS:
        owner = "closed"
    cells = (
        owner[:_OWNER_WIDTH],
        *_queue_cells(members),
        _number(row.drop_count, 7),
        _rate(row.drop_rate, 6),
        _rate(row.accept_rate, 8),
        duration(row.accept_wait_p99_ns),
    )
    colour = _colour(row)
    if len(title) > room:
        # An address cut short would be another one.
        title = title if len(title) <= width else f"{title[: width - 1]}…"
        yield paint(title, colour) if colour else title
        title = ""
    line = _line(title, room, *cells)
    yield paint(line, colour) if colour else line
    if where := where_of(row, names):
        yield paint(f"  · {where}", "dim")
    if told := told_of(row):
        for piece in flow(told, width - 4):
            yield paint(f"  └ {piece}", "warn")
    if len(members) > 1:
        for member in members:
            yield _member_line(member, room)


def where_of(row: Row, names: Names) -> str:
    """The container and the systemd unit that it is in."""
    listening = row.listening
    workload = parse(listening.cgroup) if listening.cgroup else None
    told = (container_text(workload, names), unit_text(workload, listening.owner))
    return " · ".join(text for text in told if text)


def told_of(row: Row) -> list[str]:
    """What it drops and why, and its cookies."""
    told = []
    for stage, count in row.drops.items():
        rate = row.drop_rates[stage]
        if count:
            often = f" ({_rate(rate, 8)}/s)" if rate else ""
            told.append(f"{count:,} × {STAGE_WORDS[stage]}{often}")
    counts = row.listening.counts
    sent, valid, invalid = (
        counts[what] for what in (Count.COOKIE_SENT, Count.COOKIE_VALID, Count.COOKIE_INVALID)
    )
    if sent or valid or invalid:
        told += [
            f"SYN cookies: {sent:,} sent",
            f"their final ACKs: {valid:,} valid, {invalid:,} invalid",
        ]
    return told


def _member_line(member: Member, room: int) -> str:
    owner = process_text(member.owner) if member.owner else "-"
    cells = _queue_cells([member])
    return _line("  ·", room, owner[:_OWNER_WIDTH], *cells, "", "", "", "")


def _queue_cells(members: list[Member]) -> tuple[str, ...]:
    """Length over limit and peak, of both queues."""
    if not members:
        return ("-",) * 4
    slots = [member.slot for member in members]
    syn_limit = sum(member.syn_queue_limit for member in members)
    accept_limit = sum(slot.accept_queue_limit for slot in slots)
    return (
        f"{short(sum(slot.accept_queue_len for slot in slots))}/{short(accept_limit)}",
        short(sum(member.accept_queue_peak for member in members)),
        f"{short(sum(slot.syn_queue_len for slot in slots))}/{short(syn_limit)}",
        short(sum(member.syn_queue_peak for member in members)),
    )


def _rate(rate: float, room: int) -> str:
    if not rate:
        return "-"
    return f"{rate:.1f}" if rate < 100 else _number(round(rate), room)  # noqa: PLR2004 - 3 digits


def _number(count: int, room: int) -> str:
    """All its digits if they fit."""
    text = f"{count:,}"
    return text if len(text) <= room else short(count)


def _colour(row: Row) -> str:
    if row.drop_rate:
        return "bad"
    if row.drop_count or row.accept_queue_fill >= _NEARLY_FULL:
        return "warn"
    return ""


def as_json(row: Row, at: str | None, names: Names) -> str:
    """One listener as one line of JSON (docs/schema/listener-v1.json)."""
    listening = row.listening
    workload = parse(listening.cgroup) if listening.cgroup else None
    counts = listening.counts
    told = {
        "schema": SCHEMA,
        "at": at,
        "netns": listening.address.netns,
        "netns_name": names.namespaces.get(listening.address.netns),
        "family": listening.family,
        "address": listening.address.address,
        "port": listening.address.port,
        "is_open": listening.is_open,
        "owner": _process(listening.owner),
        **whereabouts.as_json(workload, names),
        "sockets": [_socket(member) for member in listening.members.values()],
        "drops": {stage.name.lower(): count for stage, count in row.drops.items()},
        "drop_rate": round(row.drop_rate, 3),
        "syn_cookies": {
            "sent": counts[Count.COOKIE_SENT],
            "valid": counts[Count.COOKIE_VALID],
            "invalid": counts[Count.COOKIE_INVALID],
        },
        "syns": counts[Count.SYN_QUEUED],
        "accepts": row.accepts,
        "accept_rate": round(row.accept_rate, 3),
        "accept_wait_p99_ns": row.accept_wait_p99_ns,
    }
    return json.dumps(told)


def _socket(member: Member) -> dict[str, Any]:
    slot = member.slot
    return {
        "owner": _process(member.owner),
        "accept_queue": {
            "length": slot.accept_queue_len,
            "limit": slot.accept_queue_limit,
            "peak": member.accept_queue_peak,
        },
        "syn_queue": {
            "length": slot.syn_queue_len,
            "young": slot.syn_queue_young,
            "limit": member.syn_queue_limit,
            "peak": member.syn_queue_peak,
        },
        "somaxconn": slot.somaxconn,
        "max_syn_backlog": slot.max_syn_backlog,
        "syncookies": slot.syncookies,
    }


def _process(process: Any) -> dict[str, Any] | None:
    return {"pid": process.pid, "comm": comm_text(process.comm)} if process else None


def selected(rows: Iterable[Row], wanted: str | None, sort: str) -> list[Row]:
    """The rows to show, in order."""
    chosen = (row for row in rows if wanted is None or matches(row, wanted))
    return sorted(chosen, key=SORTS[sort])
