r"""What a cgroup's path tells of the sockets made in it: container, pod, systemd unit. Pure.

Each runtime has its own way to name a container's cgroup, and two if it may leave cgroups to
systemd (the *systemd driver*) or make them itself (*cgroupfs*):

- Docker: `system.slice/docker-ID.scope`, `docker/ID`.
- containerd's CRI: `cri-containerd-ID.scope` or `ID` below the pod, and where kubelet's driver and
  its own differ `kubepods-…-podUID.slice:cri-containerd:ID`. Source: internal/cri/server.
- CRI-O: `crio-ID.scope`, `crio-ID`; `crio-conmon-ID.scope` is the container's monitor, outside of
  it. Source: internal/config/cgmgr.
- podman: `machine.slice/libpod-ID.scope`, also below `user@UID.service/user.slice`;
  `libpod_parent/libpod-ID`; `UNIT/libpod-payload-ID` where it is split; libpod-conmon is again the
  monitor.
- kubelet: `kubepods.slice/kubepods-QOS.slice/kubepods-QOS-podUID.slice` with `_` for `-` in the
  UID, or `kubepods/QOS/podUID`; no QOS is guaranteed. kind and a cgroup root put more in front of
  both. A static pod's UID is 32 hexadecimal digits. Source: pkg/kubelet/cm.
- LXC: `lxc.payload.NAME` (LXD and Incus too), `lxc/NAME` before 4.0; lxc.monitor is outside.
- systemd-nspawn: `machine.slice/systemd-nspawn@NAME.service/payload`, `machine-NAME.scope`; the
  latter is also what libvirt names. Source: systemd, docs/CGROUP_DELEGATION.md.
- systemd: `SLICE/UNIT`, and below `user@UID.service` the same again for that user's own units; `_`
  in front of a name that the kernel might use itself; `\x2d` stands for `-`.
  Source: systemd.slice(5).

Whoever may make cgroups chooses their names: what is told here is a hint, never a proof.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final, NamedTuple

_MOST_PATH: Final = 4096
_MOST_PARTS: Final = 64
_ID: Final = "[0-9a-f]{64}"
_UID: Final = "[0-9a-f]{8}(?:[-_][0-9a-f]{4}){3}[-_][0-9a-f]{12}|[0-9a-f]{32}"
_RUNTIMES: Final = {
    "docker": "docker",
    "cri-containerd": "containerd",
    "nerdctl": "containerd",
    "crio": "cri-o",
    "libpod": "podman",
    "libpod-payload": "podman",
}
_CONTAINER: Final = re.compile(rf"(?:({'|'.join(_RUNTIMES)})-)?({_ID})(?:\.scope)?")
_POD_SLICE: Final = re.compile(
    rf"(?:\S{{1,64}}-)?kubepods(?:-(burstable|besteffort))?-pod({_UID})\.slice"
    rf"(?::({'|'.join(_RUNTIMES)}):({_ID}))?"
)
_POD: Final = re.compile(rf"pod({_UID})")
_QOS: Final = ("burstable", "besteffort")
_LXC: Final = re.compile(r"lxc\.payload\.(.+)")
_NSPAWN: Final = re.compile(r"systemd-nspawn@(.+)\.service")
_MACHINE: Final = re.compile(r"machine-(.+)\.scope")
_USER: Final = re.compile(r"user(?:@(\d{1,10})\.service|-(\d{1,10})\.slice)", re.ASCII)
_UNIT: Final = re.compile(r"_?([^_].*\.(?:service|scope|socket|mount|swap))")
_SLICE: Final = re.compile(r"_?([^_].*\.slice)")
_ESCAPED: Final = re.compile(r"\\x([0-7][0-9a-f])")


class Workload(NamedTuple):
    """Who is in a cgroup, as far as its path tells; "" where it doesn't."""

    cgroup: str
    """The path itself."""
    runtime: str = ""
    """docker, containerd, cri-o, podman, lxc, nspawn, machine."""
    container: str = ""
    """The innermost container: its id of 64 digits; LXC's and systemd's have a name."""
    pod_uid: str = ""
    qos: str = ""
    """The pod's: guaranteed, burstable, besteffort."""
    unit: str = ""
    """The innermost systemd unit that is not just the container's scope."""
    slice: str = ""
    """The innermost slice."""
    user: int | None = None
    """Whose user manager or session it is."""


@lru_cache(maxsize=4096)
def parse(path: str) -> Workload:
    """Reads a cgroup's path, of any content.

    Args:
        path: below the hierarchy's root, beginning with a slash.
    """
    found = Workload(path)
    parts = path[:_MOST_PATH].split("/")[1 : _MOST_PARTS + 1]
    for number, part in enumerate(parts):
        found = _step(found, part, parts[:number])
    return found


def _step(found: Workload, part: str, above: list[str]) -> Workload:
    """What one more directory tells."""
    if user := _USER.fullmatch(part):
        found = found._replace(user=int(user[1] or user[2]))
    if pod := _POD_SLICE.fullmatch(part):
        return _in_pod(found, pod[2], pod[1])._replace(
            runtime=_RUNTIMES.get(pod[3] or "", ""),
            container=pod[4] or "",
            slice=part.partition(":")[0],
        )
    if (pod := _POD.fullmatch(part)) and "kubepods" in above:
        return _in_pod(found, pod[1], above[-1] if above[-1] in _QOS else None)
    if inside := _container(part, above):
        return found._replace(runtime=inside[0], container=inside[1])
    if part == "supervisor" and found.runtime in ("nspawn", "machine"):
        return found._replace(runtime="", container="")
    if nspawn := _NSPAWN.fullmatch(part):
        found = found._replace(runtime="nspawn", container=_unescape(nspawn[1]))
    if unit := _UNIT.fullmatch(part):
        found = found._replace(unit=unit[1])
    elif in_slice := _SLICE.fullmatch(part):
        found = found._replace(slice=in_slice[1])
    return found


def _in_pod(found: Workload, uid: str, qos: str | None) -> Workload:
    """A pod begins: what it lies in is the node, which may be a container itself."""
    uid = uid.replace("_", "-")
    return found._replace(pod_uid=uid, qos=qos or "guaranteed", runtime="", container="", unit="")


def _container(part: str, above: list[str]) -> tuple[str, str] | None:
    """The runtime and the id that a directory's name tells."""
    if known := _CONTAINER.fullmatch(part):
        parent = above[-1] if above else ""
        return _RUNTIMES.get(known[1] or parent, ""), known[2]
    if lxc := _LXC.fullmatch(part):
        return "lxc", lxc[1]
    if above in (["lxc"], ["lxc.payload"]):
        return "lxc", part
    if machine := _MACHINE.fullmatch(part):
        return "machine", _unescape(machine[1])
    return None


def _unescape(name: str) -> str:
    """As systemd-escape --unescape, of what it escapes in a name."""
    return _ESCAPED.sub(lambda escaped: chr(int(escaped[1], 16)), name)
