"""What the dashboards share: variables, and links that carry them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.models import dashboard as models

from dashboards.build.panels import DATASOURCE
from dashboards.build.queries import HOST, NETNS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from grafana_foundation_sdk.cog.builder import Builder

FLEET: Final = "tcptrace-fleet"
OVERVIEW: Final = "tcptrace-overview"
LISTENER: Final = "tcptrace-listener"
LIFECYCLE: Final = "tcptrace-lifecycle"
TITLES: Final = {
    FLEET: "tcptrace / Fleet",
    OVERVIEW: "tcptrace / Overview",
    LISTENER: "tcptrace / Listener",
    LIFECYCLE: "tcptrace / Connection lifecycle",
}
"""Titles by uid."""

_ALL: Final = models.VariableOption(selected=True, text="All", value="$__all")
_HOST_VARIABLES: Final = "${datasource:queryparam}&${job:queryparam}"


def _chosen(name: str, label: str, metric: str, selector: str) -> builders.QueryVariable:
    query = (
        f"label_values({metric}{{{selector}}}, {name})"
        if selector
        else (f"label_values({metric}, {name})")
    )
    return (
        builders.QueryVariable(name)
        .label(label)
        .datasource(DATASOURCE)
        .query(query)
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.ALPHABETICAL_CASE_INSENSITIVE_ASC)
        .multi(multi=True)
        .include_all(include_all=True)
        .all_value(".*")
        .current(_ALL)
    )


def fleet_variables() -> list[Builder[models.VariableModel]]:
    """Variables of every dashboard: where to ask, and for which job."""
    return [
        builders.DatasourceVariable("datasource").label("Data source").type("prometheus"),
        _chosen("job", "Job", "tcptrace_build_info", ""),
    ]


def host_variables(netns_from: str) -> list[Builder[models.VariableModel]]:
    """Variables that choose hosts.

    Args:
        netns_from: The metric whose network namespaces can be chosen.
    """
    return [
        *fleet_variables(),
        _chosen("instance", "Host", "tcptrace_build_info", 'job=~"$job"'),
        _chosen("netns", "Network namespace", netns_from, HOST),
    ]


def listener_variables() -> list[Builder[models.VariableModel]]:
    """Variables that choose listeners."""
    listeners = "tcptrace_listener_sockets"
    return [
        *host_variables(listeners),
        _chosen("address", "Address", listeners, NETNS),
        _chosen("port", "Port", listeners, f'{NETNS},address=~"$address"'),
    ]


def state_variable(metric: str) -> Builder[models.VariableModel]:
    """The variable that chooses states."""
    return _chosen("state", "State", metric, HOST)


def to_listener(*, table: bool = False) -> builders.DashboardLink:
    """A click on a series (or a table's line) leads to that listener."""
    labels = "__data.fields" if table else "__field.labels"
    chosen = "&".join(
        f"var-{name}=${{{labels}.{name}}}" for name in ("instance", "netns", "address", "port")
    )
    return _click("Show this listener", LISTENER, chosen)


def to_host(uid: str, *, table: bool = False) -> builders.DashboardLink:
    """A click on a series (or a table's line) leads to another dashboard of that host."""
    labels = "__data.fields" if table else "__field.labels"
    return _click(f"Show this host: {TITLES[uid]}", uid, f"var-instance=${{{labels}.instance}}")


def _click(title: str, uid: str, chosen: str) -> builders.DashboardLink:
    url = f"/d/{uid}?{_HOST_VARIABLES}&{chosen}&${{__url_time_range}}"
    return builders.DashboardLink(title).url(url).target_blank(target_blank=False)


def dashboard(
    uid: str,
    description: str,
    variables: Iterable[Builder[models.VariableModel]],
    rows: Mapping[str, Iterable[Builder[models.Panel]]],
) -> models.Dashboard:
    """Builds a dashboard, with links to the others that carry the variables.

    Args:
        uid: Its id; the others find it by that.
        description: What it is for.
        variables: What can be chosen.
        rows: Panels by the title of their row.
    """
    board = (
        builders.Dashboard(TITLES[uid])
        .uid(uid)
        .description(description)
        .tags(["tcptrace"])
        .editable()
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .time("now-1h", "now")
        .timezone("browser")
        .refresh("30s")
        .variables(list(variables))
    )
    for other, title in TITLES.items():
        if other != uid:
            board = board.link(
                builders.DashboardLink(title)
                .type(models.DashboardLinkType.LINK)
                .icon("dashboard")
                .tooltip(title)
                .url(f"/d/{other}")
                .include_vars(include_vars=True)
                .keep_time(keep_time=True)
            )
    for title, panels in rows.items():
        board = board.with_row(builders.Row(title))
        for panel in panels:
            board = board.with_panel(panel)
    return _numbered(board.build())


def _numbered(board: models.Dashboard) -> models.Dashboard:
    for number, panel in enumerate(board.panels or (), start=1):
        panel.id_val = number
    return board
