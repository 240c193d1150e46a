"""Panels about the tracers themselves: is what the other panels show true and whole?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from dashboards.build import boards
from dashboards.build.panels import About, Column, Levels, grid, lines
from dashboards.build.queries import HOST, NETNS, Target, rate, ratio, sum_rate

if TYPE_CHECKING:
    from grafana_foundation_sdk.cog.builder import Builder
    from grafana_foundation_sdk.models import dashboard as models

_TO_HOST: Final = boards.to_host(boards.LIFECYCLE)
_ANY: Final = Levels(bad=0.000001)


def _lost() -> Builder[models.Panel]:
    return lines(
        About(
            "Records lost",
            "Must be 0. Records that found the ring full: states, durations, connects and accepts "
            "are then incomplete; drops, cookies and SYNs are not, they are counted in the kernel. "
            "Give tcptrace more CPU, or less to trace.",
            units.EventsPerSecond,
            8,
        ),
        Target(sum_rate("tcptrace_events_lost_total", HOST, "instance"), "{{instance}}"),
        levels=_ANY,
        links=(_TO_HOST,),
    )


def _difference() -> Builder[models.Panel]:
    return lines(
        About(
            "Ledger minus kernel",
            "Must be 0: tcptrace's own count less the kernel's TcpExt counter, since the start. "
            "Negative: a probe missed some (see Probe runs skipped). A short blip: both were read "
            "while packets came in.",
            units.Short,
            8,
        ),
        Target(
            f"sum by (instance, counter) (tcptrace_reconciliation_difference{{{NETNS}}})",
            "{{instance}} {{counter}}",
        ),
        levels=Levels(bad=1),
        ends=(None, None),
        links=(_TO_HOST,),
    )


def _memory(width: int = 8) -> Builder[models.Panel]:
    return lines(
        About(
            "Collector's memory",
            "Resident. It grows with the connections that are open; growth without end while "
            "Objects held stays level is a fault of tcptrace.",
            units.BytesIEC,
            width,
        ),
        Target(f"max by (instance) (process_resident_memory_bytes{{{HOST}}})", "{{instance}}"),
        links=(_TO_HOST,),
    )


def _misses() -> Builder[models.Panel]:
    return lines(
        About(
            "Probe runs skipped",
            "The kernel skips a probe that interrupts another on the same CPU. By hook. If this is "
            "more than a few, let tcptrace attach by fentry rather than by kprobe.",
            units.EventsPerSecond,
            8,
        ),
        Target(
            sum_rate("tcptrace_hook_misses_total", HOST, "instance, hook"), "{{instance}} {{hook}}"
        ),
        levels=_ANY,
    )


def _versions(width: int) -> Builder[models.Panel]:
    return grid(
        About(
            "What traces what",
            "The version of tcptrace, the kernel that it traces, and what carries its probes. "
            "kprobe as a carrier loses some events under load; fentry does not.",
            units.Short,
            width,
        ),
        (
            Column(
                "up since",
                Target(
                    "max by (instance, version, kernel, carrier) "
                    f"(tcptrace_build_info{{{HOST}}}) * on (instance) group_left () "
                    f"(max by (instance) (process_start_time_seconds{{{HOST}}}) * 1000)",
                    instant=True,
                    form=PromQueryFormat.TABLE,
                ),
                units.DatetimeISO,
            ),
        ),
        ("instance", "version", "kernel", "carrier"),
    )


def brief() -> list[Builder[models.Panel]]:
    """For the overview: by host."""
    answering = lines(
        About(
            "Tracers that answer",
            "1: Prometheus reaches tcptrace on that host. 0: it does not, and nothing here is "
            "known of the host. On it: systemctl status, tcptrace doctor.",
            units.Short,
            8,
        ),
        Target(f"up{{{HOST}}}", "{{instance}}"),
        ends=(0, 1),
    )
    cpu = lines(
        About(
            "Collector's CPU",
            "CPU seconds per second, without the probes' own time in the kernel. 1 is a whole "
            "core: records will be lost. Trace fewer ports or namespaces.",
            units.PercentUnit,
            6,
        ),
        Target(sum_rate("process_cpu_seconds_total", HOST, "instance"), "{{instance}}"),
        levels=Levels(look=0.5, bad=0.9),
        links=(_TO_HOST,),
    )
    return [answering, _lost(), _difference(), _memory(6), cpu, _versions(12)]


def full() -> list[Builder[models.Panel]]:
    """For the lifecycle dashboard: everything that is known."""
    return [_lost(), _difference(), _misses(), *_tracker(), _memory(), *_programs(), _versions(8)]


def _tracker() -> list[Builder[models.Panel]]:
    return [
        lines(
            About(
                "Records by kind",
                "What comes through the ring. The load of the collector; a kind that vanishes "
                "while others go on: its probe is gone, see tcptrace doctor.",
                units.EventsPerSecond,
                8,
            ),
            Target(sum_rate("tcptrace_events_total", HOST, "kind"), "{{kind}}"),
            stacked=True,
        ),
        lines(
            About(
                "Partial and healed lives",
                "Connections that are not known whole. began_before: open when tracing began, "
                "harmless. gap, end_lost: records are missing. folded: more were open than are "
                "kept. healed: a snapshot found them gone.",
                units.EventsPerSecond,
                8,
            ),
            Target(sum_rate("tcptrace_partial_lives_total", HOST, "reason"), "{{reason}}"),
            Target(f"sum({rate('tcptrace_healed_lives_total', HOST)})", "healed"),
            Target(sum_rate("tcptrace_corrected_lives_total", HOST, "what"), "corrected: {{what}}"),
        ),
        *_agreement(),
        lines(
            About(
                "Unexpected records and snapshots",
                "Records of a transition that TCP does not have: events were lost, or tcptrace "
                "does not know this kernel; please report it if nothing was lost. Snapshots mend "
                "what was missed; none for long: the collector hangs.",
                units.EventsPerSecond,
                8,
            ),
            Target(f"sum({rate('tcptrace_unexpected_records_total', HOST)})", "unexpected"),
            Target(f"sum({rate('tcptrace_snapshots_total', HOST)})", "snapshots"),
        ),
        lines(
            About(
                "Objects held",
                "Connections and listeners in the collector's memory. It should follow the number "
                "of sockets, up to --max-connections: idle ones beyond it are counted by state "
                "alone. Folded: listeners beyond --max-listeners, shown as address other, and "
                "connections in the last second; raise these options.",
                units.Short,
                8,
            ),
            Target(f"sum by (object) (tcptrace_tracked_objects{{{HOST}}})", "{{object}}"),
            Target(f"sum(tcptrace_connections_limit{{{HOST}}})", "most connections"),
            Target(f"sum(tcptrace_listeners_folded{{{HOST}}})", "folded listeners"),
            Target(f"sum({rate('tcptrace_connections_folded_total', HOST)})", "folded connections"),
        ),
    ]


def _agreement() -> list[Builder[models.Panel]]:
    return [
        lines(
            About(
                "Records lost, by hook",
                "Whose records found the ring full: what those tell is incomplete, and lives that "
                "were open then are marked partial. Give tcptrace more CPU, or a larger ring.",
                units.EventsPerSecond,
                8,
            ),
            Target(sum_rate("tcptrace_hook_events_lost_total", HOST, "hook"), "{{hook}}"),
            levels=_ANY,
        ),
        lines(
            About(
                "Other figures than the kernel's",
                "Which of the figures that the kernel has too differ, to which side and why. "
                "lost_events and missed_runs were counted; unknown: run tcptrace verify. "
                "Compared: how many figures there are in all.",
                units.Short,
                8,
            ),
            Target(
                "sum by (instance, figure, direction, cause) "
                f"(tcptrace_kernel_difference{{{NETNS}}})",
                "{{instance}} {{figure}} {{direction}}, {{cause}}",
            ),
            Target(f"sum(tcptrace_kernel_figures_compared{{{NETNS}}})", "compared"),
        ),
        lines(
            About(
                "State counts in doubt",
                "1 from a loss to the next snapshot that loses nothing, some seconds later: until "
                "then sockets by state may be wrong. In namespaces made after tracing had begun "
                "they stay so: how many. Ages: since the last loss and since the last snapshot "
                "that healed one; the younger one says how it stands.",
                units.Seconds,
                8,
            ),
            Target(f"max by (instance) (tcptrace_state_counts_suspect{{{HOST}}})", "{{instance}}"),
            Target(f"sum(tcptrace_namespace_counts_suspect{{{NETNS}}})", "namespaces in doubt"),
            Target(f"sum({rate('tcptrace_heals_total', HOST)})", "heals a second"),
            Target(f"time() - max(tcptrace_last_loss_timestamp_seconds{{{HOST}}})", "since a loss"),
            Target(f"time() - max(tcptrace_last_heal_timestamp_seconds{{{HOST}}})", "since a heal"),
        ),
    ]


def _programs() -> list[Builder[models.Panel]]:
    seconds = "tcptrace_program_run_seconds_total"
    return [
        lines(
            About(
                "BPF programs: CPU time",
                "Time in each probe, of one core. Empty unless kernel.bpf_stats_enabled is 1 "
                "(sysctl -w; it costs a little itself). Above a few percent: trace fewer ports.",
                units.PercentUnit,
                8,
            ),
            Target(sum_rate(seconds, HOST, "hook"), "{{hook}}"),
            stacked=True,
        ),
        lines(
            About(
                "BPF programs: mean run",
                "How long one run of a probe takes, by hook and carrier. Some hundred nanoseconds "
                "is usual. Empty unless kernel.bpf_stats_enabled is 1.",
                units.Seconds,
                8,
            ),
            Target(
                ratio(
                    sum_rate(seconds, HOST, "hook, carrier"),
                    sum_rate("tcptrace_program_runs_total", HOST, "hook, carrier"),
                ),
                "{{hook}} {{carrier}}",
            ),
        ),
        lines(
            About(
                "Sent by OTLP",
                "With --otlp alone. Connections and states of metrics that the endpoint took, and "
                "what is lost: too_many a second, unsent (down, too slow), refused. Failing: how "
                "many signals it does not take now; stderr says why.",
                units.EventsPerSecond,
                8,
            ),
            Target(sum_rate("tcptrace_otlp_sent_total", HOST, "signal"), "{{signal}} sent"),
            Target(
                sum_rate("tcptrace_otlp_lost_total", HOST, "signal, reason"),
                "{{signal}} lost, {{reason}}",
            ),
            Target(sum_rate("tcptrace_otlp_rejected_total", HOST, "signal"), "{{signal}} rejected"),
            Target(f"sum by (signal) (tcptrace_otlp_failing{{{HOST}}})", "{{signal}} failing"),
        ),
    ]
