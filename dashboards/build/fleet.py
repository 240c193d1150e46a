"""All hosts, however many: which of them, which listeners, and why.

It asks for what rules record, for alerts, and for series of which a host has one; nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from dashboards.build import boards
from dashboards.build.panels import About, Column, Levels, bars, grid, lines, number
from dashboards.build.queries import Target, ratio

if TYPE_CHECKING:
    from grafana_foundation_sdk.cog.builder import Builder
    from grafana_foundation_sdk.models import dashboard as models

_JOB: Final = 'job=~"$job"'
_REFUSED: Final = f"listener_stage:tcptrace_listener_refusals:rate5m{{{_JOB}}}"
_WHERE: Final = "instance, comm, netns, address, port"
_FILLED: Final = Levels(look=0.5, bad=0.8)
_ANY: Final = Levels(bad=1)
_TO_HOST: Final = boards.to_host(boards.OVERVIEW)


def _fleet(name: str) -> str:
    return f"{name}{{{_JOB}}}"


def _table(expr: str) -> Target:
    return Target(expr, instant=True, form=PromQueryFormat.TABLE)


def _ten_hosts(name: str, at_least: str = "0") -> Target:
    """The hosts with the most of something, of those that have any."""
    return Target(f"topk(10, {_fleet(name)} > {at_least})", "{{instance}}")


def _now() -> list[Builder[models.Panel]]:
    return [
        number(
            About(
                "Hosts traced",
                "Hosts whose tcptrace answers Prometheus: look at Tracers below if they are "
                "fewer than you run it on.",
                units.Short,
                4,
            ),
            Target(_fleet("fleet:tcptrace_hosts_up:sum")),
        ),
        number(
            About(
                "Hosts that don't answer",
                "Prometheus knows them and gets no answer; of these hosts nothing here is known. "
                "On one: systemctl status tcptrace, tcptrace doctor.",
                units.Short,
                4,
            ),
            Target(
                f"{_fleet('fleet:tcptrace_hosts:count')} - {_fleet('fleet:tcptrace_hosts_up:sum')}"
            ),
            _ANY,
        ),
        number(
            About(
                "Hosts that refuse",
                "Hosts with a listener that refused a connection in the last 5 minutes. One: its "
                "service. Many at once: the clients, a load balancer, a release, an attack.",
                units.Short,
                4,
            ),
            Target(_fleet("fleet:tcptrace_hosts_refusing:count")),
            _ANY,
        ),
        number(
            About(
                "Refused",
                "Connections that listeners refused, over all hosts and stages but "
                "request_expired. Each client waits 1 s or longer, or gets a RST.",
                units.RequestsPerSecond,
                4,
            ),
            Target(_fleet("fleet:tcptrace_listener_refusals:rate5m")),
            Levels(look=0.1, bad=1),
        ),
        number(
            About(
                "Fullest accept queue",
                "Peak over capacity of the fullest accept queue of any host in the last 60 s. At "
                "100 % it refuses connections.",
                units.PercentUnit,
                4,
            ),
            Target(_fleet("fleet:tcptrace_accept_queue_fullest:max")),
            _FILLED,
        ),
        number(
            About(
                "SYNs sent again",
                "SYNs that clients of all hosts sent again, for each connect(). Each costs 1 s or "
                "more. Above 5 %: a destination drops SYNs, or the path does.",
                units.PercentUnit,
                4,
            ),
            Target(
                ratio(
                    _fleet("fleet:tcptrace_syn_retransmits:rate5m"),
                    _fleet("fleet:tcptrace_connects:rate5m"),
                )
            ),
            Levels(look=0.01, bad=0.05),
        ),
    ]


def _why() -> list[Builder[models.Panel]]:
    firing = f'ALERTS{{{_JOB},alertstate="firing"}}'
    return [
        lines(
            About(
                "Hosts by alert",
                "On how many hosts each alert fires. Alerts exclude what others explain, so the "
                "one that fires names the fault. Its runbook entry says what to run and to change.",
                units.Short,
            ),
            Target(
                f"count by (alertname) (group by (alertname, instance) ({firing}))",
                "{{alertname}}",
            ),
            stacked=True,
        ),
        grid(
            About(
                "Alerts that fire",
                "Each with the host and, where it is about one, the listener. Those that began "
                "first on top: what came later may be their consequence. Click for the host.",
                units.Short,
            ),
            (
                Column(
                    "for",
                    _table(
                        f"(time() - ALERTS_FOR_STATE{{{_JOB}}}) and ignoring (alertstate) {firing}"
                    ),
                    units.Seconds,
                ),
            ),
            ("alertname", "instance", "netns", "address", "port"),
            links=(boards.to_host(boards.OVERVIEW, table=True),),
        ),
    ]


def _where() -> list[Builder[models.Panel]]:
    return [
        grid(
            About(
                "Services that refuse",
                "What listens at the same port under the same name, over all hosts. Many hosts: "
                "look at what they share, a release or a load balancer. One of many: look at that "
                "host.",
                units.Short,
            ),
            (
                Column(
                    "refused",
                    _table(
                        "sum by (comm, port) "
                        f"({_fleet('fleet_stage:tcptrace_service_refusals:rate5m')})"
                    ),
                    units.RequestsPerSecond,
                    Levels(look=0.1, bad=1),
                ),
                Column(
                    "hosts",
                    _table(f"count by (comm, port) (group by (instance, comm, port) ({_REFUSED}))"),
                    units.Short,
                ),
            ),
            ("comm", "port"),
        ),
        grid(
            About(
                "Listeners that refuse",
                "Over the last 5 minutes, by stage, those that refused most on top: accept queue "
                "stages are a slow accept() or a small limit, syn_syn_queue_full and "
                "syn_last_quarter a flood without cookies. Click for the listener.",
                units.Short,
            ),
            (
                Column(
                    "refused",
                    _table(f"topk(50, sum by ({_WHERE}, stage) ({_REFUSED}))"),
                    units.RequestsPerSecond,
                    Levels(look=0.1, bad=1),
                ),
            ),
            ("instance", "comm", "netns", "address", "port", "stage"),
            links=(boards.to_listener(table=True),),
        ),
        lines(
            About(
                "Hosts that refuse most",
                "The ten hosts that refused most, of those that refused any. Steps at the same "
                "time have a cause in common.",
                units.RequestsPerSecond,
            ),
            _ten_hosts("instance:tcptrace_listener_refusals:rate5m"),
            links=(_TO_HOST,),
        ),
        bars(
            About(
                "Fullest accept queues",
                "The ten hosts whose fullest accept queue came nearest to its capacity in the last "
                "60 s. From 80 % on the next burst may be refused.",
                units.PercentUnit,
            ),
            Target(
                f"topk(10, {_fleet('instance:tcptrace_accept_queue_fullest:max')})",
                "{{instance}}",
                instant=True,
            ),
            levels=_FILLED,
            most=1,
            links=(_TO_HOST,),
        ),
    ]


def _all() -> list[Builder[models.Panel]]:
    handshake = "fleet_role:tcptrace_handshake_seconds"
    return [
        lines(
            About(
                "Drops by stage",
                "Over all hosts: where connections are refused or lost. request_expired alone: "
                "clients that never answer, or SYN-ACKs that get lost.",
                units.RequestsPerSecond,
            ),
            Target(_fleet("fleet_stage:tcptrace_listener_drops:rate5m"), "{{stage}}"),
            stacked=True,
        ),
        lines(
            About(
                "Handshakes and accept waits",
                "Over all hosts, from the first SYN to ESTABLISHED, and from there to accept(). A "
                "p99 near 1 s or 3 s is a SYN that was sent again.",
                units.Seconds,
            ),
            Target(_fleet(f"{handshake}:p50_5m"), "{{role}} p50"),
            Target(_fleet(f"{handshake}:p99_5m"), "{{role}} p99"),
            Target(_fleet("fleet:tcptrace_accept_wait_seconds:p99_5m"), "accept wait p99"),
        ),
        lines(
            About(
                "Sockets by state",
                "Over all hosts. close_wait that grows: a leak. new_syn_recv that grows: half-open "
                "handshakes. time_wait: who closes first.",
                units.Short,
                8,
            ),
            Target(_fleet("fleet_state:tcptrace_sockets:sum"), "{{state}}"),
            stacked=True,
        ),
        lines(
            About(
                "Connections taken",
                "What accept() takes over all hosts, and how many listeners there are. Both fall "
                "together: a service is gone. Accepts alone: its clients are.",
                units.Short,
                8,
            ),
            Target(_fleet("fleet:tcptrace_listener_accepts:rate5m"), "accepts a second"),
            Target(_fleet("fleet:tcptrace_listeners:sum"), "listeners"),
            right="listeners",
        ),
        lines(
            About(
                "Unanswered cookies",
                "SYN cookies sent, less those that came back valid: the ten hosts with the most, "
                "and all. Many on many hosts: a SYN flood on the fleet.",
                units.RequestsPerSecond,
                8,
            ),
            Target(_fleet("fleet:tcptrace_syn_cookies_unanswered:rate5m"), "all hosts"),
            _ten_hosts("instance:tcptrace_syn_cookies_unanswered:rate5m"),
            links=(_TO_HOST,),
        ),
        lines(
            About(
                "CLOSE_WAIT for more than 5 minutes",
                "The ten hosts with the most, and all: processes that do not close what their "
                "peers have closed. On a host: ss -tanp state close-wait.",
                units.Short,
                12,
            ),
            Target(_fleet("fleet:tcptrace_close_wait_older_than_300s:sum"), "all hosts"),
            _ten_hosts("instance:tcptrace_close_wait_older_than_300s:sum"),
            links=(_TO_HOST,),
        ),
        lines(
            About(
                "Clients' TIME_WAIT per ephemeral port",
                "The ten hosts nearest to the end of their ports. Near 100 %, connect() to one and "
                "the same destination fails with EADDRNOTAVAIL.",
                units.PercentUnit,
                12,
            ),
            Target(
                f"topk(10, {_fleet('instance:tcptrace_client_time_wait_per_port:max')})",
                "{{instance}}",
            ),
            levels=Levels(look=0.5, bad=0.8),
            links=(_TO_HOST,),
        ),
    ]


def _tracers() -> list[Builder[models.Panel]]:
    return [
        lines(
            About(
                "Hosts known and hosts that answer",
                "The gap is hosts that Prometheus can't reach. A step down in both: hosts that it "
                "no longer knows, as by a change of service discovery.",
                units.Short,
                8,
            ),
            Target(_fleet("fleet:tcptrace_hosts:count"), "known"),
            Target(_fleet("fleet:tcptrace_hosts_up:sum"), "answer"),
        ),
        lines(
            About(
                "Hosts to mistrust",
                "Must be 0. losing records: states and durations are incomplete there, drops are "
                "not. Other counts than the kernel's: a probe missed something. Find them in "
                "Tracer health of the overview.",
                units.Short,
                8,
            ),
            Target(_fleet("fleet:tcptrace_hosts_losing_events:count"), "losing records"),
            Target(
                _fleet("fleet:tcptrace_hosts_differing:count"), "other counts than the kernel's"
            ),
            levels=_ANY,
        ),
        lines(
            About(
                "Series of a host",
                "How many series a scrape brings: the ten hosts with the most. Listeners make "
                "them; docs/fleet.md says how many, and how to have fewer.",
                units.Short,
                8,
            ),
            Target(f"topk(10, {_fleet('scrape_samples_scraped')})", "{{instance}}"),
            links=(_TO_HOST,),
        ),
        grid(
            About(
                "What runs where",
                "Hosts by version of tcptrace, by kernel and by what carries the probes. Several "
                "lines during a release; kprobe loses some events under load, fentry does not.",
                units.Short,
                24,
            ),
            (
                Column(
                    "hosts",
                    _table(f"count by (version, kernel, carrier) (tcptrace_build_info{{{_JOB}}})"),
                    units.Short,
                ),
            ),
            ("version", "kernel", "carrier"),
        ),
    ]


def build() -> models.Dashboard:
    """The dashboard."""
    return boards.dashboard(
        boards.FLEET,
        "All hosts: which refuse connections, which listeners of theirs, at which stage and why, "
        "and whether the tracers can be trusted. From recorded series only; for thousands of "
        "hosts.",
        boards.fleet_variables(),
        {
            "Now": _now(),
            "Why": _why(),
            "Where": _where(),
            "All hosts": _all(),
            "Tracers": _tracers(),
        },
    )
