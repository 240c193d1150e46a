"""Scenarios for the alerts: a healthy host with one fault, and which alerts fire for it.

Each scenario asks every alert, not only its own. The texts are what a person gets to read, written
out here so that the templates are tested too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from dashboards.build import alerts
from dashboards.build.healthy import HEALTHY, HTTPS, JOB, NETNS, growing, series, steady

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dashboards.build.alerts import Alert

_HTTPS: Final = "0.0.0.0 port 443 on web-1:9436"
_IN_NETNS: Final = "network namespace 4026531840"
_LISTENER: Final = "tcptrace_listener_"


class Firing(NamedTuple):
    """An alert that fires, and what it says."""

    alert: Alert
    labels: dict[str, str]
    """But for severity."""
    summary: str
    description: str


class Scenario(NamedTuple):
    """One test file."""

    name: str
    story: str
    at: str
    """When the alerts are asked."""
    fault: dict[str, str]
    """Values by series: what differs from HEALTHY."""
    fires: tuple[Firing, ...] = ()
    records: tuple[tuple[str, str, float], ...] = ()
    """Recorded names that are asked for, the series that comes back, and its value."""
    background: dict[str, str] = HEALTHY

    def series(self) -> Iterable[tuple[str, str]]:
        """All series with their values."""
        return {**self.background, **self.fault}.items()


def _https(**values: str) -> dict[str, str]:
    return {series(_LISTENER + name, HTTPS): value for name, value in values.items()}


def _drops(**values: str) -> dict[str, str]:
    return {
        series(_LISTENER + "drops_total", {**HTTPS, "stage": stage}): value
        for stage, value in values.items()
    }


def _cookies(sent: str, valid: str) -> dict[str, str]:
    name = "tcptrace_syn_cookies_total"
    return {
        series(name, {**HTTPS, "result": "sent"}): sent,
        series(name, {**HTTPS, "result": "valid"}): valid,
    }


def _close_wait(total: str, within_5_minutes: str) -> dict[str, str]:
    labels = {**NETNS, "state": "close_wait"}
    age = "tcptrace_socket_age_seconds"
    return {
        series("tcptrace_sockets", {**NETNS, "family": "ipv4", "state": "close_wait"}): total,
        series(f"{age}_bucket", {**labels, "le": "300.0"}): within_5_minutes,
        series(f"{age}_bucket", {**labels, "le": "3600.0"}): total,
        series(f"{age}_bucket", {**labels, "le": "+Inf"}): total,
        series(f"{age}_gcount", labels): total,
    }


def _synack_retransmits(per_minute: float) -> dict[str, str]:
    name = "tcptrace_synack_retransmits_total"
    return {series(name, {**NETNS, "family": "ipv4"}): growing(per_minute)}


_OVERFLOW: Final = {
    **_https(
        accept_queue_peak=steady(512),
        accept_queue_fullest_ratio=steady(1),
        accept_wait_seconds_total=growing(120),
    ),
}


def _overflow(rate: str) -> Firing:
    return Firing(
        alerts.ACCEPT_QUEUE_OVERFLOW,
        HTTPS,
        f"The accept queue of {_HTTPS} overflows in bursts.",
        f"{_HTTPS} ({_IN_NETNS}) refuses {rate} connections/s, its accept queue being full, though "
        "accept() soon takes what is in it: the limit is too small for the bursts. Each refused "
        "client waits 1 s or longer, or is reset.",
    )


_SLOW: Final = Firing(
    alerts.ACCEPT_LOOP_SLOW,
    HTTPS,
    f"The process behind {_HTTPS} does not keep up with accept().",
    f"The accept queue of {_HTTPS} ({_IN_NETNS}) is full, and connections wait in it for more than "
    "0.5 s on average, or accept() takes none at all. A higher limit would only make them wait "
    "longer.",
)
_FLOOD: Final = Firing(
    alerts.SYN_FLOOD,
    HTTPS,
    f"{_HTTPS} is under a SYN flood.",
    f"Most of the SYNs to {_HTTPS} ({_IN_NETNS}) are never followed by a final ACK, and they fill "
    "its SYN queue. With SYN cookies real clients still connect; without, they don't.",
)
_SYN_QUEUE_FULL: Final = Firing(
    alerts.SYN_QUEUE_FULL,
    HTTPS,
    f"The SYN queue of {_HTTPS} is too small for its clients.",
    f"Clients of {_HTTPS} ({_IN_NETNS}) do answer, but their SYNs find the SYN queue full: they "
    "get cookies, which lose TCP options without timestamps, or are dropped.",
)

_ACCEPT_QUEUE: Final = (
    Scenario(
        "accept-queue-overflow",
        "bursts overflow the accept queue; accept() takes them within 20 ms",
        "30m",
        {
            **_OVERFLOW,
            **_drops(syn_accept_queue_full=growing(120), ack_accept_queue_full=growing(60)),
        },
        (_overflow("3.00"),),
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
        ),
    ),
    Scenario(
        "accept-queue-overflow-abort",
        "the same with tcp_abort_on_overflow: a RST instead of silence",
        "30m",
        {**_OVERFLOW, **_drops(abort_on_overflow=growing(60))},
        (_overflow("1.00"),),
    ),
    Scenario(
        "accept-queue-one-burst",
        "a single burst in an hour is no alert",
        "33m",
        {**_OVERFLOW, **_drops(syn_accept_queue_full="0x30 300x90")},
    ),
    Scenario(
        "accept-loop-slow",
        "accept() takes one a second; clients give up while they wait, and send again",
        "45m",
        {
            **_https(
                accept_queue_length=steady(512),
                accept_queue_peak=steady(512),
                accept_queue_fullest_ratio=steady(1),
                accepts_total=growing(60),
                accept_wait_seconds_total=growing(60 * 512),
                syns_total=growing(400),
                syn_queue_length=steady(300),
                syn_queue_peak=steady(310),
            ),
            **_drops(
                syn_accept_queue_full=growing(6000),
                ack_accept_queue_full=growing(900),
                request_expired=growing(340),
            ),
            **_synack_retransmits(1500),
            # Those who gave up while they waited.
            **_close_wait(growing(3, start=60), steady(20)),
        },
        (_SLOW,),
    ),
    Scenario(
        "accept-loop-stuck",
        "accept() is not called any more, and clients no longer try",
        "45m",
        _https(
            accept_queue_length=steady(512),
            accept_queue_peak=steady(512),
            accept_queue_fullest_ratio=steady(1),
            accepts_total=steady(70000),
            accept_wait_seconds_total=steady(70),
            syns_total=steady(70512),
        ),
        (_SLOW,),
    ),
    Scenario(
        "accept-queue-near-limit",
        "the accept queue is filled to nine tenths, and nothing is refused",
        "30m",
        _https(accept_queue_peak=steady(461), accept_queue_fullest_ratio=steady(0.9)),
        (
            Firing(
                alerts.ACCEPT_QUEUE_NEAR_LIMIT,
                HTTPS,
                f"The accept queue of {_HTTPS} is nearly full.",
                f"The accept queue of {_HTTPS} ({_IN_NETNS}) has been filled to 90% in the last "
                "minute. Nothing is refused yet.",
            ),
        ),
    ),
    Scenario(
        "accept-queue-tiny",
        "listen(1) with two that wait is full by design",
        "30m",
        _https(
            accept_queue_limit=steady(1),
            accept_queue_peak=steady(2),
            accept_queue_fullest_ratio=steady(1),
        ),
    ),
)

_SYN_QUEUE: Final = (
    Scenario(
        "syn-flood",
        "a flood of 1000 SYNs/s is answered with cookies; real clients answer theirs",
        "30m",
        {
            **_cookies(growing(66000), growing(6000)),
            **_https(
                syn_queue_length=steady(512),
                syn_queue_young=steady(20),
                syn_queue_peak=steady(512),
                syns_total=growing(500),
            ),
            **_drops(request_expired=growing(490)),
            **_synack_retransmits(2400),
        },
        (_FLOOD,),
    ),
    Scenario(
        "syn-flood-without-cookies",
        "the same with tcp_syncookies=0: SYNs are dropped, real ones among them",
        "30m",
        {
            **_https(
                syn_queue_length=steady(512),
                syn_queue_young=steady(20),
                syn_queue_peak=steady(512),
                syns_total=growing(500),
                accepts_total=growing(10),
                accept_wait_seconds_total=growing(0.01),
            ),
            **_drops(
                syn_syn_queue_full=growing(50000),
                syn_last_quarter=growing(9000),
                request_expired=growing(490),
            ),
            **_synack_retransmits(2400),
        },
        (_FLOOD,),
    ),
    Scenario(
        "syn-queue-full",
        "many real clients far away: cookies, nearly all of them answered",
        "30m",
        {
            **_cookies(growing(3000), growing(2950)),
            **_https(syn_queue_length=steady(500), syn_queue_peak=steady(512)),
        },
        (_SYN_QUEUE_FULL,),
    ),
    Scenario(
        "syn-queue-full-without-cookies",
        "the same with tcp_syncookies=0: the last quarter of tcp_max_syn_backlog drops SYNs",
        "30m",
        {
            **_drops(syn_last_quarter=growing(300)),
            **_https(syn_queue_length=steady(500), syn_queue_peak=steady(512)),
        },
        (_SYN_QUEUE_FULL,),
    ),
    Scenario(
        "syn-cookies-always",
        "tcp_syncookies=2 answers every SYN with a cookie: nothing is wrong",
        "30m",
        {
            **_cookies(growing(6000), growing(5990)),
            **_https(syn_queue_length=steady(0), syn_queue_peak=steady(0), syns_total=steady(0)),
            **_drops(request_expired=steady(0)),
        },
    ),
    Scenario(
        "requests-expiring",
        "every tenth client never gets the SYN-ACK",
        "45m",
        {
            **_drops(request_expired=growing(600)),
            **_https(syn_queue_length=steady(400), syn_queue_peak=steady(420)),
            **_synack_retransmits(3000),
        },
        (
            Firing(
                alerts.REQUESTS_EXPIRING,
                HTTPS,
                f"Handshakes with {_HTTPS} stay half-open.",
                f"10.00 request sockets/s of {_HTTPS} ({_IN_NETNS}) expire, more than 5 % of those "
                "that its SYNs make, and neither a flood nor a full accept queue explains it: "
                "SYN-ACKs, or the final ACKs, get lost.",
            ),
        ),
    ),
)

_SOCKETS: Final = (
    Scenario(
        "close-wait-leak",
        "ten sockets a minute are never closed",
        "60m",
        _close_wait(growing(10, start=60), steady(60)),
        (
            Firing(
                alerts.CLOSE_WAIT_LEAK,
                NETNS,
                f"CLOSE_WAIT sockets pile up in {_IN_NETNS} of web-1:9436.",
                f"600 sockets of {_IN_NETNS} of web-1:9436 have been in CLOSE_WAIT for more than "
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
        _close_wait(steady(260), steady(60)),
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
                f"connect() runs out of ports in {_IN_NETNS} of web-1:9436.",
                f"The clients' TIME_WAIT sockets in {_IN_NETNS} of web-1:9436 are 90% of the ports "
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
                f"Clients send SYNs again in {_IN_NETNS} of web-1:9436.",
                f"2.00 SYNs/s are sent again in {_IN_NETNS} of web-1:9436, more than one per 20 "
                "connects: SYNs or SYN-ACKs get lost, or a server drops them. Each makes its "
                "connect() 1 s slower, the second 3 s, the third 7 s.",
            ),
        ),
    ),
)

_LOST: Final = (
    "Drops, cookies, accepts and the lengths of SYN and accept queues are not affected; they are "
    "counted in the kernel."
)
_HEALTH: Final = (
    Scenario("healthy", "nothing is wrong", "100m", {}),
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
                "0.50 records/s find the ring full on web-1:9436: sockets by state, durations and "
                f"connects are incomplete. {_LOST}",
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
                f"The ledger of web-1:9436 differs from the kernel's ListenDrops in {_IN_NETNS} by "
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
        (
            Firing(
                alerts.DOWN,
                JOB,
                "tcptrace on web-1:9436 does not answer.",
                "Prometheus cannot scrape job tcptrace, instance web-1:9436. No other alert of "
                "tcptrace can fire for it meanwhile.",
            ),
        ),
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

SCENARIOS: Final = (*_ACCEPT_QUEUE, *_SYN_QUEUE, *_SOCKETS, *_HEALTH)
