"""A busy host with nothing wrong: the series that every scenario begins with.

One sample a minute, as promtool writes series: `a+bxn` is a, a + b, a + 2b … A web server takes
100 connections/s at port 443 and calls a database; a few request sockets expire, a few SYNs are
sent again, some sockets are in CLOSE_WAIT, for no long time. That is life, and no alert's business.
"""

from __future__ import annotations

from typing import Final

from tcptrace.sinks.metrics.catalogue import STAGES

MINUTES: Final = 120
JOB: Final = {"job": "tcptrace", "instance": "web-1:9436"}
NETNS: Final = {**JOB, "netns": "4026531840"}
HTTPS: Final = {**NETNS, "address": "0.0.0.0", "port": "443"}  # noqa: S104 (a label)
SSH: Final = {**NETNS, "address": "::", "port": "22"}


def series(name: str, labels: dict[str, str]) -> str:
    """A series as promtool and Prometheus write it."""
    matchers = ",".join(f'{label}="{value}"' for label, value in labels.items())
    return f"{name}{{{matchers}}}"


def steady(value: float) -> str:
    """A gauge that stays, or a counter at rest."""
    return f"{value:g}x{MINUTES}"


def growing(per_minute: float, start: float = 0) -> str:
    """A counter, or a gauge that grows."""
    return f"{start:g}+{per_minute:g}x{MINUTES}"


def listener(labels: dict[str, str], per_minute: float) -> dict[str, str]:
    """A listener that takes so many connections, and has nothing wrong."""
    gauges = {
        "accept_queue_length": 2,
        "accept_queue_limit": 511,
        "accept_queue_peak": 40,
        "accept_queue_fullest_ratio": 0.078125,
        "syn_queue_length": 3,
        "syn_queue_young": 3,
        "syn_queue_limit": 511,
        "syn_queue_peak": 30,
        "sockets": 1,
    }
    counters = {
        "syns_total": per_minute,
        "accepts_total": per_minute,
        "accept_wait_seconds_total": per_minute * 0.001,
    }
    return {
        **{series(f"tcptrace_listener_{n}", labels): steady(v) for n, v in gauges.items()},
        **{series(f"tcptrace_listener_{n}", labels): growing(v) for n, v in counters.items()},
        **{
            series("tcptrace_listener_drops_total", {**labels, "stage": stage}): growing(
                per_minute / 200 if stage == "request_expired" else 0
            )
            for stage in STAGES
        },
        **{
            series("tcptrace_syn_cookies_total", {**labels, "result": result}): steady(0)
            for result in ("sent", "valid", "invalid")
        },
    }


def _sockets() -> dict[str, str]:
    states = {"established": 200, "new_syn_recv": 3, "close_wait": 60, "time_wait": 1500}
    ages = {"60.0": 57, "300.0": 60, "3600.0": 60, "+Inf": 60}
    age = "tcptrace_socket_age_seconds"
    close_wait = {**NETNS, "state": "close_wait"}
    return {
        **{
            series("tcptrace_sockets", {**NETNS, "family": "ipv4", "state": state}): steady(count)
            for state, count in states.items()
        },
        **{series(f"{age}_bucket", {**close_wait, "le": le}): steady(n) for le, n in ages.items()},
        series(f"{age}_gcount", close_wait): steady(60),
        series("tcptrace_oldest_socket_age_seconds", close_wait): steady(75),
        series("tcptrace_time_wait_sockets", {**NETNS, "role": "client"}): steady(1000),
        series("tcptrace_time_wait_sockets", {**NETNS, "role": "server"}): steady(500),
        series("tcptrace_ephemeral_ports", NETNS): steady(28232),
    }


def _connections() -> dict[str, str]:
    connects = "tcptrace_connects_total"
    return {
        series(connects, {**NETNS, "outcome": "established"}): growing(600),
        series(connects, {**NETNS, "outcome": "refused"}): growing(2),
        series("tcptrace_syn_retransmits_total", {**NETNS, "family": "ipv4"}): growing(12),
        series("tcptrace_synack_retransmits_total", {**NETNS, "family": "ipv4"}): growing(5),
        series("tcptrace_handshake_seconds_bucket", {**JOB, "role": "client", "le": "0.001"}): (
            growing(600)
        ),
        series("tcptrace_handshake_seconds_bucket", {**JOB, "role": "client", "le": "+Inf"}): (
            growing(600)
        ),
    }


def _health() -> dict[str, str]:
    return {
        series("up", JOB): steady(1),
        series("tcptrace_events_lost_total", JOB): steady(0),
        **{
            series("tcptrace_reconciliation_difference", {**NETNS, "counter": counter}): steady(0)
            for counter in ("ListenOverflows", "ListenDrops", "SyncookiesSent")
        },
    }


HEALTHY: Final = {
    **_health(),
    **listener(HTTPS, 6000),
    **listener(SSH, 6),
    **_sockets(),
    **_connections(),
}
"""Values by series."""
