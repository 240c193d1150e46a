"""Scenarios of the accept queue: bursts, and accept loops that are slow or stuck."""

from __future__ import annotations

from typing import Final

from dashboards.build import alerts
from dashboards.build.scenarios.healthy import HTTPS, JOB, growing, series, steady
from dashboards.build.scenarios.scenario import (
    IN_NETNS,
    WEB,
    Firing,
    Scenario,
    close_wait,
    drops,
    https,
    synack_retransmits,
)

OVERFLOW: Final = {
    **https(
        accept_queue_peak=steady(512),
        accept_queue_fullest_ratio=steady(1),
        accept_wait_seconds_total=growing(120),
    ),
}


def overflow(rate: str) -> Firing:
    """The alert of an overflow in bursts."""
    return Firing(
        alerts.ACCEPT_QUEUE_OVERFLOW,
        HTTPS,
        f"The accept queue of {WEB} overflows in bursts.",
        f"{WEB} ({IN_NETNS}) refuses {rate} connections/s, its accept queue being full, though "
        "accept() soon takes what is in it: the limit is too small for the bursts. Each refused "
        "client waits 1 s or longer, or is reset.",
    )


_SLOW_LOOP: Final = {
    **https(
        accept_queue_length=steady(512),
        accept_queue_peak=steady(512),
        accept_queue_fullest_ratio=steady(1),
        accepts_total=growing(60),
        accept_wait_seconds_total=growing(60 * 512),
        syns_total=growing(400),
        syn_queue_length=steady(300),
        syn_queue_peak=steady(310),
    ),
    **drops(
        syn_accept_queue_full=growing(6000),
        ack_accept_queue_full=growing(900),
        request_expired=growing(340),
    ),
    **synack_retransmits(1500),
    # Those who gave up while they waited.
    **close_wait(growing(3, start=60), steady(20)),
}
_SLOW: Final = Firing(
    alerts.ACCEPT_LOOP_SLOW,
    HTTPS,
    f"The process behind {WEB} does not keep up with accept().",
    f"The accept queue of {WEB} ({IN_NETNS}) is full, and connections wait in it for more than "
    "0.5 s on average, or accept() takes none at all. A higher limit would only make them wait "
    "longer.",
)

SCENARIOS: Final = (
    Scenario(
        "accept-queue-overflow",
        "bursts overflow the accept queue; accept() takes them within 20 ms",
        "30m",
        {
            **OVERFLOW,
            **drops(syn_accept_queue_full=growing(120), ack_accept_queue_full=growing(60)),
        },
        (overflow("3.00"),),
        (
            (
                "listener:tcptrace_accept_wait_seconds:mean5m > 0.01",
                series("listener:tcptrace_accept_wait_seconds:mean5m", HTTPS),
                0.02,
            ),
            (
                "instance:tcptrace_accept_queue_fullest:max",
                series("instance:tcptrace_accept_queue_fullest:max", JOB),
                1,
            ),
            # Who listens is not known.
            (
                'job_stage:tcptrace_listener_refusals:rate5m{stage="syn_accept_queue_full"}',
                series(
                    "job_stage:tcptrace_listener_refusals:rate5m",
                    {"job": "tcptrace", "port": "443", "stage": "syn_accept_queue_full"},
                ),
                2,
            ),
        ),
    ),
    Scenario(
        "accept-queue-overflow-abort",
        "the same with tcp_abort_on_overflow: a RST instead of silence",
        "30m",
        {**OVERFLOW, **drops(abort_on_overflow=growing(60))},
        (overflow("1.00"),),
    ),
    Scenario(
        "accept-queue-one-burst",
        "a single burst in an hour is no alert",
        "33m",
        {**OVERFLOW, **drops(syn_accept_queue_full="0x30 300x90")},
    ),
    Scenario(
        "accept-loop-slow",
        "accept() takes one a second; clients give up while they wait, and send again",
        "45m",
        _SLOW_LOOP,
        (_SLOW,),
    ),
    Scenario(
        "accept-loop-slow-without-cookies",
        "the same with tcp_syncookies=0: request sockets whose final ACK is never taken fill the "
        "SYN queue too",
        "45m",
        {**_SLOW_LOOP, **drops(syn_syn_queue_full=growing(300), syn_last_quarter=growing(600))},
        (_SLOW,),
    ),
    Scenario(
        "accept-loop-stuck",
        "accept() is not called any more, and clients no longer try",
        "45m",
        https(
            accept_queue_length=steady(512),
            accept_queue_peak=steady(512),
            accept_queue_fullest_ratio=steady(1),
            accepts_total=steady(70000),
            accept_wait_seconds_total=steady(70),
            syns_total=steady(70512),
        )
        | drops(request_expired=steady(350)),
        (_SLOW,),
    ),
    Scenario(
        "accept-queue-near-limit",
        "the accept queue is filled to nine tenths, and nothing is refused",
        "30m",
        https(accept_queue_peak=steady(461), accept_queue_fullest_ratio=steady(0.9)),
        (
            Firing(
                alerts.ACCEPT_QUEUE_NEAR_LIMIT,
                HTTPS,
                f"The accept queue of {WEB} is nearly full.",
                f"The accept queue of {WEB} ({IN_NETNS}) has been filled to 90% in the last "
                "minute. Nothing is refused yet.",
            ),
        ),
    ),
    Scenario(
        "accept-queue-tiny",
        "listen(1) with two that wait is full by design",
        "30m",
        https(
            accept_queue_limit=steady(1),
            accept_queue_peak=steady(2),
            accept_queue_fullest_ratio=steady(1),
        ),
    ),
)
