"""The listener in detail: SYN queue and accept queue, what was refused where, accept()."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from dashboards.build import boards
from dashboards.build.panels import HEIGHT, About, Column, Levels, grid, lines, number
from dashboards.build.queries import (
    HOST,
    LISTENER,
    NETNS,
    WHERE,
    Target,
    quantiles,
    rate,
    ratio,
    sum_rate,
)

if TYPE_CHECKING:
    from grafana_foundation_sdk.cog.builder import Builder
    from grafana_foundation_sdk.models import dashboard as models

_NAME: Final = "{{instance}} {{address}}:{{port}}"
_DROPS: Final = "tcptrace_listener_drops_total"
_ACCEPTS: Final = "tcptrace_listener_accepts_total"
_WAITED: Final = "tcptrace_listener_accept_wait_seconds_total"
_COOKIES: Final = "tcptrace_syn_cookies_total"
_FILLED: Final = Levels(look=0.5, bad=0.8)


def _gauge(name: str, legend: str = "") -> Target:
    expr = f"sum by ({WHERE}) (tcptrace_listener_{name}{{{LISTENER}}})"
    return Target(expr, f"{_NAME} {legend}".strip())


def _who() -> list[Builder[models.Panel]]:
    return [
        grid(
            About(
                "Who listens",
                "The command that called listen() or was found holding the socket, and the last "
                "part of its cgroup. More than one socket: a reuseport group, whose SYN and "
                "accept queues are added up here. Not the owner you expect: a stale process holds "
                "the port.",
                units.Short,
            ),
            (
                Column(
                    "sockets",
                    Target(
                        f"max by ({WHERE}, comm, cgroup, pod_name) "
                        f"(tcptrace_listener_info{{{LISTENER}}}) "
                        f"* on ({WHERE}) group_left () "
                        f"max by ({WHERE}) (tcptrace_listener_sockets{{{LISTENER}}})",
                        instant=True,
                        form=PromQueryFormat.TABLE,
                    ),
                    units.Short,
                ),
            ),
            ("instance", "netns", "address", "port", "comm", "cgroup", "pod_name"),
        ),
        number(
            About(
                "Refused now",
                "Connections that were refused or lost, over all stages. See Drops by stage for "
                "why.",
                units.RequestsPerSecond,
                4,
            ),
            Target(f"sum({rate(_DROPS, LISTENER)})"),
            Levels(look=0.1, bad=1),
            HEIGHT,
        ),
        number(
            About(
                "Accepted now",
                "Connections that accept() took. 0 while clients come: the accept loop is stuck.",
                units.RequestsPerSecond,
                4,
            ),
            Target(f"sum({rate(_ACCEPTS, LISTENER)})"),
            height=HEIGHT,
        ),
        number(
            About(
                "Mean accept wait",
                "Between the final ACK and accept(). Above 0.5 s the process does not keep up, "
                "and a higher limit would not help.",
                units.Seconds,
                4,
            ),
            Target(ratio(f"sum({rate(_WAITED, LISTENER)})", f"sum({rate(_ACCEPTS, LISTENER)})")),
            Levels(look=0.1, bad=0.5),
            HEIGHT,
        ),
    ]


def _accept_queue() -> list[Builder[models.Panel]]:
    return [
        lines(
            About(
                "Accept queue: length, peak, limit",
                "Connections that wait for accept(); the peak is that of the last 60 s, kept in "
                "the kernel, so bursts between two scrapes show. It is full when its length "
                "exceeds the limit, min(listen backlog, somaxconn). Raise both for bursts; a "
                "restart of the service is needed.",
                units.Short,
            ),
            _gauge("accept_queue_length", "length"),
            _gauge("accept_queue_peak", "peak"),
            _gauge("accept_queue_limit", "limit"),
        ),
        lines(
            About(
                "Accept queue: filled",
                "Peak over capacity of the fullest socket in the last 60 s. In a reuseport group "
                "one socket can be full while the others are empty: one worker hangs.",
                units.PercentUnit,
            ),
            Target(
                f"max by ({WHERE}) (tcptrace_listener_accept_queue_fullest_ratio{{{LISTENER}}})",
                _NAME,
            ),
            levels=_FILLED,
            ends=(0, 1),
        ),
        lines(
            About(
                "Mean accept wait",
                "Between the final ACK and accept(), of the connections that were accepted. Long, "
                "with a full accept queue: the process is too slow (CPU, a lock, too few workers). "
                "Short, with drops: the limit is too small.",
                units.Seconds,
            ),
            Target(
                ratio(sum_rate(_WAITED, LISTENER, WHERE), sum_rate(_ACCEPTS, LISTENER, WHERE)),
                _NAME,
            ),
            levels=Levels(look=0.1, bad=0.5),
        ),
        lines(
            About(
                "Accepts and SYNs",
                "Connections that accept() took, and SYNs that made a request socket (SYNs "
                "answered with a cookie make none). SYNs far above accepts: half-open handshakes, "
                "or refused ones.",
                units.RequestsPerSecond,
            ),
            Target(sum_rate(_ACCEPTS, LISTENER, WHERE), f"{_NAME} accepts"),
            Target(sum_rate("tcptrace_listener_syns_total", LISTENER, WHERE), f"{_NAME} SYNs"),
        ),
    ]


def _syn_queue() -> list[Builder[models.Panel]]:
    return [
        lines(
            About(
                "SYN queue: length, young, peak, limit",
                "Request sockets that wait for their final ACK; young ones had their SYN-ACK sent "
                "only once. Long and mostly young: many clients, or far away. Long and mostly old: "
                "a flood, or SYN-ACKs that get lost. At the limit SYNs get cookies or are dropped.",
                units.Short,
            ),
            _gauge("syn_queue_length", "length"),
            _gauge("syn_queue_young", "young"),
            _gauge("syn_queue_peak", "peak"),
            _gauge("syn_queue_limit", "limit"),
        ),
        lines(
            About(
                "SYN cookies by result",
                "sent: SYNs answered without a request socket. valid near sent: real clients, the "
                "SYN queue is too small. valid far below sent: a flood. invalid: stray ACKs.",
                units.RequestsPerSecond,
            ),
            Target(
                sum_rate(_COOKIES, LISTENER, f"{WHERE}, result"),
                f"{_NAME} {{{{result}}}}",
            ),
        ),
    ]


def _refused() -> list[Builder[models.Panel]]:
    expired = sum_rate(_DROPS, f'{LISTENER},stage="request_expired"', WHERE)
    return [
        lines(
            About(
                "Drops by stage",
                "syn_accept_queue_full, ack_accept_queue_full, abort_on_overflow: the accept "
                "queue was full. syn_syn_queue_full, syn_last_quarter: the SYN queue was, without "
                "cookies. request_expired: the final ACK never came, or was never taken. "
                "listener_closed: the service stopped with connections waiting. other: memory, "
                "routes, a filter.",
                units.RequestsPerSecond,
            ),
            Target(sum_rate(_DROPS, LISTENER, "stage"), "{{stage}}"),
            stacked=True,
        ),
        lines(
            About(
                "Request sockets that expire",
                "Of those that SYNs make. Above 5 % without a full accept queue or a flood: "
                "SYN-ACKs get lost; look at return routes, firewalls, conntrack.",
                units.PercentUnit,
            ),
            Target(
                ratio(expired, sum_rate("tcptrace_listener_syns_total", LISTENER, WHERE)), _NAME
            ),
            levels=Levels(look=0.01, bad=0.05),
        ),
    ]


def _host_wide() -> list[Builder[models.Panel]]:
    return [
        lines(
            About(
                "Handshake, of all listeners on the host",
                "From the first SYN received to ESTABLISHED. About a round trip; near 1 s or 3 s: "
                "a SYN-ACK or a final ACK was lost or refused, and sent again.",
                units.Seconds,
                8,
            ),
            *quantiles("tcptrace_handshake_seconds", f'{HOST},role="server"'),
            levels=Levels(bad=1),
        ),
        lines(
            About(
                "Wait in SYN queues, of all listeners on the host",
                "Until the final ACK was taken: the clients' round trip, or longer where packets "
                "are sent again or the accept queue is full.",
                units.Seconds,
                8,
            ),
            *quantiles("tcptrace_syn_queue_wait_seconds", HOST),
            levels=Levels(bad=1),
        ),
        lines(
            About(
                "Wait in accept queues, of all listeners on the host",
                "Until accept(). Should be far below 1 ms; a p99 that rises is the first sign of "
                "an accept loop that gets slow.",
                units.Seconds,
                8,
            ),
            *quantiles("tcptrace_accept_wait_seconds", HOST),
            levels=Levels(look=0.1, bad=0.5),
        ),
        lines(
            About(
                "SYN-ACKs sent again, by all listeners of the namespace",
                "Each means that the final ACK did not come in 1 s, 3 s, 7 s …: lost on the way, "
                "refused by a full accept queue, or never sent (a flood).",
                units.PacketsPerSecond,
            ),
            Target(
                sum_rate("tcptrace_synack_retransmits_total", NETNS, "instance, family"),
                "{{instance}} {{family}}",
            ),
        ),
        lines(
            About(
                "RSTs of the namespace, by direction and state",
                "Sent in listen: to cookies that are not valid, or by tcp_abort_on_overflow. "
                "Received in new_syn_recv: clients or scanners that give up half-open.",
                units.PacketsPerSecond,
            ),
            Target(
                sum_rate("tcptrace_resets_total", NETNS, "direction, state"),
                "{{direction}} {{state}}",
            ),
        ),
    ]


def build() -> models.Dashboard:
    """The dashboard."""
    return boards.dashboard(
        boards.LISTENER,
        "One listener or several: SYN queue and accept queue, drops by stage, accepts and how "
        "long they waited.",
        boards.listener_variables(),
        {
            "Listener": _who(),
            "Accept queue": _accept_queue(),
            "SYN queue": _syn_queue(),
            "Refused connections": _refused(),
            "Around it": _host_wide(),
        },
    )
