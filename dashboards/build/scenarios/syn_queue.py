"""Scenarios of the SYN queue: floods, and what resembles one."""

from __future__ import annotations

from typing import Final

from dashboards.build import alerts
from dashboards.build.scenarios.healthy import HTTPS, growing, steady
from dashboards.build.scenarios.scenario import (
    IN_NETNS,
    WEB,
    Firing,
    Scenario,
    cookies,
    drops,
    https,
    synack_retransmits,
)

_FLOOD: Final = Firing(
    alerts.SYN_FLOOD,
    HTTPS,
    f"{WEB} is under a SYN flood.",
    f"Most of the SYNs to {WEB} ({IN_NETNS}) are never followed by a final ACK, and they fill "
    "its SYN queue. With SYN cookies real clients still connect; without, they don't.",
)
_SYN_QUEUE_FULL: Final = Firing(
    alerts.SYN_QUEUE_FULL,
    HTTPS,
    f"The SYN queue of {WEB} is too small for its clients.",
    f"Clients of {WEB} ({IN_NETNS}) do answer, but their SYNs find the SYN queue full: they "
    "get cookies, which lose TCP options without timestamps, or are dropped.",
)

SCENARIOS: Final = (
    Scenario(
        "syn-flood",
        "a flood of 1000 SYNs/s is answered with cookies; real clients answer theirs",
        "30m",
        {
            **cookies(growing(66000), growing(6000)),
            **https(
                syn_queue_length=steady(512),
                syn_queue_young=steady(20),
                syn_queue_peak=steady(512),
                syns_total=growing(500),
            ),
            **drops(request_expired=growing(490)),
            **synack_retransmits(2400),
        },
        (_FLOOD,),
    ),
    Scenario(
        "syn-flood-without-cookies",
        "the same with tcp_syncookies=0: SYNs are dropped, real ones among them",
        "30m",
        {
            **https(
                syn_queue_length=steady(512),
                syn_queue_young=steady(20),
                syn_queue_peak=steady(512),
                syns_total=growing(500),
                accepts_total=growing(10),
                accept_wait_seconds_total=growing(0.01),
            ),
            **drops(
                syn_syn_queue_full=growing(50000),
                syn_last_quarter=growing(9000),
                request_expired=growing(490),
            ),
            **synack_retransmits(2400),
        },
        (_FLOOD,),
    ),
    Scenario(
        "syn-queue-full",
        "many real clients far away: cookies, nearly all of them answered",
        "30m",
        {
            **cookies(growing(3000), growing(2950)),
            **https(syn_queue_length=steady(500), syn_queue_peak=steady(512)),
        },
        (_SYN_QUEUE_FULL,),
    ),
    Scenario(
        "syn-queue-full-without-cookies",
        "the same with tcp_syncookies=0: the last quarter of tcp_max_syn_backlog drops SYNs",
        "30m",
        {
            **drops(syn_last_quarter=growing(300)),
            **https(syn_queue_length=steady(500), syn_queue_peak=steady(512)),
        },
        (_SYN_QUEUE_FULL,),
    ),
    Scenario(
        "syn-cookies-always",
        "tcp_syncookies=2 answers every SYN with a cookie: nothing is wrong",
        "30m",
        {
            **cookies(growing(6000), growing(5990)),
            **https(syn_queue_length=steady(0), syn_queue_peak=steady(0), syns_total=steady(0)),
            **drops(request_expired=steady(0)),
        },
    ),
    Scenario(
        "requests-expiring",
        "every tenth client never gets the SYN-ACK",
        "45m",
        {
            **drops(request_expired=growing(600)),
            **https(syn_queue_length=steady(400), syn_queue_peak=steady(420)),
            **synack_retransmits(3000),
        },
        (
            Firing(
                alerts.REQUESTS_EXPIRING,
                HTTPS,
                f"Handshakes with {WEB} stay half-open.",
                f"10.00 request sockets/s of {WEB} ({IN_NETNS}) expire, more than 5 % of those "
                "that its SYNs make, and neither a flood nor a full accept queue explains it: "
                "SYN-ACKs, or the final ACKs, get lost.",
            ),
        ),
    ),
)
