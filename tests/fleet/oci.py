"""The DaemonSet's container as an OCI bundle: what a runtime makes of the manifest that ships."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final, NamedTuple

import yaml

CHECKOUT: Final = Path(__file__).resolve().parents[2]
MANIFEST: Final = CHECKOUT / "packaging/kubernetes/base/daemonset.yaml"
DOCKERFILE: Final = CHECKOUT / "packaging/Dockerfile"
_ARCHITECTURES: Final = {"SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"}
_MASKED: Final = (
    "/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
    "/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats",
    "/sys/devices/virtual/powercap", "/sys/firmware",
)  # fmt: skip
_READ_ONLY: Final = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
"""What containerd hides and protects, if nothing else is asked for.

Source: containerd/pkg/oci/spec.go, populateDefaultUnixSpec.
"""


class Container(NamedTuple):
    """What the manifest says of it."""

    pod: dict[str, Any]
    told: dict[str, Any]

    @property
    def security(self) -> dict[str, Any]:
        """Its securityContext."""
        found: dict[str, Any] = self.told["securityContext"]
        return found

    @property
    def capabilities(self) -> list[str]:
        """Those that it has, by the kernel's names."""
        assert self.security["capabilities"]["drop"] == ["ALL"]
        return [f"CAP_{name}" for name in self.security["capabilities"]["add"]]


def container() -> Container:
    """Reads the manifest."""
    pod = yaml.safe_load(MANIFEST.read_text())["spec"]["template"]["spec"]
    (told,) = pod["containers"]
    return Container(pod, told)


def entrypoint() -> list[str]:
    """The image's."""
    (line,) = (one for one in DOCKERFILE.read_text().splitlines() if one.startswith("ENTRYPOINT "))
    found: list[str] = json.loads(line.removeprefix("ENTRYPOINT "))
    return found


def spec(root: Path, seccomp: Path, arguments: list[str], without: str = "") -> dict[str, Any]:
    """The runtime's configuration.

    Args:
        root: the image's root file system.
        seccomp: the runtime's default profile, as podman, CRI-O and Docker write theirs.
        arguments: after the image's entry point.
        without: a capability that is taken away.
    """
    made = container()
    security = made.security
    held = [name for name in made.capabilities if name != without]
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}
    kinds = ["mount", "ipc", "uts", "cgroup"]
    kinds += [] if made.pod.get("hostPID") else ["pid"]
    kinds += [] if made.pod.get("hostNetwork") else ["network"]
    return {
        "ociVersion": "1.0.2",
        "process": {
            "user": {"uid": security["runAsUser"], "gid": security["runAsGroup"]},
            "args": [*entrypoint(), *arguments],
            "env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"],
            "cwd": "/",
            "capabilities": dict.fromkeys(("bounding", "effective", "permitted"), held),
            "noNewPrivileges": not security["allowPrivilegeEscalation"],
            "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 1048576, "hard": 1048576}],
        },
        "root": {"path": str(root), "readonly": security["readOnlyRootFilesystem"]},
        "mounts": [*_usual_mounts(), *_volumes(made)],
        "linux": {
            "namespaces": [{"type": kind} for kind in kinds],
            "seccomp": _profile(seccomp, set(held)),
            "maskedPaths": list(_MASKED),
            "readonlyPaths": list(_READ_ONLY),
            "resources": {"memory": {"limit": memory_limit(made)}},
        },
    }


def memory_limit(made: Container) -> int:
    """In bytes."""
    text: str = made.told["resources"]["limits"]["memory"]
    assert text.endswith("Mi")
    return int(text.removesuffix("Mi")) << 20


def _usual_mounts() -> list[dict[str, Any]]:
    tmpfs = ["nosuid", "noexec", "nodev", "mode=1777"]
    return [
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["mode=755"]},
        {"destination": "/dev/shm", "type": "tmpfs", "source": "shm", "options": tmpfs},  # noqa: S108
        {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["ro", "nosuid"]},
    ]


def _volumes(made: Container) -> list[dict[str, Any]]:
    """The host's directories; each mount propagates to the container or not at all."""
    places = {one["name"]: one["hostPath"]["path"] for one in made.pod["volumes"]}
    mounts = []
    for one in made.told["volumeMounts"]:
        assert one["readOnly"]
        spread = "rslave" if one.get("mountPropagation") == "HostToContainer" else "rprivate"
        mounts.append(
            {
                "destination": one["mountPath"],
                "type": "bind",
                "source": places[one["name"]],
                "options": ["rbind", "ro", spread],
            }
        )
    return mounts


def _profile(path: Path, held: set[str]) -> dict[str, Any]:
    """What of the profile applies to a container with these capabilities."""
    profile = json.loads(path.read_text())
    calls = []
    for one in profile["syscalls"]:
        wanted, unwanted = one.get("includes") or {}, one.get("excludes") or {}
        if set(wanted.get("caps") or ()) - held or set(unwanted.get("caps") or ()) & held:
            continue
        if wanted.get("arches") and not {"amd64", "x86", "x32"} & set(wanted["arches"]):
            continue
        if {"amd64"} & set(unwanted.get("arches") or ()):
            continue
        kept = {key: one[key] for key in ("names", "action", "args", "errnoRet") if one.get(key)}
        calls.append(kept)
    return {
        "defaultAction": profile["defaultAction"],
        "defaultErrnoRet": profile.get("defaultErrnoRet", 1),
        "architectures": sorted(_ARCHITECTURES),
        "syscalls": calls,
    }
