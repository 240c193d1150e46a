"""Containers, pods and units: lives tell where their sockets were made."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from .cgroups import mount_cgroups
from .namespaces import tool
from .sockets import accept, wait_for_fin
from .stage import Played, Scenario, Script, Stage, scenario

if TYPE_CHECKING:
    from .lives import Life, Lives
    from .namespaces import Namespace

_ID: Final = "5e1f" * 16
_OTHER_ID: Final = "0d2c" * 16
_SHORT_ID: Final = "a7b3" * 16
_UID: Final = "2c48913c-b29f-11e7-9350-020968147796"
_POD: Final = "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{}.slice".format(
    _UID.replace("-", "_")
)


def test_lives_are_what_was_done(played: Played, part: Scenario) -> None:
    played.check(part)


def _where(life: Life) -> dict[str, Any]:
    return {key: life.told[key] for key in ("netns_name", "cgroup", "container", "pod", "systemd")}


def _close(client: Any, server: Any) -> None:
    client.close()
    wait_for_fin(server)
    server.close()


@scenario()
def in_a_pod(stage: Stage) -> Script:
    """In a namespace of its own, which has a name."""
    namespace = stage.move_to_namespace()
    path = f"{_POD}/cri-containerd-{_ID}.scope"
    with stage.in_cgroup(path):
        _close(*stage.couple())

    lives: Lives = yield
    for life in lives.pair():
        assert life.netns == namespace.inode
        assert _where(life) == {
            "netns_name": namespace.name,
            "cgroup": path,
            "container": {"id": _ID, "runtime": "containerd", "name": None},
            "pod": {"uid": _UID, "qos": "burstable", "name": None, "namespace": None},
            "systemd": {"unit": None, "slice": _POD.rpartition("/")[2], "user": None},
        }


@scenario()
def between_a_container_and_a_service(stage: Stage) -> Script:
    """Each end tells its own."""
    with stage.in_cgroup(f"/docker/{_OTHER_ID}"):
        listener = stage.listen()
    with stage.in_cgroup("/user.slice/user-1000.slice/user@1000.service/app.slice/shop.service"):
        client = stage.connect()
    server = accept(listener)
    listener.close()
    _close(client, server)

    lives: Lives = yield
    of_client, of_server = lives.pair()
    assert of_server.told["container"] == {"id": _OTHER_ID, "runtime": "docker", "name": None}
    assert of_server.told["systemd"] is None
    assert of_client.told["container"] is None
    assert of_client.told["systemd"] == {
        "unit": "shop.service",
        "slice": "app.slice",
        "user": 1000,
    }


@scenario()
def in_a_container_that_crun_runs(stage: Stage) -> Script:
    """One that lives for a second, and is gone when its lives are printed."""
    mount_cgroups()
    namespace = stage.make_namespace("")
    with tempfile.TemporaryDirectory() as name:
        bundle = Path(name)
        _fill(bundle, stage, namespace)
        tool("crun", "--root", str(bundle / "state"), "--cgroup-manager", "cgroupfs",
             "run", "--bundle", str(bundle), f"tcptrace-{stage.port}")  # fmt: skip

    lives: Lives = yield
    assert not Path("/sys/fs/cgroup/docker", _SHORT_ID).exists()
    of_client, of_server = lives.pair()
    for life in (of_client, of_server):
        assert life.netns == namespace.inode
        assert life.told["netns_name"] == namespace.name
        assert life.told["container"] == {"id": _SHORT_ID, "runtime": "docker", "name": None}
    assert of_client.process is not None
    assert of_client.process.comm == "wget"


def _fill(bundle: Path, stage: Stage, namespace: Namespace) -> None:
    """An OCI bundle of busybox, which serves itself one page."""
    binaries = bundle / "rootfs/bin"
    binaries.mkdir(parents=True)
    for directory in ("proc", "dev", "sys"):
        (bundle / "rootfs" / directory).mkdir()
    (binaries / "busybox").write_bytes(Path("/bin/busybox").read_bytes())
    for applet in ("sh", "httpd", "sleep", "wget"):
        (binaries / applet).symlink_to("busybox")
    (binaries / "busybox").chmod(0o755)
    (bundle / "rootfs/index.html").write_text("hello\n")
    where = f"{stage.address}:{stage.port}"
    script = f"httpd -p {where} -h / && wget -q -O /dev/null http://{where}/index.html && sleep 1"
    kinds = ("pid", "mount", "ipc", "uts")
    spec = {
        "ociVersion": "1.0.2",
        "process": {
            "user": {"uid": 0, "gid": 0},
            "args": ["sh", "-c", script],
            "env": ["PATH=/bin"],
            "cwd": "/",
        },
        "root": {"path": "rootfs"},
        "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}],
        "linux": {
            "cgroupsPath": f"/docker/{_SHORT_ID}",
            "namespaces": [
                *({"type": kind} for kind in kinds),
                {"type": "network", "path": str(namespace.path)},
            ],
        },
    }
    (bundle / "config.json").write_text(json.dumps(spec))
