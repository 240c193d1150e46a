"""Scenarios of the tracer itself, of a healthy host, and of a short trouble."""

from __future__ import annotations

from typing import Final

from dashboards.build import alerts
from dashboards.build.scenarios.healthy import (
    HEALTHY,
    JOB,
    NETNS,
    SSH,
    growing,
    listener,
    series,
    steady,
)
from dashboards.build.scenarios.scenario import (
    IN_NETNS,
    LISTENER,
    Firing,
    Scenario,
    close_wait,
    cookies,
    https,
)

_LOST: Final = (
    "Drops, cookies, SYNs and the lengths of SYN and accept queues are not affected; they are "
    "counted in the kernel."
)
_OTHER: Final = {**NETNS, "address": "192.0.2.1", "port": "8080"}
_BRIEFLY: Final = {
    **https(
        accept_queue_fullest_ratio="0.1x28 1x1 0.1x90", accept_wait_seconds_total=growing(6000)
    ),
    **cookies("0x28 6000x90", steady(0)),
    series(f"{LISTENER}accept_queue_fullest_ratio", SSH): "0.1x28 0.9x1 0.1x90",
    **{
        series("tcptrace_syn_cookies_total", {**SSH, "result": result}): "0x28 60x90"
        for result in ("sent", "valid")
    },
    series(f"{LISTENER}syn_queue_peak", SSH): "30x28 512x1 30x90",
    **listener(_OTHER, 600),
    series(f"{LISTENER}drops_total", {**_OTHER, "stage": "request_expired"}): "0x28 900x90",
    **close_wait("60x28 160x90", steady(60)),
    series("tcptrace_time_wait_sockets", {**NETNS, "role": "client"}): "1000x28 26000x1 1000x90",
    series("tcptrace_syn_retransmits_total", {**NETNS, "family": "ipv4"}): "0x28 600x90",
    series("tcptrace_events_lost_total", JOB): "0x28 500x90",
    series("up", JOB): "1x28 0x1 1x90",
}
DOWN: Final = Firing(
    alerts.DOWN,
    JOB,
    "tcptrace on web-1:9436 does not answer.",
    "Prometheus cannot scrape job tcptrace, instance web-1:9436. No other alert of tcptrace can "
    "fire for it meanwhile.",
)
SCENARIOS: Final = (
    Scenario("healthy", "nothing is wrong", "100m", {}),
    Scenario(
        "a-bad-minute", "everything goes wrong, and at 30m it is too early to say", "30m", _BRIEFLY
    ),
    Scenario(
        "events-lost",
        "the ring is full now and then",
        "30m",
        {series("tcptrace_events_lost_total", JOB): growing(30)},
        (
            Firing(
                alerts.EVENTS_LOST,
                JOB,
                "tcptrace on web-1:9436 loses records.",
                "0.50 records/s find the ring full on web-1:9436: sockets by state, durations, "
                f"connects and accepts are incomplete. {_LOST}",
            ),
        ),
    ),
    Scenario(
        "ledger-disagrees",
        "a probe missed seven drops",
        "60m",
        {
            series(
                "tcptrace_reconciliation_difference", {**NETNS, "counter": "ListenDrops"}
            ): "0x20 -7x100"
        },
        (
            Firing(
                alerts.LEDGER_DISAGREES,
                {**NETNS, "counter": "ListenDrops"},
                "tcptrace on web-1:9436 and the kernel disagree about ListenDrops.",
                f"The ledger of web-1:9436 differs from the kernel's ListenDrops in {IN_NETNS} by "
                "-7 since the start. Below 0: a probe missed something. Above 0: something was "
                "counted twice.",
            ),
        ),
    ),
    Scenario(
        "ledger-read-in-between",
        "both are read while packets arrive: a difference that does not stay",
        "60m",
        {
            series(
                "tcptrace_reconciliation_difference", {**NETNS, "counter": "ListenDrops"}
            ): f"{'0 2 0 -1 1 0 0 3 ' * 12}0x30"
        },
    ),
    Scenario(
        "down",
        "tcptrace has died; its last series go stale",
        "60m",
        {
            **{name: f"{values.partition('x')[0]}x20 stale" for name, values in HEALTHY.items()},
            series("up", JOB): "1x20 0x100",
        },
        (DOWN,),
    ),
    Scenario(
        "gone",
        "Prometheus no longer knows of any tcptrace",
        "60m",
        {series("up", {"job": "node", "instance": "web-1:9100"}): steady(1)},
        (
            Firing(
                alerts.DOWN,
                {"job": "tcptrace"},
                "tcptrace does not answer.",
                "Prometheus cannot scrape job tcptrace. No other alert of tcptrace can fire for it "
                "meanwhile.",
            ),
        ),
        background={},
    ),
)
