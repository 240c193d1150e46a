"""Recording rules: what the alerts ask for again and again, by listener, namespace and host.

Names are level:metric:operations. The level says which labels are left, besides job, instance and
whatever else the scrape adds: `listener` is netns, address and port; `netns` is netns; `instance`
is none of ours. `job` is the sum over the hosts of one Prometheus, so instance is gone too; what
is asked of many of those is in fleet_rules. The aggregations say `without`, so that the labels of
the scrape survive.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

ACCEPT_QUEUE_STAGES: Final = ("syn_accept_queue_full", "ack_accept_queue_full", "abort_on_overflow")
"""A full accept queue made the kernel refuse a connection."""
SYN_QUEUE_STAGES: Final = ("syn_syn_queue_full", "syn_last_quarter")
"""A full SYN queue did, there being no cookies."""

EXPIRED: Final = "request_expired"
"""Nobody was refused: the client never answered, as some never do."""

_LISTENER: Final = ("netns", "address", "port")
_DROPS: Final = "tcptrace_listener_drops_total"
_WHOSE: Final = "on (job, instance, netns, address, port)"


class Recording(NamedTuple):
    """One recording rule."""

    record: str
    labels: tuple[str, ...]
    """The labels of ours that are left."""
    expr: str
    is_of_one_host: bool = True
    """Whether it has the label instance."""


def _drops_at(stages: tuple[str, ...]) -> str:
    return f'sum without (stage) (rate({_DROPS}{{stage=~"{"|".join(stages)}"}}[5m]))'


def _refusals() -> str:
    """With the name of who listens, where it is known; nothing where nobody is refused."""
    refused = f'(rate({_DROPS}{{stage!="{EXPIRED}"}}[5m]) > 0)'
    return (
        f"{refused} * {_WHOSE} group_left (comm) tcptrace_listener_info\n"
        f"or (\n  {refused}\n  unless {_WHOSE} tcptrace_listener_info\n)"
    )


def _cookies(result: str) -> str:
    return f'sum without (result) (rate(tcptrace_syn_cookies_total{{result="{result}"}}[5m]))'


BY_LISTENER: Final = (
    Recording(
        "listener_stage:tcptrace_listener_refusals:rate5m",
        (*_LISTENER, "comm", "stage"),
        _refusals(),
    ),
    Recording(
        "listener:tcptrace_accept_queue_drops:rate5m", _LISTENER, _drops_at(ACCEPT_QUEUE_STAGES)
    ),
    Recording("listener:tcptrace_syn_queue_drops:rate5m", _LISTENER, _drops_at(SYN_QUEUE_STAGES)),
    Recording("listener:tcptrace_requests_expired:rate5m", _LISTENER, _drops_at((EXPIRED,))),
    Recording(
        "listener:tcptrace_listener_syns:rate5m",
        _LISTENER,
        "rate(tcptrace_listener_syns_total[5m])",
    ),
    Recording(
        "listener:tcptrace_listener_accepts:rate5m",
        _LISTENER,
        "rate(tcptrace_listener_accepts_total[5m])",
    ),
    Recording(
        "listener:tcptrace_accept_wait_seconds:mean5m",
        _LISTENER,
        "rate(tcptrace_listener_accept_wait_seconds_total[5m])\n"
        "/ (rate(tcptrace_listener_accepts_total[5m]) > 0)",
    ),
    Recording("listener:tcptrace_syn_cookies_sent:rate5m", _LISTENER, _cookies("sent")),
    Recording("listener:tcptrace_syn_cookies_valid:rate5m", _LISTENER, _cookies("valid")),
)

BY_NETNS: Final = (
    Recording(
        "netns:tcptrace_connects:rate5m",
        ("netns",),
        "sum without (outcome) (rate(tcptrace_connects_total[5m]))",
    ),
    Recording(
        "netns:tcptrace_syn_retransmits:rate5m",
        ("netns",),
        "sum without (family) (rate(tcptrace_syn_retransmits_total[5m]))",
    ),
    Recording(
        "netns:tcptrace_close_wait_older_than_300s:sum",
        ("netns",),
        'sum without (state) (tcptrace_socket_age_seconds_gcount{state="close_wait"})\n'
        "- sum without (state, le) (\n"
        '    tcptrace_socket_age_seconds_bucket{state="close_wait",le=~"300(\\\\.0)?"}\n'
        ")",
    ),
    Recording(
        "netns:tcptrace_accept_queue_length:sum",
        ("netns",),
        "sum without (address, port) (tcptrace_listener_accept_queue_length)",
    ),
    Recording(
        "netns:tcptrace_client_time_wait_per_port:ratio",
        ("netns",),
        'sum without (role) (tcptrace_time_wait_sockets{role="client"}) / tcptrace_ephemeral_ports',
    ),
)

BY_INSTANCE: Final = (
    Recording(
        "instance_stage:tcptrace_listener_drops:rate5m",
        ("stage",),
        f"sum without (netns, address, port) (rate({_DROPS}[5m]))",
    ),
    Recording(
        "instance:tcptrace_listener_drops:rate5m",
        (),
        "sum without (stage) (instance_stage:tcptrace_listener_drops:rate5m)",
    ),
    Recording(
        "instance:tcptrace_listener_refusals:rate5m",
        (),
        "sum without (stage) "
        f'(instance_stage:tcptrace_listener_drops:rate5m{{stage!="{EXPIRED}"}})',
    ),
    Recording(
        "instance:tcptrace_listeners:count",
        (),
        "count without (netns, address, port) (tcptrace_listener_sockets)",
    ),
    Recording(
        "instance:tcptrace_listener_accepts:rate5m",
        (),
        "sum without (netns, address, port) (listener:tcptrace_listener_accepts:rate5m)",
    ),
    Recording(
        "instance:tcptrace_accept_queue_fullest:max",
        (),
        "max without (netns, address, port) (tcptrace_listener_accept_queue_fullest_ratio)",
    ),
    Recording(
        "instance_state:tcptrace_sockets:sum",
        ("state",),
        "sum without (netns, family) (tcptrace_sockets)",
    ),
    Recording(
        "instance_role:tcptrace_handshake_seconds:p99_5m",
        ("role",),
        "histogram_quantile(0.99, rate(tcptrace_handshake_seconds_bucket[5m]))",
    ),
    Recording(
        "instance:tcptrace_connects:rate5m",
        (),
        "sum without (netns) (netns:tcptrace_connects:rate5m)",
    ),
    Recording(
        "instance:tcptrace_syn_retransmits:rate5m",
        (),
        "sum without (netns) (netns:tcptrace_syn_retransmits:rate5m)",
    ),
    Recording(
        "instance:tcptrace_syn_cookies_unanswered:rate5m",
        (),
        "clamp_min(\n"
        "  sum without (netns, address, port) (listener:tcptrace_syn_cookies_sent:rate5m)\n"
        "  - sum without (netns, address, port) (listener:tcptrace_syn_cookies_valid:rate5m),\n"
        "  0\n"
        ")",
    ),
    Recording(
        "instance:tcptrace_close_wait_older_than_300s:sum",
        (),
        "sum without (netns) (netns:tcptrace_close_wait_older_than_300s:sum)",
    ),
    Recording(
        "instance:tcptrace_client_time_wait_per_port:max",
        (),
        "max without (netns) (netns:tcptrace_client_time_wait_per_port:ratio)",
    ),
    Recording(
        "instance:tcptrace_events_lost:rate5m",
        (),
        "rate(tcptrace_events_lost_total[5m])",
    ),
    Recording(
        "instance:tcptrace_reconciliation_differing:count",
        (),
        "sum without (netns, counter) (tcptrace_reconciliation_difference != bool 0)",
    ),
)

BY_JOB: Final = (
    Recording(
        "job_stage:tcptrace_listener_refusals:rate5m",
        ("comm", "port", "stage"),
        "sum without (instance, netns, address) (listener_stage:tcptrace_listener_refusals:rate5m)",
        is_of_one_host=False,
    ),
    Recording(
        "job_role:tcptrace_handshake_seconds_bucket:rate5m",
        ("role",),
        "sum without (instance) (rate(tcptrace_handshake_seconds_bucket[5m]))",
        is_of_one_host=False,
    ),
    Recording(
        "job:tcptrace_accept_wait_seconds_bucket:rate5m",
        (),
        "sum without (instance) (rate(tcptrace_accept_wait_seconds_bucket[5m]))",
        is_of_one_host=False,
    ),
)

RECORDINGS: Final = (*BY_LISTENER, *BY_NETNS, *BY_INSTANCE, *BY_JOB)


def document() -> dict[str, Any]:
    """The rule file, as Prometheus reads it. Later groups read what earlier ones record."""
    return document_of(
        {"listener": BY_LISTENER, "netns": BY_NETNS, "instance": BY_INSTANCE, "job": BY_JOB}
    )


def document_of(groups: Mapping[str, Iterable[Recording]]) -> dict[str, Any]:
    """A rule file of groups by level."""
    return {
        "groups": [
            {
                "name": f"tcptrace-recording-{level}",
                "rules": [{"record": rule.record, "expr": rule.expr} for rule in rules],
            }
            for level, rules in groups.items()
        ]
    }
