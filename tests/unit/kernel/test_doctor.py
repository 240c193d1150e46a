"""What doctor says to do: by what a host lacks. Whether its checks are right, hosts show."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tcptrace.kernel import capabilities, doctor
from tcptrace.kernel.config import Config

if TYPE_CHECKING:
    from collections.abc import Callable

FORBIDDEN = "the kernel refuses the fentry on tcp_connect (EPERM)"
ALL = {*doctor._BUILT_WITH["fentry"], *doctor._BUILT_WITH["kprobe"]}


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., None]:
    """Makes this host another one, all of whose kernel is there unless it is told."""

    def make(*, without: str = "", uid_map: str = "0 0 4294967295", kprobes: str = "1\n") -> None:
        told = Config(Path("/boot/config-6.1"), frozenset(ALL - {without}))
        monkeypatch.setattr(Config, "of_kernel", lambda: told)
        (tmp_path / "map").write_text(uid_map)
        (tmp_path / "enabled").write_text(kprobes)
        monkeypatch.setattr(doctor, "_UID_MAP", tmp_path / "map")
        monkeypatch.setattr(doctor, "_KPROBES_ENABLED", tmp_path / "enabled")
        pmu = tmp_path / ("none" if without else "enabled")
        monkeypatch.setattr(doctor, "_KPROBE_PMU", pmu)
        monkeypatch.setattr(capabilities, "missing", list)

    return make


def test_kprobes_are_mended_by_what_is_wrong_with_them(host: Callable[..., None]) -> None:
    host()
    assert doctor._kprobes().ok
    host(kprobes="0\n")
    check = doctor._kprobes()
    assert (check.ok, check.mend.split()[:2]) == (False, ["echo", "1"])
    host(without="CONFIG_KPROBES")
    check = doctor._kprobes()
    assert not check.ok
    assert check.mend == "a kernel with CONFIG_KPROBES: not set in /boot/config-6.1"


def test_where_nothing_tells_how_the_kernel_was_built_both_are_named(
    host: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    host(without="CONFIG_KPROBES")
    monkeypatch.setattr(Config, "of_kernel", lambda: None)
    assert doctor._kprobes().mend == "a kernel with CONFIG_KPROBES and CONFIG_KPROBE_EVENTS"


def mend(way: str, found: str) -> str:
    return doctor._way_to(way, found)


def test_a_refusal_is_mended_by_what_the_host_lacks(
    host: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    host(without="CONFIG_BPF_JIT")
    assert mend("fentry", FORBIDDEN) == "a kernel with CONFIG_BPF_JIT: not set in /boot/config-6.1"
    assert "CONFIG" not in mend("kprobe", FORBIDDEN)
    host(uid_map="0 100000 65536")
    assert "user namespace" in mend("fentry", FORBIDDEN)
    host()
    assert mend("fentry", FORBIDDEN).startswith("look for lockdown")
    doctor._UID_MAP.unlink()  # a kernel without user namespaces
    assert mend("fentry", FORBIDDEN).startswith("look for lockdown")
    assert mend("fentry", "bcc died").startswith("TCPTRACE_DEBUG=1 tcptrace port 1 --attach fentry")
    monkeypatch.setattr(capabilities, "missing", lambda: [capabilities.NEEDED[0]])
    assert "privileges" in mend("fentry", FORBIDDEN)
