"""What `verify` found, as a table for people, or as one JSON object."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tcptrace.lifecycle.explaining import Cause
from tcptrace.sinks.terminal import flow, safe_text
from tcptrace.sinks.units import plural

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tcptrace.lifecycle.explaining import Finding
    from tcptrace.sinks.terminal import Paint
    from tcptrace.wire.head import Losses, TraceHead

SCHEMA: Final = "tcptrace.verification.v1"
_ROW: Final = "{:16}  {:20} {:>12} {:>12} {:>11}  {}"
_TITLES: Final = ("NAMESPACE", "FIGURE", "KERNEL", "TCPTRACE", "DIFFERENCE", "CAUSE")
_WIDTH: Final = 100

CAUSE_WORDS: Final[Mapping[Cause, str]] = {
    Cause.NONE: "",
    Cause.UNDER_WAY: "under way while it was read",
    Cause.LOST_EVENTS: "lost events, counted",
    Cause.MISSED_RUNS: "skipped probe runs, counted",
    Cause.NO_SLOT: "listeners without a slot, counted",
    Cause.UNCOUNTED_MISSES: "perhaps missed kprobes or returns: not counted by this kernel",
    Cause.OTHER_NAMESPACE: "another namespace has it",
    Cause.UNKNOWN: "unknown",
}


class Report(NamedTuple):
    """The outcome of a verification."""

    head: TraceHead
    elapsed_s: float
    findings: tuple[Finding, ...]
    names: Mapping[int, str]
    """Of the network namespaces, as `ip netns` has them, or ""."""
    losses: Losses
    heals: int
    unhealed: tuple[int, ...] = ()
    """Namespaces whose numbers of sockets are doubtful since a loss: no snapshot covered them."""

    @property
    def unexplained(self) -> int:
        """How many figures differ for no counted reason."""
        return sum(not finding.is_explained for finding in self.findings)


def render(report: Report, paint: Paint, width: int | None = None) -> str:
    """Returns the table: every figure that is not 0 on both sides, then what it comes to."""
    lines = [paint(_ROW.format(*_TITLES), "strong")]
    silent = 0
    for finding in report.findings:
        found = finding.comparison
        if found.kernel or found.ours or found.difference:
            lines.append(_row(finding, report.names, paint))
        else:
            silent += 1
    if silent:
        lines.append(paint(f"{plural(silent, 'more figure')} with 0 on both sides", "dim"))
    lines += _words_of(report.losses, width or _WIDTH)
    if report.unhealed:
        where = plural(len(report.unhealed), "network namespace")
        lines.append(f"numbers of sockets stay in doubt in {where}: no snapshot since a loss")
    return "\n".join([*lines, _verdict(report, paint)])


def _row(finding: Finding, names: Mapping[int, str], paint: Paint) -> str:
    found = finding.comparison
    name = safe_text(names.get(found.netns) or str(found.netns))
    difference = f"{found.difference:+,} {finding.direction}" if found.difference else "0"
    row = _ROW.format(
        name[:16],
        found.figure.name,
        f"{found.kernel:,}",
        f"{found.ours:,}",
        difference,
        CAUSE_WORDS[finding.cause],
    ).rstrip()
    if not found.difference:
        return row
    return paint(row, "warn" if finding.is_explained else "bad")


def _words_of(losses: Losses, width: int) -> Iterator[str]:
    for heading, by_hook in (
        ("lost events: ", losses.lost_by_hook),
        ("skipped probe runs: ", losses.missed_by_hook),
    ):
        told = [f"{safe_text(hook)} {count:,}" for hook, count in by_hook.items()]
        if told:
            first, *more = flow(told, width - len(heading), " · ")
            yield heading + first
            yield from (" " * len(heading) + line for line in more)
    if losses.uncounted_hooks:
        hooks = plural(len(losses.uncounted_hooks), "hook")
        yield f"this kernel does not tell what kprobes miss: {hooks} uncounted"


def _verdict(report: Report, paint: Paint) -> str:
    figures = plural(len(report.findings), "figure")
    namespaces = plural(len({one.comparison.netns for one in report.findings}), "namespace")
    where = f"{figures} in {namespaces}, {report.elapsed_s:.1f} s"
    if report.unexplained:
        return paint(f"{report.unexplained} of {where}: differ, and no counted loss is why", "bad")
    differing = sum(one.comparison.difference != 0 for one in report.findings)
    if differing:
        return paint(f"{where}: {differing} differ by counted losses, all others agree", "warn")
    return paint(f"{where}: all agree with the kernel", "good")


def as_json(report: Report, at: str | None) -> str:
    """The same as one line of JSON (docs/schema/verification-v1.json)."""
    losses = report.losses
    told = {
        "schema": SCHEMA,
        "at": at,
        "kernel_release": report.head.kernel,
        "carrier": report.head.carrier,
        "elapsed_s": round(report.elapsed_s, 3),
        "agrees": not report.unexplained,
        "lost_events": losses.lost_records,
        "lost_by_hook": dict(losses.lost_by_hook),
        "missed_by_hook": losses.missed_by_hook,
        "uncounted_hooks": list(losses.uncounted_hooks),
        "heals": report.heals,
        "unhealed": list(report.unhealed),
        "figures": [_figure(finding, report.names) for finding in report.findings],
    }
    return json.dumps(told)


def _figure(finding: Finding, names: Mapping[int, str]) -> dict[str, Any]:
    found = finding.comparison
    return {
        "netns": found.netns,
        "namespace": names.get(found.netns) or None,
        "figure": found.figure.name,
        "counts": found.figure.counts,
        "origin": found.figure.origin.value,
        "kernel": found.kernel,
        "tcptrace": found.ours,
        "difference": found.difference,
        "direction": finding.direction,
        "cause": finding.cause.value,
        "is_explained": finding.is_explained,
    }
