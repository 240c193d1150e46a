"""Scenarios of CLOSE_WAIT, TIME_WAIT, and of what gets lost, is refused, or is reset."""

from __future__ import annotations

from typing import Final

from dashboards.build import alerts
from dashboards.build.scenarios.healthy import NETNS, growing, series, steady
from dashboards.build.scenarios.scenario import (
    IN_NETNS,
    Firing,
    Scenario,
    close_wait,
    synack_retransmits,
)


def _resets(direction: str, state: str, per_minute: float) -> dict[str, str]:
    labels = {**NETNS, "direction": direction, "state": state}
    return {series("tcptrace_resets_total", labels): growing(per_minute)}


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
    Scenario(
        "syn-acks-lost",
        "one SYN-ACK in ten gets lost on its way to the clients",
        "30m",
        synack_retransmits(600),
        (
            Firing(
                alerts.SYN_ACK_RETRANSMITS,
                NETNS,
                f"Listeners send SYN-ACKs again in {IN_NETNS} of web-1:9436.",
                f"10.00 SYN-ACKs/s are sent again in {IN_NETNS} of web-1:9436, more than one per "
                "20 SYNs, and no full queue explains it: SYN-ACKs, or the final ACKs, get lost on "
                "the way. Each makes its client 1 s slower, the second 3 s.",
            ),
        ),
    ),
    Scenario(
        "connects-refused",
        "the cache is down: every second connect of the web server is refused",
        "30m",
        {series("tcptrace_connects_total", {**NETNS, "outcome": "refused"}): growing(600)},
        (
            Firing(
                alerts.CONNECTS_REFUSED,
                NETNS,
                f"Remotes refuse clients in {IN_NETNS} of web-1:9436.",
                f"10.00 connects/s are answered with a RST in {IN_NETNS} of web-1:9436, more than "
                "one in five: nobody listens there, or a firewall rejects them.",
            ),
        ),
    ),
    Scenario(
        "resets",
        "the web server resets every third of its clients once it has answered",
        "30m",
        _resets("sent", "close", 2000),
        (
            Firing(
                alerts.RESETS,
                NETNS,
                f"Connections are reset in {IN_NETNS} of web-1:9436.",
                f"33.33 connections/s that were established end with a RST in {IN_NETNS} of "
                "web-1:9436, more than one in five: what was still on the way is lost.",
            ),
        ),
    ),
    Scenario(
        "resets-of-a-scanner",
        "a scanner resets every connection before it is one, and refused connects get RSTs too",
        "30m",
        {**_resets("received", "new_syn_recv", 3000), **_resets("received", "syn_sent", 100)},
    ),
)
