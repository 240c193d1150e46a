"""The metrics of the tracer itself: what it is, what it missed, what its programs cost."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from tcptrace import __version__
from tcptrace.sinks.metrics.families import counter, gauge, label_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tcptrace.sinks.metrics.client import Metric
    from tcptrace.wire.head import Losses, ProgramRuns, TraceHead


def health_families(
    head: TraceHead, losses: Losses, programs: Iterable[ProgramRuns]
) -> Iterator[Metric]:
    """Every family about the trace as such; a recording's head may be anybody's."""
    lost = counter("tcptrace_events_lost_total")
    lost.add_metric([], losses.lost_records)
    misses = counter("tcptrace_hook_misses_total")
    missed: Counter[str] = Counter()
    for hook in dict.fromkeys(hook.name for hook in head.hooks):
        missed[label_text(hook)] += losses.missed_by_hook.get(hook, 0)
    for name, count in missed.items():
        misses.add_metric([name], count)
    lost_by_hook = counter("tcptrace_hook_events_lost_total")
    for hook, count in losses.lost_by_hook.items():
        lost_by_hook.add_metric([label_text(hook)], count)
    build = gauge("tcptrace_build_info")
    build.add_metric([__version__, label_text(head.kernel), label_text(head.carrier)], 1)
    runs = counter("tcptrace_program_runs_total")
    seconds = counter("tcptrace_program_run_seconds_total")
    for program in programs:
        if program.runs:
            labels = [program.hook, program.carrier]
            runs.add_metric(labels, program.runs)
            seconds.add_metric(labels, program.run_time_ns / 1e9)
    yield from (lost, lost_by_hook, misses, build, runs, seconds)
