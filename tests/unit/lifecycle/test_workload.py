"""Cgroups' paths as runtimes, kubelet and systemd make them."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tcptrace.lifecycle.workload import Workload, parse

ID = "3f2a9c71d5e84b06" * 4
NODE = "0b1c2d3e4f506172" * 4
UID = "2c48913c-b29f-11e7-9350-020968147796"
IN_SLICE = UID.replace("-", "_")
STATIC = "7a2b1f0c9d8e4a3b7a2b1f0c9d8e4a3b"
BURSTABLE = f"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{IN_SLICE}.slice"
USER = "/user.slice/user-1000.slice/user@1000.service"

CONTAINERS = {
    f"/system.slice/docker-{ID}.scope": ("docker", ID),
    f"/docker/{ID}": ("docker", ID),
    f"/docker/{ID}/system.slice/nginx.service": ("docker", ID),
    f"{USER}/user.slice/docker-{ID}.scope": ("docker", ID),
    f"/ecs/0a1b2c/{ID}": ("", ID),
    f"{BURSTABLE}/cri-containerd-{ID}.scope": ("containerd", ID),
    f"{BURSTABLE}/crio-{ID}.scope": ("cri-o", ID),
    f"{BURSTABLE}/crio-{ID}.scope/container": ("cri-o", ID),
    f"{BURSTABLE}/docker-{ID}.scope": ("docker", ID),
    f"{BURSTABLE}/crio-conmon-{ID}.scope": ("", ""),
    f"{BURSTABLE}": ("", ""),
    f"/kubepods/burstable/pod{UID}/{ID}": ("", ID),
    f"/kubepods/burstable/pod{UID}/crio-{ID}": ("cri-o", ID),
    f"/system.slice/containerd.service/kubepods-pod{IN_SLICE}.slice:cri-containerd:{ID}": (
        "containerd",
        ID,
    ),
    f"/machine.slice/libpod-{ID}.scope": ("podman", ID),
    f"/machine.slice/libpod-{ID}.scope/container": ("podman", ID),
    f"/machine.slice/libpod-conmon-{ID}.scope": ("", ""),
    f"{USER}/user.slice/libpod-{ID}.scope/container": ("podman", ID),
    f"/libpod_parent/libpod-{ID}": ("podman", ID),
    f"/system.slice/web.service/libpod-payload-{ID}": ("podman", ID),
    "/lxc.payload.web-1/init.scope": ("lxc", "web-1"),
    "/lxc/web-1": ("lxc", "web-1"),
    "/lxc.monitor.web-1": ("", ""),
    r"/machine.slice/machine-my\x2dbox.scope/payload": ("machine", "my-box"),
    "/machine.slice/systemd-nspawn@web.service/payload/system.slice/a.service": ("nspawn", "web"),
    "/machine.slice/systemd-nspawn@web.service/supervisor": ("", ""),
    "/system.slice/nginx.service": ("", ""),
    f"/system.slice/docker-{ID[:40]}.scope": ("", ""),
    f"/system.slice/docker-{ID.upper()}.scope": ("", ""),
    "/": ("", ""),
}


@pytest.mark.parametrize("path", CONTAINERS)
def test_the_container_and_its_runtime(path: str) -> None:
    found = parse(path)
    assert (found.runtime, found.container) == CONTAINERS[path]
    assert found.cgroup == path


@pytest.mark.parametrize(
    ("path", "uid", "qos"),
    [
        (BURSTABLE, UID, "burstable"),
        (f"/kubepods.slice/kubepods-pod{IN_SLICE}.slice/crio-{ID}.scope", UID, "guaranteed"),
        (f"/kubepods/pod{UID}/{ID}", UID, "guaranteed"),
        (f"/kubepods/besteffort/pod{STATIC}/{ID}", STATIC, "besteffort"),
        (f"/kubepods/burstable/pod{UID}/{ID}", UID, "burstable"),
        (f"/system.slice/c.service/kubepods-besteffort-pod{IN_SLICE}.slice:cri-containerd:{ID}",
         UID, "besteffort"),
        (f"/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod{IN_SLICE}.slice", UID,
         "guaranteed"),
        ("/kubepods.slice/kubepods-burstable.slice", "", ""),
        (f"/kubepods/burstable/podcast/{ID}", "", ""),
        (f"/somebody/pod{UID}/{ID}", "", ""),
    ],
)  # fmt: skip
def test_the_pod(path: str, uid: str, qos: str) -> None:
    assert (parse(path).pod_uid, parse(path).qos) == (uid, qos)


def test_a_pod_in_a_node_that_is_a_container() -> None:
    """As in kind: the node's id is not the pod's container's."""
    node = f"/docker/{NODE}/kubelet.slice/kubelet-kubepods.slice"
    pod = (
        f"{node}/kubelet-kubepods-besteffort.slice/kubelet-kubepods-besteffort-pod{IN_SLICE}.slice"
    )
    assert parse(node).container == NODE
    assert parse(pod).container == ""
    inner = parse(f"{pod}/cri-containerd-{ID}.scope")
    assert (inner.runtime, inner.container, inner.pod_uid) == ("containerd", ID, UID)


@pytest.mark.parametrize(
    ("path", "unit", "in_slice", "user"),
    [
        ("/system.slice/nginx.service", "nginx.service", "system.slice", None),
        ("/system.slice/system-getty.slice/getty@tty1.service", "getty@tty1.service",
         "system-getty.slice", None),
        ("/init.scope", "init.scope", "", None),
        ("/user.slice/user-0.slice/session-3.scope", "session-3.scope", "user-0.slice", 0),
        (f"{USER}/app.slice/app-foo.service", "app-foo.service", "app.slice", 1000),
        (f"{USER}/init.scope", "init.scope", "user-1000.slice", 1000),
        ("/system.slice/_cpu.service", "cpu.service", "system.slice", None),
        (f"/system.slice/web.service/libpod-payload-{ID}", "web.service", "system.slice", None),
        (f"/system.slice/docker-{ID}.scope", "", "system.slice", None),
        ("/elsewhere/a.b", "", "", None),
    ],
)  # fmt: skip
def test_systemds_units(path: str, unit: str, in_slice: str, user: int | None) -> None:
    found = parse(path)
    assert (found.unit, found.slice, found.user) == (unit, in_slice, user)


PARTS = st.sampled_from(
    [part for path in CONTAINERS for part in path.split("/")] + [f"pod{UID}", "kubepods", "lxc"]
)


@given(st.lists(PARTS | st.text(max_size=300), max_size=80).map("/".join))
@example("/" * 10_000)
@example("/" + "a" * 10_000)
@example(f"/lxc/{chr(27)}[2J")
def test_any_path(path: str) -> None:
    """Any name can be made by somebody; what is told of it is a part of it."""
    found = parse(path)
    assert isinstance(found, Workload)
    assert found.pod_uid.replace("-", "_") in path.replace("-", "_")
    assert found.unit in path
    assert found.slice in path
    assert len(found.container) <= len(path)
