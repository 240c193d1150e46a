"""Examines what tracing needs on this host, down to whether every hook really fires."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from tcptrace.errors import TcptraceError
from tcptrace.kernel import capabilities, privileges, seccomp, selftest
from tcptrace.kernel.attaching import Attached, attach
from tcptrace.kernel.btf import VMLINUX, Btf, NoBtf
from tcptrace.kernel.cgroups import what_is_there
from tcptrace.kernel.config import Config
from tcptrace.kernel.headers import find_headers, how_to_install
from tcptrace.kernel.live import LiveSource, head_of
from tcptrace.kernel.options import TraceOptions
from tcptrace.kernel.tcp_ext import tcp_ext_flags

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_KPROBE_PMU: Final = Path("/sys/bus/event_source/devices/kprobe/type")
_KPROBES_ENABLED: Final = Path("/sys/kernel/debug/kprobes/enabled")
_KPROBES: Final = ("CONFIG_KPROBES", "CONFIG_KPROBE_EVENTS")
_BUILT_WITH: Final = {
    "fentry": (
        *("CONFIG_BPF_SYSCALL", "CONFIG_BPF_JIT", "CONFIG_BPF_EVENTS"),
        "CONFIG_DYNAMIC_FTRACE_WITH_DIRECT_CALLS",
    ),
    "kprobe": ("CONFIG_BPF_SYSCALL", "CONFIG_BPF_EVENTS", *_KPROBES),
}
"""What a kernel must be built with, by the way to attach."""
_UID_MAP: Final = Path("/proc/self/uid_map")
_EVERYBODY: Final = ["0", "0", "4294967295"]
"""The map of the host's own user namespace."""
_LOCKDOWN: Final = Path("/sys/kernel/security/lockdown")
_FIRST_KERNEL: Final = (5, 10)
_SELFTEST_S: Final = 25.0
_IPV6_HOOKS: Final = ("tcp_v6_syn_recv_sock", "tcp_v6_send_reset")
_RARE_HOOKS: Final = (
    "cookie_v4_check",
    "cookie_v6_check",
    "__cookie_v4_check",
    "__cookie_v6_check",
    "tcp_req_err",
    "tcp_abort",
)
"""Only SYN cookies, ICMP errors and ss -K make them fire, which the self-test does not provoke."""
_BY_LENGTHS: Final = "by the queues' lengths, a moment old: "
_COST: Final = {
    "fentry": "by kprobes, which miss more under load",
    "kprobe": "by fentry and tracepoints",
}


class Check(NamedTuple):
    """One thing that tracing needs.

    Attributes:
        found: what is there.
        mend: what to do if it isn't right; empty where nothing need be done.
    """

    name: str
    ok: bool
    found: str
    mend: str = ""


def examine() -> list[Check]:
    """Looks at everything, in the order in which a trace needs it."""
    checks = [
        _kernel(),
        _privileges(),
        _lockdown(),
        *_btf(),
        _kprobes(),
        _bcc(),
        _user(),
        _cgroups(),
        _seccomp(),
    ]
    if os.geteuid() != 0:
        checks.append(
            Check("hooks", ok=False, found="not tried without root", mend="sudo tcptrace doctor")
        )
        return checks
    return [*checks, *_hooks()]


def _kernel() -> Check:
    release = platform.release()
    version = tuple(int(part) for part in release.split("-")[0].split(".")[:2] if part.isdigit())
    found = f"{release}, {platform.machine()}"
    mend = "tracing needs Linux 5.10 or later"
    return Check("kernel", version >= _FIRST_KERNEL, found, mend)


def _privileges() -> Check:
    lacks = capabilities.missing()
    found = capabilities.told(lacks) or "CAP_SYS_ADMIN present"
    mend = "run as root: sudo tcptrace …; in a container give it these capabilities: docs/fleet.md"
    is_root = os.geteuid() == 0
    return Check("privileges", is_root and not lacks, f"uid {os.geteuid()}, {found}", mend)


def _lockdown() -> Check:
    try:
        mode = _LOCKDOWN.read_text(encoding="ascii").partition("[")[2].partition("]")[0]
    except OSError:
        return Check("lockdown", ok=True, found="this kernel has none, or hides it")
    mend = "lockdown=confidentiality forbids reading kernel memory: boot without it"
    return Check("lockdown", mode != "confidentiality", mode or "none", mend)


def _btf() -> tuple[Check, Check]:
    """BTF; and how drops get their stages: a trace does without, but may misjudge a full queue."""
    stages = Check("stages of drops", ok=True, found=f"{_BY_LENGTHS}no BTF can be read")
    try:
        btf = Btf.of_kernel()
    except NoBtf as lack:
        headers = find_headers()
        mend = f"{how_to_install()}, or a kernel built with CONFIG_DEBUG_INFO_BTF"
        instead = f"its headers instead, in {headers}; no fentry" if headers else "nor its headers"
        return Check("BTF", headers is not None, f"{lack}, {instead}", mend), stages
    except TcptraceError as error:
        return Check("BTF", ok=False, found=str(error)), stages
    has_counters = bool(tcp_ext_flags(btf))
    by_lengths = f"{_BY_LENGTHS}BTF has no per-CPU variables here"
    stages = stages._replace(found="by the kernel's own counters" if has_counters else by_lengths)
    size = VMLINUX.stat().st_size / 1e6
    return Check("BTF", ok=True, found=f"{VMLINUX}, {size:.1f} MB"), stages


def _kprobes() -> Check:
    try:
        enabled = _KPROBES_ENABLED.read_text(encoding="ascii").strip() != "0"
    except OSError:
        enabled = True  # debugfs isn't mounted; the hooks below will tell
    if not _KPROBE_PMU.exists():
        mend = _other_kernel(_KPROBES) or f"a kernel with {' and '.join(_KPROBES)}"
        return Check("kprobes", ok=False, found="this kernel has no kprobe events", mend=mend)
    found = "enabled" if enabled else "switched off by kprobes/enabled"
    return Check("kprobes", enabled, found, f"echo 1 > {_KPROBES_ENABLED}")


def _other_kernel(wanted: Sequence[str]) -> str:
    """Names what this kernel was built without of what is wanted; "" if nothing, or it is unknown.

    Args:
        wanted: options of its configuration.
    """
    config = Config.of_kernel()
    lacks = config.lacks(wanted) if config else []
    return (
        f"a kernel with {' and '.join(lacks)}: not set in {config.told_by}"
        if config and lacks
        else ""
    )


def _bcc() -> Check:
    """Asks a child: this process never maps bcc."""
    child = subprocess.run(
        [sys.executable, "-P", "-m", "tcptrace.kernel.loader"],
        capture_output=True,
        text=True,
        check=False,
    )
    found = (child.stdout or child.stderr).strip().splitlines()
    return Check(
        "bcc",
        child.returncode == 0,
        found[-1] if found else "the loader died",
        "apt-get install python3-bpfcc (not PyPI's bcc, which is something else)",
    )


def _user() -> Check:
    try:
        user = privileges.find_user(TraceOptions().user)
    except TcptraceError as error:
        return Check("collector's user", ok=False, found=str(error), mend="name another by --user")
    return Check("collector's user", ok=True, found=f"{user.pw_name}, uid {user.pw_uid}")


def _cgroups() -> Check:
    """Nothing depends on them but names."""
    return Check("cgroups", ok=True, found=what_is_there())


def _seccomp() -> Check:
    """Tracing goes on without; that it does is told here, and when a trace begins."""
    found = f"{seccomp.LIBRARY}, the collector's system calls are filtered"
    if not seccomp.is_available():
        found = f"no {seccomp.LIBRARY}, so no filter (Debian: apt-get install libseccomp2)"
    return Check("seccomp", ok=True, found=found)


def _hooks() -> list[Check]:
    """Attaches everything both ways, one after the other, and sends traffic of its own."""
    firings = _Firings({}, {})
    refused: dict[str, str] = {}
    for way in ("fentry", "kprobe"):
        try:
            _try_hooks(way, firings)
        except TcptraceError as error:
            refused[way] = str(error).removesuffix(": see `tcptrace doctor`")
        except OSError as error:
            refused[way] = f"loopback doesn't work for the self-test: {error.strerror}"
    return [*_ways(refused), *_rows(firings)]


def _ways(refused: dict[str, str]) -> Iterable[Check]:
    """One way to attach is enough: `--attach auto` finds it."""
    for way, found in refused.items():
        is_enough = len(refused) == 1
        instead = "; instead " + _COST[way] if is_enough else ""
        yield Check(f"attach {way}", is_enough, found + instead, _way_to(way, found))


def _way_to(way: str, found: str) -> str:
    """What to do where a way to attach is refused: by what this host lacks, the nearest first."""
    if capabilities.missing():
        return "the capabilities that are missing: privileges, above"
    if mend := _other_kernel(_BUILT_WITH[way]):
        return mend
    # Where there is no such file there are no user namespaces.
    if _UID_MAP.exists() and _UID_MAP.read_text(encoding="ascii").split() != _EVERYBODY:
        return "root in the host's own user namespace: this is another one's"
    reasons = f"TCPTRACE_DEBUG=1 tcptrace port 1 --attach {way} shows what the kernel says"
    if "EPERM" in found:
        return f"look for lockdown, a security module, a sandbox: root may not either; {reasons}"
    return reasons


class _Firings(NamedTuple):
    """What each hook did, by its name: runs by carrier, or what is wrong."""

    fired: dict[str, dict[str, int]]
    failed: dict[str, str]


def _try_hooks(way: str, firings: _Firings) -> None:
    options = TraceOptions(attach=way, ledger=True)
    attached = attach(options, count_hits=True)
    source = LiveSource(attached, head_of(options, attached), options)
    try:
        selftest.exercise(lambda: _have_fired(source, attached), _SELFTEST_S)
        _judge(source, attached, firings)
    finally:
        source.close()


def _have_fired(source: LiveSource, attached: Attached) -> bool:
    source.snapshot(lambda: None)  # while the self-test has sockets to be seen
    hooks = attached.manifest["attached"]
    return all(
        hits or hook["name"] in _RARE_HOOKS for hook, hits in zip(hooks, source.hits(), strict=True)
    )


def _judge(source: LiveSource, attached: Attached, firings: _Firings) -> None:
    has_ipv6 = len(selftest.families()) > 1
    for hook, hits in zip(attached.manifest["attached"], source.hits(), strict=True):
        name, carrier = hook["name"], hook["carrier"]
        carriers = firings.fired.setdefault(name, {})
        carriers[carrier] = carriers.get(carrier, 0) + hits
        if not hits and name not in _RARE_HOOKS and (has_ipv6 or name not in _IPV6_HOOKS):
            firings.failed[name] = f"{carrier} attached, but never fired"
    for hook in attached.manifest["lacking"]:
        firings.fired[hook["name"]] = {f"not in this kernel: no news of {hook['tells']}": 0}


def _rows(firings: _Firings) -> Iterable[Check]:
    mend = "this kernel accepts probes but does not run them: a sandbox or a hardened kernel"
    # They attach from a life's end to its beginning; people read from its beginning.
    for name in reversed({**firings.failed, **firings.fired}):
        if name in firings.failed:
            yield Check(name, ok=False, found=firings.failed[name], mend=mend)
        else:
            fired = firings.fired[name].items()
            found = [f"{carrier} {hits}×" if hits else carrier for carrier, hits in fired]
            heading = "fired: " if any(hits for _, hits in fired) else ""
            if name in _RARE_HOOKS and not heading:
                heading = "attached, rarely runs: "
            yield Check(name, ok=True, found=heading + ", ".join(found))
