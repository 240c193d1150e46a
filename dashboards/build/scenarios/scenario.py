"""What a scenario is, and the series that faults change."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from dashboards.build.scenarios.healthy import HEALTHY, HTTPS, NETNS, growing, series

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dashboards.build.alerts import Alert

WEB: Final = "0.0.0.0 port 443 on web-1:9436"
"""How the alerts name the listener HTTPS."""
IN_NETNS: Final = "network namespace 4026531840"
LISTENER: Final = "tcptrace_listener_"


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


def https(**values: str) -> dict[str, str]:
    """Values of the listener HTTPS, by the metric's name without tcptrace_listener_."""
    return {series(LISTENER + name, HTTPS): value for name, value in values.items()}


def drops(**values: str) -> dict[str, str]:
    """Its drops, by stage."""
    return {
        series(LISTENER + "drops_total", {**HTTPS, "stage": stage}): value
        for stage, value in values.items()
    }


def cookies(sent: str, valid: str) -> dict[str, str]:
    """Its cookies."""
    name = "tcptrace_syn_cookies_total"
    return {
        series(name, {**HTTPS, "result": "sent"}): sent,
        series(name, {**HTTPS, "result": "valid"}): valid,
    }


def close_wait(total: str, within_5_minutes: str) -> dict[str, str]:
    """CLOSE_WAIT sockets: all, and those that have not been there for longer than 5 minutes."""
    labels = {**NETNS, "state": "close_wait"}
    age = "tcptrace_socket_age_seconds"
    return {
        series("tcptrace_sockets", {**NETNS, "family": "ipv4", "state": "close_wait"}): total,
        series(f"{age}_bucket", {**labels, "le": "300.0"}): within_5_minutes,
        series(f"{age}_bucket", {**labels, "le": "3600.0"}): total,
        series(f"{age}_bucket", {**labels, "le": "+Inf"}): total,
        series(f"{age}_gcount", labels): total,
    }


def synack_retransmits(per_minute: float) -> dict[str, str]:
    """SYN-ACKs sent again."""
    name = "tcptrace_synack_retransmits_total"
    return {series(name, {**NETNS, "family": "ipv4"}): growing(per_minute)}
