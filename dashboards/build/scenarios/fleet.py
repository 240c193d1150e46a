"""Several hosts, shared out between two Prometheus: what is recorded over all of them."""

from __future__ import annotations

from typing import Final

from dashboards.build.scenarios.accept_queue import OVERFLOW, overflow
from dashboards.build.scenarios.health import DOWN
from dashboards.build.scenarios.healthy import HEALTHY, HTTPS, JOB, SSH, growing, series, steady
from dashboards.build.scenarios.scenario import Firing, Scenario, drops

_FIRST: Final = JOB["instance"]
_FLEET: Final = {"job": "tcptrace"}
_NGINX: Final = {"comm": "nginx"}


def _moved(labels: dict[str, str], instance: str, shard: str) -> dict[str, str]:
    return {**labels, "instance": instance, "shard": shard}


def _host(values: dict[str, str], instance: str, shard: str) -> dict[str, str]:
    """A host under another name, scraped by the Prometheus of a shard."""
    old, new = series("", JOB), series("", _moved(JOB, instance, shard))
    return {key.replace(old[1:-1], new[1:-1]): points for key, points in values.items()}


def _fires(firing: Firing, instance: str, shard: str) -> Firing:
    return Firing(
        firing.alert,
        _moved(firing.labels, instance, shard),
        firing.summary.replace(_FIRST, instance),
        firing.description.replace(_FIRST, instance),
    )


def _info(labels: dict[str, str], comm: str) -> dict[str, str]:
    return {series("tcptrace_listener_info", {**labels, "comm": comm}): steady(1)}


def _fleet(name: str, value: float, **labels: str) -> tuple[str, str, float]:
    return series(name, labels), series(name, {**_FLEET, **labels}), value


_WELL: Final = {**HEALTHY, **_info(HTTPS, "nginx"), **_info(SSH, "sshd")}
_REFUSING: Final = {
    **_WELL,
    **OVERFLOW,
    **drops(syn_accept_queue_full=growing(120), ack_accept_queue_full=growing(60)),
}
_SERVICE: Final = {"port": "443", **_NGINX, "stage": "ack_accept_queue_full"}
_LISTENER: Final = {**_moved(HTTPS, "web-2:9436", "b"), **_NGINX, "stage": "ack_accept_queue_full"}

SCENARIOS: Final = (
    Scenario(
        "fleet-one-host-refuses",
        "three hosts of two Prometheus: one is well, one refuses, one does not answer",
        "30m",
        {
            **_host(_REFUSING, "web-2:9436", "b"),
            series("up", _moved(JOB, "web-3:9436", "b")): steady(0),
        },
        (
            _fires(overflow("3.00"), "web-2:9436", "b"),
            _fires(DOWN, "web-3:9436", "b"),
        ),
        (
            _fleet("fleet:tcptrace_hosts:count", 3),
            _fleet("fleet:tcptrace_hosts_up:sum", 2),
            _fleet("fleet:tcptrace_hosts_refusing:count", 1),
            _fleet("fleet:tcptrace_hosts_losing_events:count", 0),
            _fleet("fleet:tcptrace_hosts_differing:count", 0),
            _fleet("fleet:tcptrace_listeners:sum", 4),
            _fleet("fleet:tcptrace_listener_refusals:rate5m", 3),
            # 6,000 and 6 a minute on either host.
            _fleet("fleet:tcptrace_listener_accepts:rate5m", 200.2),
            _fleet("fleet:tcptrace_accept_queue_fullest:max", 1),
            _fleet("fleet_stage:tcptrace_listener_drops:rate5m", 2, stage="syn_accept_queue_full"),
            _fleet("fleet_state:tcptrace_sockets:sum", 400, state="established"),
            _fleet("fleet_role:tcptrace_handshake_seconds:p99_5m", 0.00099, role="client"),
            _fleet("fleet_stage:tcptrace_service_refusals:rate5m", 1, **_SERVICE),
            (
                'listener_stage:tcptrace_listener_refusals:rate5m{stage="ack_accept_queue_full"}',
                series("listener_stage:tcptrace_listener_refusals:rate5m", _LISTENER),
                1,
            ),
        ),
        background=_host(_WELL, "web-1:9436", "a"),
    ),
)
