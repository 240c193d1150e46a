"""Scenarios of CLOSE_WAIT, TIME_WAIT, and clients that send SYNs again."""

from __future__ import annotations

from typing import Final

from dashboards.build import alerts
from dashboards.build.scenarios.healthy import NETNS, growing, series, steady
from dashboards.build.scenarios.scenario import IN_NETNS, Firing, Scenario, close_wait

SCENARIOS: Final = (
    Scenario(
        "close-wait-leak",
        "ten sockets a minute are never closed",
        "60m",
        close_wait(growing(10, start=60), steady(60)),
        (
            Firing(
                alerts.CLOSE_WAIT_LEAK,
                NETNS,
                f"CLOSE_WAIT sockets pile up in {IN_NETNS} of web-1:9436.",
                f"600 sockets of {IN_NETNS} of web-1:9436 have been in CLOSE_WAIT for more than "
                "5 minutes, and they get more: a process does not close connections that its peers "
                "have closed.",
            ),
        ),
        (
            (
                "netns:tcptrace_close_wait_older_than_300s:sum",
                series("netns:tcptrace_close_wait_older_than_300s:sum", NETNS),
                600,
            ),
        ),
    ),
    Scenario(
        "close-wait-pool",
        "a pool keeps 200 dead connections, always as many: no leak",
        "100m",
        close_wait(steady(260), steady(60)),
    ),
    Scenario(
        "time-wait-near-port-exhaustion",
        "a client opens a new connection for each request",
        "30m",
        {
            series("tcptrace_time_wait_sockets", {**NETNS, "role": "client"}): steady(25408.8),
            series("tcptrace_sockets", {**NETNS, "family": "ipv4", "state": "time_wait"}): steady(
                25909
            ),
            series("tcptrace_connects_total", {**NETNS, "outcome": "established"}): growing(25409),
        },
        (
            Firing(
                alerts.TIME_WAIT_NEAR_PORT_EXHAUSTION,
                NETNS,
                f"connect() runs out of ports in {IN_NETNS} of web-1:9436.",
                f"The clients' TIME_WAIT sockets in {IN_NETNS} of web-1:9436 are 90% of the ports "
                "that ip_local_port_range gives. If they go to one destination, connect() to it "
                "soon fails with EADDRNOTAVAIL.",
            ),
        ),
    ),
    Scenario(
        "time-wait-of-a-server",
        "a server that closes first has many TIME_WAIT sockets, and they hold no port of their own",
        "30m",
        {
            series("tcptrace_time_wait_sockets", {**NETNS, "role": "server"}): steady(200000),
            series("tcptrace_sockets", {**NETNS, "family": "ipv4", "state": "time_wait"}): steady(
                201000
            ),
        },
    ),
    Scenario(
        "syn-retransmits",
        "one connect in five sends its SYN again",
        "30m",
        {series("tcptrace_syn_retransmits_total", {**NETNS, "family": "ipv4"}): growing(120)},
        (
            Firing(
                alerts.SYN_RETRANSMITS,
                NETNS,
                f"Clients send SYNs again in {IN_NETNS} of web-1:9436.",
                f"2.00 SYNs/s are sent again in {IN_NETNS} of web-1:9436, more than one per 20 "
                "connects: SYNs or SYN-ACKs get lost, or a server drops them. Each makes its "
                "connect() 1 s slower, the second 3 s, the third 7 s.",
            ),
        ),
    ),
)
