"""The life of connections: states, transitions, durations, handshakes, how they end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from dashboards.build import boards, health
from dashboards.build.panels import About, Levels, heat, lines
from dashboards.build.queries import HOST, NETNS, Target, quantiles, ratio, sum_rate

if TYPE_CHECKING:
    from grafana_foundation_sdk.cog.builder import Builder
    from grafana_foundation_sdk.models import dashboard as models

_DURATION: Final = "tcptrace_state_duration_seconds"
_AGE: Final = "tcptrace_socket_age_seconds"
_STATE: Final = f'{HOST},state=~"$state"'
_AGES: Final = Levels(look=300, bad=3600)


def _sockets() -> list[Builder[models.Panel]]:
    return [
        lines(
            About(
                "Sockets by state",
                "Full, request (new_syn_recv) and TIME_WAIT sockets. close_wait that grows: a "
                "leak. new_syn_recv that grows: half-open handshakes. fin_wait2 that grows: peers "
                "that do not close.",
                units.Short,
            ),
            Target(f"sum by (state) (tcptrace_sockets{{{NETNS}}})", "{{state}}"),
            stacked=True,
        ),
        lines(
            About(
                "TIME_WAIT by role",
                "client: each holds a port towards its destination. server: costs a little memory. "
                "unknown: from before the trace. Ports: what ip_local_port_range gives for one "
                "destination; when client comes near, connect() fails.",
                units.Short,
            ),
            Target(f"sum by (role) (tcptrace_time_wait_sockets{{{NETNS}}})", "{{role}}"),
            Target(f"min(tcptrace_ephemeral_ports{{{NETNS}}})", "ports"),
            right="ports",
        ),
        lines(
            About(
                "Transitions",
                "Changes of state per second. established to close is a reset; syn_sent to close a "
                "failed connect; close_wait to last_ack the orderly end by the peer.",
                units.OpsPerSecond,
                24,
            ),
            Target(
                sum_rate("tcptrace_transitions_total", HOST, "old_state, new_state"),
                "{{old_state}} → {{new_state}}",
            ),
        ),
    ]


def _durations() -> list[Builder[models.Panel]]:
    return [
        heat(
            About(
                "How long the chosen states last",
                "Counted when sockets leave a state: choose it above. syn_sent near 1, 3, 7 s: "
                "SYNs sent again. close_wait of minutes: slow to close. A band at 60 s in "
                "time_wait is right.",
                units.Seconds,
            ),
            Target(
                sum_rate(f"{_DURATION}_bucket", _STATE, "le"),
                "{{le}}",
                form=PromQueryFormat.HEATMAP,
            ),
        ),
        lines(
            About(
                "Median and 99th percentile by state",
                "By the histogram's buckets, so roughly. syn_recv and new_syn_recv are a round "
                "trip or less; last_ack and closing too. Longer: packets are lost.",
                units.Seconds,
            ),
            *(
                target
                for target in quantiles(f"{_DURATION}", _STATE, "state")
                if not target.legend.endswith("p90")
            ),
        ),
    ]


def _beginnings() -> list[Builder[models.Panel]]:
    retransmits = "tcptrace_syn_retransmits_total"
    return [
        lines(
            About(
                "Handshake by role",
                "From the first SYN to ESTABLISHED. About a round trip; a p99 near 1 s or 3 s: "
                "SYNs, SYN-ACKs or final ACKs were lost or refused, and sent again. client only: "
                "look at the servers. server: look at Listener.",
                units.Seconds,
            ),
            *quantiles("tcptrace_handshake_seconds", HOST, "role"),
            levels=Levels(bad=1),
        ),
        lines(
            About(
                "Connects by outcome",
                "refused: nobody listens there. timeout: SYNs unanswered. reset: a firewall, or "
                "tcp_abort_on_overflow. unreachable: routes. failed: no port, route or memory "
                "here. gave_up: the application's own timeout. aborted: ss -K or a BPF program.",
                units.RequestsPerSecond,
            ),
            Target(sum_rate("tcptrace_connects_total", NETNS, "outcome"), "{{outcome}}"),
            stacked=True,
        ),
        lines(
            About(
                "SYNs and SYN-ACKs sent again",
                "SYNs: this host's clients got no answer; SYN-ACKs: this host's listeners got no "
                "final ACK. Both: the path loses packets. SYNs alone: the other side drops them.",
                units.PacketsPerSecond,
                8,
            ),
            Target(sum_rate(retransmits, NETNS, "family"), "SYN {{family}}"),
            Target(
                sum_rate("tcptrace_synack_retransmits_total", NETNS, "family"), "SYN-ACK {{family}}"
            ),
        ),
        lines(
            About(
                "SYNs sent again for each connect()",
                "Above 5 %: connects take 1 s, 3 s, 7 s longer. Trace one port of the destination: "
                "tcptrace port N --timeline.",
                units.PercentUnit,
                8,
            ),
            Target(
                ratio(
                    sum_rate(retransmits, NETNS, "instance, netns"),
                    sum_rate("tcptrace_connects_total", NETNS, "instance, netns"),
                ),
                "{{instance}} {{netns}}",
            ),
            levels=Levels(look=0.01, bad=0.05),
        ),
        lines(
            About(
                "RSTs by direction and state",
                "sent in established or close_wait: closed with data unread, or linger 0. received "
                "in established: the peer or a middlebox cut it. received in syn_sent: refused.",
                units.PacketsPerSecond,
                8,
            ),
            Target(
                sum_rate("tcptrace_resets_total", NETNS, "direction, state"),
                "{{direction}} {{state}}",
            ),
        ),
    ]


def _ages() -> list[Builder[models.Panel]]:
    return [
        *(
            heat(
                About(
                    f"Ages of the sockets in {state.upper()}",
                    description,
                    units.Seconds,
                    8,
                ),
                Target(
                    f'sum by (le) ({_AGE}_bucket{{{NETNS},state="{state}"}})',
                    "{{le}}",
                    form=PromQueryFormat.HEATMAP,
                ),
            )
            for state, description in (
                (
                    "close_wait",
                    (
                        "Sockets that are in it now, by how long. A band that climbs: nobody "
                        "closes them. On the host: ss -tanp state close-wait tells whose they are."
                    ),
                ),
                (
                    "time_wait",
                    (
                        "Sockets that are in it now, by how long. None lasts longer than 60 s; "
                        "more than usual: something opens a connection for each request."
                    ),
                ),
            )
        ),
        lines(
            About(
                "Oldest socket",
                "In close_wait: minutes are a leak, or a process that hangs. In time_wait: 60 s at "
                "most; longer means that tcptrace missed its end, and the next snapshot mends it.",
                units.Seconds,
                8,
            ),
            Target(
                f"max by (instance, state) (tcptrace_oldest_socket_age_seconds{{{NETNS}}})",
                "{{instance}} {{state}}",
            ),
            levels=_AGES,
        ),
    ]


def build() -> models.Dashboard:
    """The dashboard."""
    return boards.dashboard(
        boards.LIFECYCLE,
        "The life of connections on the chosen hosts: states, transitions, durations, handshakes, "
        "ends; and how well all this is known.",
        [
            *boards.host_variables("tcptrace_sockets"),
            boards.state_variable(f"{_DURATION}_count"),
        ],
        {
            "Sockets": _sockets(),
            "How long states last": _durations(),
            "Beginnings and ends": _beginnings(),
            "Ages": _ages(),
            "Tracer health": health.full(),
        },
    )
