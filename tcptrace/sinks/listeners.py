"""The listeners of a host as a table for people, or as JSON Lines."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from tcptrace.sinks.terminal import comm_text, flow, process_text, safe_text
from tcptrace.sinks.units import duration
from tcptrace.sinks.words import STAGE_WORDS
from tcptrace.wire.ledger import Count

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from tcptrace.lifecycle.ledger import Member
    from tcptrace.lifecycle.overview import Row
    from tcptrace.sinks.terminal import Paint

SCHEMA: Final = "tcptrace.listener.v1"
_HEADINGS: Final = "{:{}}  {:16} {:>9} {:>5} {:>9} {:>5} {:>7} {:>6} {:>8} {:>6}"
_TITLES: Final = (
    "OWNER", "ACCEPT Q", "PEAK", "SYN Q", "PEAK", "DROPS", "/s", "ACCEPT/s", "p99",
)  # fmt: skip
_LEAST_NAME: Final = 15
_MOST_NAME: Final = 39
_OWNER_WIDTH: Final = 16
_WIDTH: Final = 100
_NEARLY_FULL: Final = 0.8

SORTS: Final[Mapping[str, Callable[[Row], Any]]] = {
    "drops": lambda row: (-row.drop_rate, -row.drop_count, -row.accept_queue_fill),
    "accept": lambda row: (-row.accept_queue_fill, -row.drop_count),
    "syn": lambda row: -sum(m.syn_queue_peak for m in row.listening.members.values()),
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
    rows: list[Row], paint: Paint, names: Mapping[int, str], *, note: str, width: int | None = None
) -> str:
    """Returns the table.

    Args:
        rows: in the order to show.
        paint: colours, or none.
        names: of network namespaces, where they are worth telling.
        note: the line above it.
        width: columns to wrap at; None for 100.
    """
    titles = [_name(row, names) for row in rows]
    room = min(_MOST_NAME, max([_LEAST_NAME, *map(len, titles)]))
    lines = [paint(note, "dim")]
    lines.append(paint(_HEADINGS.format("LISTENER", room, *_TITLES).rstrip(), "strong"))
    for row, title in zip(rows, titles, strict=True):
        lines += _lines_of(row, title, room, paint, width or _WIDTH)
    if not rows:
        lines.append("no listeners")
    return "\n".join(lines)


def _name(row: Row, names: Mapping[int, str]) -> str:
    address = row.listening.address
    text = f"[{address.address}]" if ":" in address.address else address.address
    name = names.get(address.netns)
    place = f"@{safe_text(name)}" if name else ""
    return f"{text}:{address.port}{place}"


def _lines_of(row: Row, title: str, room: int, paint: Paint, width: int) -> Iterator[str]:
    listening = row.listening
    members = list(listening.members.values())
    owner = process_text(listening.owner) if listening.owner else "-"
    if len(members) > 1:
        owner = f"{len(members)} sockets"
    cells = _HEADINGS.format(
        title[:room],
        room,
        owner[:_OWNER_WIDTH] if listening.is_open else "closed",
        *_queue_cells(members),
        f"{row.drop_count:,}",
        _rate(row.drop_rate),
        _rate(row.accept_rate),
        duration(row.accept_wait_p99_ns),
    )
    yield paint(cells, _colour(row)) if _colour(row) else cells
    told = [
        f"{count:,} × {STAGE_WORDS[stage]}" + (f" ({_rate(rate)}/s)" if rate else "")
        for stage, count in row.drops.items()
        if count and (rate := row.drop_rates[stage]) is not None
    ]
    counts = listening.counts
    cookies = [
        counts[what] for what in (Count.COOKIE_SENT, Count.COOKIE_VALID, Count.COOKIE_INVALID)
    ]
    if any(cookies):
        told.append("SYN cookies: {:,} sent, {:,} valid, {:,} invalid".format(*cookies))
    if told:
        for line in flow(told, width - 4):
            yield paint(f"  └ {line}", "warn")
    if len(members) > 1:
        for member in members:
            yield _member_line(member, room)


def _member_line(member: Member, room: int) -> str:
    owner = process_text(member.owner) if member.owner else "-"
    cells = _queue_cells([member])
    return _HEADINGS.format("  ·", room, owner[:_OWNER_WIDTH], *cells, "", "", "", "").rstrip()


def _queue_cells(members: list[Member]) -> tuple[str, ...]:
    """Length over limit and peak, of both queues."""
    if not members:
        return ("-",) * 4
    slots = [member.slot for member in members]
    syn_limit = sum(member.syn_queue_limit for member in members)
    accept_limit = sum(slot.accept_queue_limit for slot in slots)
    return (
        f"{sum(slot.accept_queue_len for slot in slots):,}/{accept_limit:,}",
        f"{sum(member.accept_queue_peak for member in members):,}",
        f"{sum(slot.syn_queue_len for slot in slots):,}/{syn_limit:,}",
        f"{sum(member.syn_queue_peak for member in members):,}",
    )


def _rate(rate: float) -> str:
    if not rate:
        return "-"
    return f"{rate:.1f}" if rate < 100 else f"{rate:,.0f}"  # noqa: PLR2004 - three digits


def _colour(row: Row) -> str:
    if row.drop_rate:
        return "bad"
    if row.drop_count or row.accept_queue_fill >= _NEARLY_FULL:
        return "warn"
    return ""


def as_json(row: Row, at: str | None) -> str:
    """One listener as one line of JSON (docs/schema/listener-v1.json)."""
    listening = row.listening
    counts = listening.counts
    told = {
        "schema": SCHEMA,
        "at": at,
        "netns": listening.address.netns,
        "family": listening.family,
        "address": listening.address.address,
        "port": listening.address.port,
        "is_open": listening.is_open,
        "owner": _process(listening.owner),
        "cgroup": listening.cgroup or None,
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
