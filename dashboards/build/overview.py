"""The overview of hosts: which hosts and listeners need a look."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from dashboards.build import boards, health
from dashboards.build.panels import About, Column, Levels, bars, grid, lines, number
from dashboards.build.queries import HOST, NETNS, WHERE, Target, rate, ratio, sum_rate
from dashboards.build.recording import SYN_QUEUE_STAGES

if TYPE_CHECKING:
    from grafana_foundation_sdk.cog.builder import Builder
    from grafana_foundation_sdk.models import dashboard as models

_DROPS: Final = "tcptrace_listener_drops_total"
_FULLEST: Final = "tcptrace_listener_accept_queue_fullest_ratio"
_COOKIES: Final = "tcptrace_syn_cookies_total"
_AGE: Final = Levels(look=300, bad=3600)
_FILLED: Final = Levels(look=0.5, bad=0.8)
_TO_HOST: Final = boards.to_host(boards.LIFECYCLE)


def _now() -> list[Builder[models.Panel]]:
    return [
        number(
            About(
                "Hosts traced",
                "Hosts whose tcptrace answers Prometheus. Fewer than you run it on: see Tracer "
                "health below.",
                units.Short,
                4,
            ),
            Target(f"sum(up{{{HOST}}})"),
        ),
        number(
            About(
                "Listeners",
                "Addresses and ports that listen, over all hosts. A sudden fall: a service is "
                "gone.",
                units.Short,
                4,
            ),
            Target(f"count(tcptrace_listener_sockets{{{NETNS}}})"),
        ),
        number(
            About(
                "Refused or lost",
                "Connections that listeners refused or lost, over all stages. Anything but a few "
                "expired request sockets deserves a look at Drops by stage.",
                units.RequestsPerSecond,
                4,
            ),
            Target(f"sum({rate(_DROPS, NETNS)})"),
            Levels(look=0.1, bad=1),
        ),
        number(
            About(
                "Fullest accept queue",
                "Peak over capacity of the fullest accept queue anywhere, in the last 60 s. At "
                "100 % connections are refused: find the listener below.",
                units.PercentUnit,
                4,
            ),
            Target(f"max({_FULLEST}{{{NETNS}}})"),
            _FILLED,
        ),
        number(
            About(
                "Unanswered cookies",
                "SYN cookies sent, less those that came back valid. Many, and few valid: a SYN "
                "flood. Many, and most valid: a SYN queue that is too small.",
                units.RequestsPerSecond,
                4,
            ),
            Target(_unanswered()),
            Levels(look=1, bad=10),
        ),
        number(
            About(
                "SYNs sent again",
                "SYNs that clients on these hosts sent again, for each connect(). Each costs 1 s "
                "or more. Above 5 %: look at the path, and at the servers' accept queues.",
                units.PercentUnit,
                4,
            ),
            Target(
                ratio(
                    f"sum({rate('tcptrace_syn_retransmits_total', NETNS)})",
                    f"sum({rate('tcptrace_connects_total', NETNS)})",
                )
            ),
            Levels(look=0.01, bad=0.05),
        ),
    ]


def _unanswered() -> str:
    sent = rate(_COOKIES, f'{NETNS},result="sent"')
    valid = rate(_COOKIES, f'{NETNS},result="valid"')
    return f"clamp_min(sum({sent}) - sum({valid}), 0)"


def _drops() -> list[Builder[models.Panel]]:
    return [
        lines(
            About(
                "Drops by stage",
                "Where connections are lost. syn_accept_queue_full, ack_accept_queue_full, "
                "abort_on_overflow: accept() is too slow or the limit too small. "
                "syn_syn_queue_full, syn_last_quarter: SYNs, without cookies. request_expired: the "
                "final ACK never came, or was never taken. listener_closed: a restart.",
                units.RequestsPerSecond,
            ),
            Target(sum_rate(_DROPS, NETNS, "stage"), "{{stage}}"),
            stacked=True,
        ),
        lines(
            About(
                "Drops by host",
                "All stages. One host: its service. All hosts at once: the clients, a load "
                "balancer, an attack.",
                units.RequestsPerSecond,
            ),
            Target(sum_rate(_DROPS, NETNS, "instance"), "{{instance}}"),
            links=(_TO_HOST,),
        ),
        bars(
            About(
                "Fullest accept queues",
                "Peak over capacity (limit + 1) in the last 60 s, of the fullest socket of each "
                "listener. From 80 % on the next burst is refused: click for the listener.",
                units.PercentUnit,
            ),
            Target(
                f"topk(10, {_FULLEST}{{{NETNS}}})",
                "{{instance}} {{address}}:{{port}}",
                instant=True,
            ),
            levels=_FILLED,
            most=1,
            links=(boards.to_listener(),),
        ),
        grid(
            About(
                "Listeners by drops",
                "Over the last 5 minutes, those that refused most on top. A long mean wait with "
                "drops: a slow accept loop. A short one: the limit is too small for bursts. Click "
                "for the listener.",
                units.Short,
            ),
            (
                Column(
                    "drops",
                    Target(
                        f"sum by ({WHERE}) (rate({_DROPS}{{{NETNS}}}[5m]))",
                        instant=True,
                        form=PromQueryFormat.TABLE,
                    ),
                    units.RequestsPerSecond,
                    Levels(look=0.1, bad=1),
                ),
                Column(
                    "filled",
                    Target(
                        f"max by ({WHERE}) ({_FULLEST}{{{NETNS}}})",
                        instant=True,
                        form=PromQueryFormat.TABLE,
                    ),
                    units.PercentUnit,
                    _FILLED,
                ),
                Column(
                    "mean wait",
                    Target(
                        ratio(
                            f"sum by ({WHERE}) "
                            f"(rate(tcptrace_listener_accept_wait_seconds_total{{{NETNS}}}[5m]))",
                            f"sum by ({WHERE}) "
                            f"(rate(tcptrace_listener_accepts_total{{{NETNS}}}[5m]))",
                        ),
                        instant=True,
                        form=PromQueryFormat.TABLE,
                    ),
                    units.Seconds,
                    Levels(look=0.1, bad=0.5),
                ),
            ),
            ("instance", "netns", "address", "port"),
            links=(boards.to_listener(table=True),),
        ),
    ]


def _floods() -> list[Builder[models.Panel]]:
    return [
        lines(
            About(
                "SYN cookies by result",
                "Cookies are sent when a SYN queue is full (or always, with tcp_syncookies=2). "
                "valid near sent: real clients. valid far below sent: a flood. invalid: ACKs out "
                "of the blue, or cookies older than 2 minutes.",
                units.RequestsPerSecond,
                8,
            ),
            Target(sum_rate(_COOKIES, NETNS, "result"), "{{result}}"),
        ),
        lines(
            About(
                "SYN queues: filled",
                "Peak over limit of the ten fullest SYN queues. At 100 % SYNs get cookies, or are "
                "dropped where there are none. Long with few drops: clients far away, or SYN-ACKs "
                "that get lost.",
                units.PercentUnit,
                8,
            ),
            Target(
                f"topk(10, tcptrace_listener_syn_queue_peak{{{NETNS}}} "
                f"/ (tcptrace_listener_syn_queue_limit{{{NETNS}}} > 0))",
                "{{instance}} {{address}}:{{port}}",
            ),
            levels=_FILLED,
            links=(boards.to_listener(),),
        ),
        lines(
            About(
                "SYNs dropped and request sockets expired",
                "Dropped: SYN queue full without cookies. Expired: nobody sent the final ACK. Both "
                "high on one host: a flood; turn tcp_syncookies on. Expired alone: SYN-ACKs get "
                "lost, or the accept queue is full.",
                units.RequestsPerSecond,
                8,
            ),
            Target(_syn_drops(), "{{instance}} dropped"),
            Target(
                sum_rate(_DROPS, NETNS + ',stage="request_expired"', "instance"),
                "{{instance}} expired",
            ),
            links=(_TO_HOST,),
        ),
    ]


def _syn_drops() -> str:
    stages = "|".join(SYN_QUEUE_STAGES)
    return sum_rate(_DROPS, f'{NETNS},stage=~"{stages}"', "instance")


def _sockets() -> list[Builder[models.Panel]]:
    by = "instance"
    return [
        lines(
            About(
                "CLOSE_WAIT by host",
                "The peer has closed, the process on this host has not. Growing without end: it "
                "leaks connections. On the host: ss -tanp state close-wait.",
                units.Short,
                8,
            ),
            Target(
                f'sum by ({by}) (tcptrace_sockets{{{NETNS},state="close_wait"}})', "{{instance}}"
            ),
            links=(_TO_HOST,),
        ),
        lines(
            About(
                "Oldest CLOSE_WAIT",
                "How long the oldest has waited for close(). Minutes are a leak or a process that "
                "hangs; nothing in the kernel ends it.",
                units.Seconds,
                8,
            ),
            Target(
                f'max by ({by}) (tcptrace_oldest_socket_age_seconds{{{NETNS},state="close_wait"}})',
                "{{instance}}",
            ),
            levels=_AGE,
            links=(_TO_HOST,),
        ),
        lines(
            About(
                "Clients' TIME_WAIT per ephemeral port",
                "Near 100 %, connect() to one and the same destination fails with EADDRNOTAVAIL. "
                "Keep connections open, or use more destinations; see ip_local_port_range and "
                "tcp_tw_reuse. Over 100 % is possible with several destinations.",
                units.PercentUnit,
                8,
            ),
            Target(
                f'max by (instance, netns) (tcptrace_time_wait_sockets{{{NETNS},role="client"}}) '
                f"/ max by (instance, netns) (tcptrace_ephemeral_ports{{{NETNS}}})",
                "{{instance}} {{netns}}",
            ),
            levels=Levels(look=0.5, bad=0.8),
            links=(_TO_HOST,),
        ),
        lines(
            About(
                "TIME_WAIT by host",
                "Sockets that closed first and wait 60 s. A server's cost a little memory only; a "
                "client's hold a port each.",
                units.Short,
                8,
            ),
            Target(
                f'sum by ({by}) (tcptrace_sockets{{{NETNS},state="time_wait"}})', "{{instance}}"
            ),
            links=(_TO_HOST,),
        ),
        lines(
            About(
                "Connects that failed",
                "connect() calls of these hosts that did not succeed, by outcome. refused: nobody "
                "listens. timeout: SYNs unanswered. unreachable: routing or a firewall. failed: no "
                "port or route on the host itself.",
                units.RequestsPerSecond,
                8,
            ),
            Target(
                sum_rate("tcptrace_connects_total", f'{NETNS},outcome!="established"', "outcome"),
                "{{outcome}}",
            ),
        ),
        lines(
            About(
                "SYNs sent again, by host",
                "For each connect(). One host: its path or its destination. All hosts: a common "
                "destination drops SYNs; look at its accept queue.",
                units.PercentUnit,
                8,
            ),
            Target(
                ratio(
                    sum_rate("tcptrace_syn_retransmits_total", NETNS, by),
                    sum_rate("tcptrace_connects_total", NETNS, by),
                ),
                "{{instance}}",
            ),
            levels=Levels(look=0.01, bad=0.05),
            links=(_TO_HOST,),
        ),
    ]


def build() -> models.Dashboard:
    """The dashboard."""
    return boards.dashboard(
        boards.OVERVIEW,
        "Which hosts and listeners need a look: drops by stage, accept queues near full, SYN "
        "floods, CLOSE_WAIT, TIME_WAIT, and whether the tracers are well.",
        boards.host_variables("tcptrace_sockets"),
        {
            "Now": _now(),
            "Refused connections": _drops(),
            "SYN floods": _floods(),
            "Sockets and clients": _sockets(),
            "Tracer health": health.brief(),
        },
    )
