"""Where a socket is: namespace, container, pod, systemd unit; for people and as JSON.

All of it was named by somebody else: escaped and bounded before it is shown.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tcptrace.sinks.terminal import comm_text, safe_text

if TYPE_CHECKING:
    from tcptrace.lifecycle.connection import Process
    from tcptrace.lifecycle.names import Names
    from tcptrace.lifecycle.workload import Workload

_SHORT_ID: Final = 12
"""Digits of a container's id, as `docker ps` shows it."""
_ID_LENGTH: Final = 64
_SHORT_UID: Final = 8
_MOST: Final = 64
"""Characters of a name for people."""
_DULL_UNITS: Final = ("session-", "user@", "init.scope")
"""Units that say nothing of what runs in them."""


def as_json(workload: Workload | None, names: Names) -> dict[str, Any]:
    """The keys that tell where a socket is; null where it isn't known."""
    return {
        "cgroup": workload.cgroup if workload else None,
        "container": _container(workload, names),
        "pod": _pod(workload, names),
        "systemd": _systemd(workload),
    }


def _container(workload: Workload | None, names: Names) -> dict[str, Any] | None:
    if workload is None or not workload.container:
        return None
    pod = names.pod_names(workload)
    return {
        "id": workload.container,
        "runtime": workload.runtime or None,
        "name": (pod.container or None) if pod else None,
    }


def _pod(workload: Workload | None, names: Names) -> dict[str, Any] | None:
    pod = names.pod_names(workload)
    if workload is None or not (workload.pod_uid or pod):
        return None
    return {
        "uid": workload.pod_uid or None,
        "qos": workload.qos or None,
        "name": (pod.pod or None) if pod else None,
        "namespace": (pod.namespace or None) if pod else None,
    }


def _systemd(workload: Workload | None) -> dict[str, Any] | None:
    if workload is None or not (workload.unit or workload.slice):
        return None
    return {
        "unit": workload.unit or None,
        "slice": workload.slice or None,
        "user": workload.user,
    }


def container_text(workload: Workload | None, names: Names) -> str:
    """Says `pod shop/web-0 (nginx)`, `docker 0123456789ab`; empty outside of containers."""
    pod = names.pod_names(workload)
    if pod is not None and pod.pod:
        return f"pod {_cut(pod.namespace)}/{_cut(pod.pod)} ({_cut(pod.container)})"
    if workload is None:
        return ""
    told = []
    if workload.container:
        is_id = len(workload.container) == _ID_LENGTH
        name = workload.container[:_SHORT_ID] if is_id else _cut(workload.container)
        told.append(f"{workload.runtime or 'container'} {name}")
    if workload.pod_uid:
        told.append(f"pod {workload.pod_uid[:_SHORT_UID]}")
    return " in ".join(told)


def unit_text(workload: Workload | None, process: Process | None = None) -> str:
    """Names the systemd unit where it tells more than the process: not `nginx.service` of nginx."""
    if workload is None or workload.unit.startswith(_DULL_UNITS):
        return ""
    name = workload.unit.rpartition(".")[0]
    comm = comm_text(process.comm) if process else ""
    if comm and (name.startswith(comm) or comm.startswith(name)):
        return ""
    return _cut(workload.unit)


def namespace_text(netns: int, names: Names) -> str:
    """Says `netns blue (4026532345)`; empty for the tracer's own, and if that isn't known."""
    name = names.namespaces.get(netns)
    if netns == names.own_netns or not (name or names.own_netns):
        return ""
    return f"netns {_cut(name)} ({netns})" if name else f"netns {netns}"


def places(
    netns: int, workload: Workload | None, process: Process | None, names: Names
) -> list[str]:
    """Everything worth telling people of where a socket is, the nearest first."""
    told = (
        container_text(workload, names),
        unit_text(workload, process),
        namespace_text(netns, names),
    )
    return [text for text in told if text]


def _cut(name: str) -> str:
    text = safe_text(name)
    return text if len(text) <= _MOST else f"{text[: _MOST - 1]}…"
