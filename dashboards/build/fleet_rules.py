"""Recording rules over all hosts, from what `recording` keeps of each: few series, few to read.

One Prometheus can evaluate both files. Where hosts are shared out among several, each evaluates
`recording`, and the one that gathers from them evaluates this file: nothing here asks for a metric
of tcptrace's own, but for `up`. Each of the several has an external label `shard`, which is dropped
here. The level `fleet` says that instance is, too. See docs/fleet.md.
"""

from __future__ import annotations

from typing import Any, Final

from dashboards.build.recording import Recording, document_of

_ALL: Final = "without (instance, shard)"
_UP: Final = 'up{job="tcptrace"}'


def _over_hosts(record: str, expr: str, labels: tuple[str, ...] = ()) -> Recording:
    return Recording(record, labels, expr, is_of_one_host=False)


def _sum(level: str, name: str, labels: tuple[str, ...] = (), operation: str = "") -> Recording:
    """A sum over all hosts of what is recorded of each: level, name, operation."""
    _, _, suffix = level.partition("_")
    kept = f"fleet_{suffix}" if suffix else "fleet"
    source = f"{level}:{name}"
    record = f"{kept}:{name}" if not operation else f"{kept}:{name.partition(':')[0]}:{operation}"
    return _over_hosts(record, f"sum {_ALL} ({source})", labels)


def _hosts(what: str, source: str) -> Recording:
    """How many hosts have more than none of something."""
    return _over_hosts(f"fleet:tcptrace_hosts_{what}:count", f"sum {_ALL} ({source} > bool 0)")


def _quantile(level: str, name: str, labels: tuple[str, ...], percent: int) -> Recording:
    buckets = f"sum without (shard) (job{level}:{name}_bucket:rate5m)"
    return _over_hosts(
        f"fleet{level}:{name}:p{percent}_5m",
        f"histogram_quantile({percent / 100:g}, {buckets})",
        labels,
    )


FLEET: Final = (
    _over_hosts("fleet:tcptrace_hosts:count", f"count {_ALL} ({_UP})"),
    _over_hosts("fleet:tcptrace_hosts_up:sum", f"sum {_ALL} ({_UP})"),
    _hosts("refusing", "instance:tcptrace_listener_refusals:rate5m"),
    _hosts("losing_events", "instance:tcptrace_events_lost:rate5m"),
    _hosts("differing", "instance:tcptrace_reconciliation_differing:count"),
    _sum("instance", "tcptrace_listeners:count", operation="sum"),
    _sum("instance_stage", "tcptrace_listener_drops:rate5m", ("stage",)),
    _sum("instance", "tcptrace_listener_refusals:rate5m"),
    _sum("instance", "tcptrace_listener_accepts:rate5m"),
    _over_hosts(
        "fleet:tcptrace_accept_queue_fullest:max",
        f"max {_ALL} (instance:tcptrace_accept_queue_fullest:max)",
    ),
    _sum("instance_state", "tcptrace_sockets:sum", ("state",)),
    _sum("instance", "tcptrace_connects:rate5m"),
    _sum("instance", "tcptrace_syn_retransmits:rate5m"),
    _sum("instance", "tcptrace_syn_cookies_unanswered:rate5m"),
    _sum("instance", "tcptrace_close_wait_older_than_300s:sum"),
    _quantile("_role", "tcptrace_handshake_seconds", ("role",), 50),
    _quantile("_role", "tcptrace_handshake_seconds", ("role",), 99),
    _quantile("", "tcptrace_accept_wait_seconds", (), 99),
    _over_hosts(
        "fleet_stage:tcptrace_service_refusals:rate5m",
        "sum without (shard) (job_stage:tcptrace_listener_refusals:rate5m)",
        ("comm", "port", "stage"),
    ),
)


def document() -> dict[str, Any]:
    """The rule file, as Prometheus reads it."""
    return document_of({"fleet": FLEET})
