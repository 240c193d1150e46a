"""Verdicts for people, a headline and some sentences each, and as JSON."""

from __future__ import annotations

import re
import textwrap
from typing import TYPE_CHECKING, Any, Final

from tcptrace.lifecycle.ledger import Address
from tcptrace.sinks import whereabouts
from tcptrace.sinks.terminal import comm_text, safe_text
from tcptrace.sinks.units import duration, plural
from tcptrace.sinks.verdict_words.causes import RUNBOOK, change, evidence, title
from tcptrace.sinks.verdict_words.told import percent, seconds
from tcptrace.sinks.words import STAGE_WORDS
from tcptrace.tcp import WILDCARDS, address_text
from tcptrace.verdicts.verdict import Cause, Confidence

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tcptrace.lifecycle.names import Names
    from tcptrace.sinks.terminal import Paint
    from tcptrace.sinks.units import WallClock
    from tcptrace.sinks.wanted import Wanted
    from tcptrace.verdicts.inquest import Looked, Seen
    from tcptrace.verdicts.verdict import Verdict
    from tcptrace.wire.events import Stage

SCHEMA: Final = "tcptrace.verdict.v1"
_WIDTH: Final = 100
_INDENT: Final = "  "
_MARKS: Final = "✗→"
_NAMES: Final = ("accept()", "connect()")
_UNITS: Final = re.compile(r"(?<=\d) (?=s\b|%)")
_HELD: Final = "\N{NO-BREAK SPACE}"
_MOST_DROPS: Final = 5


def subject(verdict: Verdict) -> str:
    """Whose fault it is: `8080 (web, pid 189)`, `10.0.0.2:5432 (of web, pid 189)`."""
    where, process = verdict.where, verdict.process
    if isinstance(where, Address):
        name, of = _place(where.address, where.port), ""
    else:
        name, of = str(where), "of "
    if process is None:
        return name
    return f"{name} ({of}{safe_text(comm_text(process.comm))}, pid {process.pid})"


def _place(address: str, port: int) -> str:
    """A listener's: `8080` if it is bound to all addresses."""
    text = f"[{address}]" if ":" in address else address
    return str(port) if address in WILDCARDS else f"{text}:{port}"


def headline(verdict: Verdict, names: Names) -> str:
    """One line: who, what, whom it hurts, how long that takes."""
    told = [f"{subject(verdict)}: {title(verdict)}"]
    noun = "SYNs" if verdict.cause is Cause.SYN_FLOOD_WITHOUT_COOKIES else "connections"
    if verdict.hurt:
        told.append(f"{verdict.hurt:,} of {verdict.of:,} {noun} ({percent(verdict.share)})")
    else:
        told.append("nobody is hurt yet")
    if verdict.delays_ns:
        told.append(f"{seconds(verdict.delays_ns)} late")
    if verdict.confidence is Confidence.LIKELY:
        told.append("likely")
    told += _places(verdict, names)
    return " · ".join(told)


def sentences(verdict: Verdict, names: Names) -> str:
    """The whole text: whose it is, what was seen, what to change."""
    places = _places(verdict, names)
    where = f" [{', '.join(places)}]" if places else ""
    return f"{subject(verdict)}{where}: {_joined(evidence(verdict), upper=False)} {advice(verdict)}"


def advice(verdict: Verdict) -> str:
    """What to change."""
    return _joined(change(verdict), upper=True)


def silence(looked: Looked, what: Wanted | None, others: int, paint: Paint) -> str:
    """Says in a line that nothing is wrong, and what was looked at; and what was dropped below it.

    Args:
        looked: on what that is based.
        what: the subject that was asked for; None for all.
        others: verdicts on other subjects.
        paint: colours, or none.
    """
    told = (
        f"{plural(looked.listeners, 'listener')}, {plural(looked.connections, 'connection')} in,"
        f" {plural(looked.connects, 'connect() call')} out in {duration(looked.length_ns)}"
    )
    drops = [drop for drop in looked.drops if what is None or what.is_one(*drop[0])]
    subject_text = ""
    is_seen = True
    if what is not None:
        subject_text = f" with {safe_text(what.text)}"
        is_seen = bool(drops) or any(what.is_one(*end) for end in looked.ends)
        told += " on this host"
        told += f"; {plural(others, 'verdict')} on others" if others else ""
    if drops:
        found = paint(f"no verdict{subject_text}, though there were drops", "warn")
    elif is_seen:
        found = paint("nothing wrong found", "good") + subject_text
    else:
        found = paint(f"no listener {what} was seen, nor any trouble with it", "warn")
    return "\n".join([f"{found}: {told}", *_dropped(drops)])


def _dropped(drops: Sequence[tuple[Seen, Stage, int]]) -> Iterator[str]:
    """What was dropped where: the most."""
    for (address, port, _), stage, number in drops[:_MOST_DROPS]:
        yield f"{_INDENT}{_place(address, port)}: {number:,} × {STAGE_WORDS[stage]}"
    if len(drops) > _MOST_DROPS:
        yield f"{_INDENT}and less at {plural(len(drops) - _MOST_DROPS, 'other stage')}"


def _joined(told: Sequence[str], *, upper: bool) -> str:
    texts = [_capital(text) if upper or place else text for place, text in enumerate(told)]
    return " ".join(f"{text}." for text in texts)


def _capital(text: str) -> str:
    return text if text.startswith(_NAMES) else text[:1].upper() + text[1:]


def _places(verdict: Verdict, names: Names) -> list[str]:
    workload = names.workload(verdict.cgroup)
    return whereabouts.places(verdict.netns, workload, verdict.process, names)


def render(
    verdicts: Sequence[Verdict], paint: Paint, names: Names, width: int | None = None
) -> str:
    """Returns the verdicts' lines, most harm first.

    Args:
        verdicts: one at least.
        paint: colours, or none.
        names: of cgroups and network namespaces.
        width: columns to wrap at; None for 100.
    """
    lines: list[str] = []
    for verdict in verdicts:
        colour = "bad" if verdict.confidence is Confidence.CERTAIN else "warn"
        lines += (paint(line, colour) for line in _wrapped(f"✗ {headline(verdict, names)}", width))
        lines += _wrapped(_joined(evidence(verdict), upper=True), width, _INDENT)
        lines += _wrapped(f"→ {advice(verdict)}", width, _INDENT)
        lines.append(paint(f"{_INDENT}runbook: {RUNBOOK[verdict.cause]}", "dim"))
    return "\n".join(lines)


def _wrapped(text: str, width: int | None, indent: str = "") -> list[str]:
    lines = textwrap.wrap(
        _UNITS.sub(_HELD, text),
        width or _WIDTH,
        initial_indent=indent,
        subsequent_indent=f"{indent}  " if text[:1] in _MARKS else indent,
        break_on_hyphens=False,
        break_long_words=False,
    )
    return [line.replace(_HELD, " ") for line in lines]


def as_dict(verdict: Verdict, clock: WallClock, names: Names) -> dict[str, Any]:
    """One verdict as JSON has it (docs/schema/verdict-v1.json)."""
    where, process = verdict.where, verdict.process
    is_listener = isinstance(where, Address)
    return {
        "schema": SCHEMA,
        "at": clock.utc(verdict.last_at_ns),
        "cause": verdict.cause.value,
        "confidence": verdict.confidence.value,
        "netns": verdict.netns,
        "netns_name": names.namespaces.get(verdict.netns),
        "where": "listener" if is_listener else "remote",
        "address": where.address if isinstance(where, Address) else address_text(where.address),
        "port": where.port,
        "process": {"pid": process.pid, "comm": comm_text(process.comm)} if process else None,
        **whereabouts.as_json(names.workload(verdict.cgroup), names),
        "peer": address_text(verdict.peer) if verdict.peer else None,
        "stage": verdict.stage.name.lower() if verdict.stage is not None else None,
        "hurt": verdict.hurt,
        "of": verdict.of,
        "share": round(verdict.share, 4),
        "delays_ns": list(verdict.delays_ns),
        "figures": dict(verdict.figures),
        "headline": headline(verdict, names),
        "text": sentences(verdict, names),
        "advice": advice(verdict),
        "runbook": RUNBOOK[verdict.cause],
    }
