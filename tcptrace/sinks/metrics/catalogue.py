"""The one catalogue of metrics: every name, type, label and meaning. docs/metrics.md comes from it.

Labels are bounded: `netns` is a network namespace's inode number (as `lsns -t net` prints it), and
0 for all those together that came when 1,000 were known;
`address` and `port` are a listener's own; states are the kernel's names in lower case, as
node_exporter writes them. Never a peer's address or port, never a pid.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final, NamedTuple


class Type(StrEnum):
    """A metric family's type, by OpenMetrics."""

    GAUGE = "gauge"
    COUNTER = "counter"
    HISTOGRAM = "histogram"
    GAUGE_HISTOGRAM = "gaugehistogram"


class Metric(NamedTuple):
    """One metric family."""

    name: str
    """As samples carry it: a counter's ends in `_total`."""
    type: Type
    labels: tuple[str, ...]
    help: str
    source: str
    """Where the figure comes from."""
    buckets: tuple[float, ...] = ()
    """Upper bounds of a histogram's buckets, seconds, without infinity."""


_LISTENER: Final = ("netns", "address", "port")

LISTENER_INFO: Final = (
    "comm", "cgroup", "netns_name", "container_id", "container_name", "pod_name", "pod_namespace",
    "pod_uid", "unit",
)  # fmt: skip
"""What the one info metric says of a listener, so that its others need not carry it."""

_WAITS: Final = (
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10,
)  # fmt: skip
"""Handshakes and waits in queues; SYNs leave again after 1, 3 and 7 s."""
_SPANS: Final = (0.001, 0.01, 0.1, 1, 10, 60, 300, 3600)
"""How long states last."""
_AGES: Final = (1, 10, 60, 300, 3600, 86400)

METRICS: Final[tuple[Metric, ...]] = (
    # Sockets.
    Metric(
        "tcptrace_sockets",
        Type.GAUGE,
        ("netns", "family", "state"),
        "TCP sockets by state: full, request (new_syn_recv) and TIME_WAIT sockets.",
        "a sock_diag snapshot, then every transition",
    ),
    Metric(
        "tcptrace_transitions_total",
        Type.COUNTER,
        ("old_state", "new_state"),
        "Changes of state.",
        "tcp_set_state and its siblings",
    ),
    Metric(
        "tcptrace_state_duration_seconds",
        Type.HISTOGRAM,
        ("state",),
        "How long sockets stayed in a state, counted when they leave it.",
        "the times of two transitions",
        _SPANS,
    ),
    Metric(
        "tcptrace_socket_age_seconds",
        Type.GAUGE_HISTOGRAM,
        ("netns", "state"),
        "For how long the sockets that are in close_wait and time_wait now have been there.",
        "the time of the transition; of the snapshot for sockets that were there before",
        _AGES,
    ),
    Metric(
        "tcptrace_oldest_socket_age_seconds",
        Type.GAUGE,
        ("netns", "state"),
        "The age of the oldest socket in close_wait and in time_wait; absent where there is none.",
        "as tcptrace_socket_age_seconds",
    ),
    Metric(
        "tcptrace_time_wait_sockets",
        Type.GAUGE,
        ("netns", "role"),
        "TIME_WAIT sockets by the role of their connection: each of a client's holds a port.",
        "as tcptrace_sockets",
    ),
    Metric(
        "tcptrace_ephemeral_ports",
        Type.GAUGE,
        ("netns",),
        "How many ports net.ipv4.ip_local_port_range has for connect(), to one destination.",
        "/proc/sys/net/ipv4/ip_local_port_range",
    ),
    # Connections.
    Metric(
        "tcptrace_connects_total",
        Type.COUNTER,
        ("netns", "outcome"),
        "connect() calls of this host by outcome: established, refused, timeout, reset, "
        "unreachable, failed, gave_up, aborted.",
        "lives of clients, when established or failed",
    ),
    Metric(
        "tcptrace_handshake_seconds",
        Type.HISTOGRAM,
        ("role",),
        "From the first SYN, sent or received, to ESTABLISHED.",
        "lives that began under the trace",
        _WAITS,
    ),
    Metric(
        "tcptrace_syn_queue_wait_seconds",
        Type.HISTOGRAM,
        (),
        "How long request sockets lay in a SYN queue until their final ACK was taken.",
        "tcp_conn_request to tcp_v4/v6_syn_recv_sock",
        _WAITS,
    ),
    Metric(
        "tcptrace_accept_wait_seconds",
        Type.HISTOGRAM,
        (),
        "How long connections lay in an accept queue until accept() took them.",
        "tcp_v4/v6_syn_recv_sock to inet_csk_accept",
        _WAITS,
    ),
    Metric(
        "tcptrace_syn_retransmits_total",
        Type.COUNTER,
        ("netns", "family"),
        "SYNs that clients of this host sent again.",
        "tcp:tcp_retransmit_skb",
    ),
    Metric(
        "tcptrace_synack_retransmits_total",
        Type.COUNTER,
        ("netns", "family"),
        "SYN-ACKs that listeners of this host sent again.",
        "tcp:tcp_retransmit_synack",
    ),
    Metric(
        "tcptrace_resets_total",
        Type.COUNTER,
        ("netns", "direction", "state"),
        "RSTs sent and received, by the state of the socket that they belong to.",
        "tcp:tcp_send_reset, tcp:tcp_receive_reset",
    ),
    # Listeners. The sockets of one reuseport group share their labels and are added up.
    Metric(
        "tcptrace_listener_accept_queue_length",
        Type.GAUGE,
        _LISTENER,
        "Connections that wait for accept().",
        "sk_ack_backlog",
    ),
    Metric(
        "tcptrace_listener_accept_queue_limit",
        Type.GAUGE,
        _LISTENER,
        "The accept queue is full when its length exceeds this: min(listen backlog, somaxconn).",
        "sk_max_ack_backlog",
    ),
    Metric(
        "tcptrace_listener_accept_queue_peak",
        Type.GAUGE,
        _LISTENER,
        "The greatest length of the accept queue in the last 60 s, kept in the kernel.",
        "sk_ack_backlog at every event",
    ),
    Metric(
        "tcptrace_listener_accept_queue_fullest_ratio",
        Type.GAUGE,
        _LISTENER,
        "Peak over capacity (limit + 1) of the fullest socket of the listener in the last 60 s; "
        "1 is full.",
        "as tcptrace_listener_accept_queue_peak",
    ),
    Metric(
        "tcptrace_listener_syn_queue_length",
        Type.GAUGE,
        _LISTENER,
        "Request sockets (NEW_SYN_RECV) that wait for their final ACK.",
        "icsk_accept_queue.qlen",
    ),
    Metric(
        "tcptrace_listener_syn_queue_young",
        Type.GAUGE,
        _LISTENER,
        "Request sockets whose SYN-ACK was not yet sent again.",
        "icsk_accept_queue.young",
    ),
    Metric(
        "tcptrace_listener_syn_queue_limit",
        Type.GAUGE,
        _LISTENER,
        "The most request sockets before SYNs are answered with cookies or dropped, as this kernel "
        "computes it: from the accept limit, and without cookies from tcp_max_syn_backlog too.",
        "sk_max_ack_backlog, net.ipv4.tcp_max_syn_backlog, net.ipv4.tcp_syncookies",
    ),
    Metric(
        "tcptrace_listener_syn_queue_peak",
        Type.GAUGE,
        _LISTENER,
        "The greatest length of the SYN queue in the last 60 s, kept in the kernel.",
        "icsk_accept_queue.qlen at every event",
    ),
    Metric(
        "tcptrace_listener_drops_total",
        Type.COUNTER,
        (*_LISTENER, "stage"),
        "Connections refused or lost by a listener, by stage; counted in the kernel, exact even "
        "when events are lost.",
        "the ledger: see the stages below",
    ),
    Metric(
        "tcptrace_syn_cookies_total",
        Type.COUNTER,
        (*_LISTENER, "result"),
        "SYN cookies sent, and final ACKs with a valid or an invalid one, as the kernel counts "
        "them: an ACK that a full accept queue drops comes again, and is counted again.",
        "the ledger: tcp_make_synack, __cookie_v4_check, __cookie_v6_check",
    ),
    Metric(
        "tcptrace_listener_syns_total",
        Type.COUNTER,
        _LISTENER,
        "SYNs that made a request socket.",
        "the ledger: tcp_conn_request",
    ),
    Metric(
        "tcptrace_listener_accepts_total",
        Type.COUNTER,
        _LISTENER,
        "Connections that accept() took.",
        "lives: inet_csk_accept, security_sock_graft",
    ),
    Metric(
        "tcptrace_listener_accept_wait_seconds_total",
        Type.COUNTER,
        _LISTENER,
        "The sum of the waits in the accept queue of the connections that accept() took.",
        "as tcptrace_accept_wait_seconds",
    ),
    Metric(
        "tcptrace_listener_sockets",
        Type.GAUGE,
        _LISTENER,
        "Listening sockets at this address: more than one in a reuseport group.",
        "inet_csk_listen_start, the snapshot",
    ),
    Metric(
        "tcptrace_listener_info",
        Type.GAUGE,
        (*_LISTENER, *LISTENER_INFO),
        "1; who listens, for joining with the others: the comm of the process that called listen() "
        "or was found holding the socket, the last part of its cgroup's path, and what that path "
        "and --cri-socket tell. Empty where it isn't known.",
        "listen(), or /proc at the start; sk_cgrp_data, /sys/fs/cgroup; /run/netns; CRI",
    ),
    # How well it is known.
    Metric(
        "tcptrace_reconciliation_difference",
        Type.GAUGE,
        ("netns", "counter"),
        "The ledger's figure minus the kernel's own TcpExt counter since the start: must be 0.",
        "/proc/net/netstat of the namespace",
    ),
    Metric(
        "tcptrace_kernel_difference",
        Type.GAUGE,
        ("netns", "figure", "direction", "cause"),
        "Where a figure of tcptrace's, of whatever origin, differs from the kernel's own: by how "
        "much, to which side (above, below) and the likely cause; absent where none differs.",
        "/proc/net/netstat and snmp of the namespace; see the figures below",
    ),
    Metric(
        "tcptrace_kernel_figures_compared",
        Type.GAUGE,
        ("netns",),
        "How many figures are compared with the kernel's.",
        "as tcptrace_kernel_difference",
    ),
    Metric(
        "tcptrace_events_total",
        Type.COUNTER,
        ("kind",),
        "Records that came through the ring.",
        "the ring",
    ),
    Metric(
        "tcptrace_events_lost_total",
        Type.COUNTER,
        (),
        "Records that found the ring full. The ledger does not depend on them.",
        "counted in the kernel",
    ),
    Metric(
        "tcptrace_hook_events_lost_total",
        Type.COUNTER,
        ("hook",),
        "The same by the hook whose records they were; a replay knows them at its end only.",
        "counted in the kernel",
    ),
    Metric(
        "tcptrace_hook_misses_total",
        Type.COUNTER,
        ("hook",),
        "Runs of a probe that the kernel skipped, where it counts them.",
        "recursion_misses of the BPF program",
    ),
    Metric(
        "tcptrace_partial_lives_total",
        Type.COUNTER,
        ("reason",),
        "Connections whose life is not whole: began_before, gap, end_lost, folded.",
        "the tracker",
    ),
    Metric(
        "tcptrace_unexpected_records_total",
        Type.COUNTER,
        (),
        "Records that tell of a transition which TCP does not have, or of nothing known.",
        "the tracker",
    ),
    Metric(
        "tcptrace_tracked_objects",
        Type.GAUGE,
        ("object",),
        "What the collector holds in memory: connections, listeners.",
        "the tracker",
    ),
    Metric(
        "tcptrace_connections_limit",
        Type.GAUGE,
        (),
        "How many connections are kept at most: --max-connections.",
        "the command line",
    ),
    Metric(
        "tcptrace_connections_folded_total",
        Type.COUNTER,
        (),
        "How often a connection was folded, since more were open than are kept: it counts on in "
        "tcptrace_sockets, its role as unknown; its age and waits are not told any more.",
        "the tracker",
    ),
    Metric(
        "tcptrace_listeners_folded",
        Type.GAUGE,
        (),
        'Listeners beyond --max-listeners: their figures are under address="other".',
        "the ledger",
    ),
    Metric(
        "tcptrace_snapshots_total",
        Type.COUNTER,
        (),
        "sock_diag snapshots taken: one at the start, one a minute, one soon after a loss.",
        "the tracker",
    ),
    Metric(
        "tcptrace_state_counts_suspect",
        Type.GAUGE,
        (),
        "1 while tcptrace_sockets may be wrong somewhere: from the loss of a record, or a skipped "
        "run of a probe, until snapshots that lose none have covered every network namespace of "
        "then, or it is gone.",
        "the tracker",
    ),
    Metric(
        "tcptrace_namespace_counts_suspect",
        Type.GAUGE,
        ("netns",),
        "1 for a network namespace in which tcptrace_sockets may be wrong since a loss; absent "
        "otherwise. It stays where no snapshot can be taken: in one that was made after tracing "
        "had begun.",
        "the tracker",
    ),
    Metric(
        "tcptrace_heals_total",
        Type.COUNTER,
        (),
        "Snapshots that made state counts right again after a loss, in one namespace at least.",
        "the tracker",
    ),
    Metric(
        "tcptrace_last_loss_timestamp_seconds",
        Type.GAUGE,
        (),
        "When records were lost last, or runs of probes skipped; absent before that.",
        "the tracker",
    ),
    Metric(
        "tcptrace_last_heal_timestamp_seconds",
        Type.GAUGE,
        (),
        "When a snapshot made state counts right again last; absent before that.",
        "the tracker",
    ),
    Metric(
        "tcptrace_corrected_lives_total",
        Type.COUNTER,
        ("what",),
        "Connections that a snapshot found in another state than the one known (state), or that "
        "no record had told of (birth), those of the first snapshot aside.",
        "the tracker",
    ),
    Metric(
        "tcptrace_healed_lives_total",
        Type.COUNTER,
        (),
        "Connections whose end had been lost: a snapshot did not find them, or their network "
        "namespace is gone.",
        "the tracker",
    ),
    Metric(
        "tcptrace_build_info",
        Type.GAUGE,
        ("version", "kernel", "carrier"),
        "1; what traces what, carried by what.",
        "the trace's head",
    ),
    Metric(
        "tcptrace_program_runs_total",
        Type.COUNTER,
        ("hook", "carrier"),
        "Runs of a BPF program; absent unless kernel.bpf_stats_enabled is 1.",
        "run_cnt of the BPF program",
    ),
    Metric(
        "tcptrace_program_run_seconds_total",
        Type.COUNTER,
        ("hook", "carrier"),
        "Time spent in a BPF program; absent unless kernel.bpf_stats_enabled is 1.",
        "run_time_ns of the BPF program",
    ),
    # With --otlp alone.
    Metric(
        "tcptrace_otlp_sent_total",
        Type.COUNTER,
        ("signal",),
        "What the OTLP endpoint took: connections (traces), states of all metrics (metrics).",
        "the child that sends",
    ),
    Metric(
        "tcptrace_otlp_lost_total",
        Type.COUNTER,
        ("signal", "reason"),
        "What it never will: too_many were worth sending in a second; unsent, since the endpoint "
        "was down or too slow; refused by it.",
        "the child that sends, and the queue before it",
    ),
    Metric(
        "tcptrace_otlp_rejected_total",
        Type.COUNTER,
        ("signal",),
        "Spans (traces) and data points (metrics) that it rejected of what it otherwise took.",
        "partial_success of its answers",
    ),
    Metric(
        "tcptrace_otlp_failing",
        Type.GAUGE,
        ("signal",),
        "1 while the OTLP endpoint does not take what is sent, else 0.",
        "the child that sends",
    ),
)

STAGES: Final = {
    "syn_accept_queue_full": "SYN dropped: accept queue full",
    "syn_syn_queue_full": "SYN dropped: SYN queue full, and no cookies",
    "syn_last_quarter": "SYN dropped without cookies: the last quarter of tcp_max_syn_backlog",
    "ack_accept_queue_full": "final ACK dropped: accept queue full",
    "abort_on_overflow": "final ACK answered with a RST: accept queue full, tcp_abort_on_overflow",
    "request_expired": "request socket expired: the final ACK never came, or was never taken",
    "listener_closed": "reset or dropped because its listener was closed",
    "other": "any other refusal that the kernel counts in ListenDrops",
}
"""The values of the label `stage`, and what each means."""

COOKIE_RESULTS: Final = ("sent", "valid", "invalid")
FAMILIES: Final = ("ipv4", "ipv6")

BY_NAME: Final = {metric.name: metric for metric in METRICS}
