"""What this machine's namespaces and cgroups are called, from records that name them."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tcptrace.kernel import cgroups, netns
from tcptrace.kernel.surroundings import Surroundings
from tcptrace.wire.layout import RECORD_SIZE, STACK_SIZE
from unit import samples

if TYPE_CHECKING:
    import pytest

OWN = Path("/proc/self/ns/net").stat().st_ino


def test_records_have_their_cgroups_and_namespaces_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cgroups, "_ROOT", str(tmp_path / "cgroup"))
    monkeypatch.setattr(netns, "_NAMED", tmp_path / "netns")
    web = tmp_path / "cgroup" / "web.service"
    web.mkdir(parents=True)
    (tmp_path / "cgroup" / "cgroup.controllers").touch()
    (tmp_path / "netns").mkdir()
    (tmp_path / "netns" / "blue").symlink_to("/proc/self/ns/net")
    (tmp_path / "netns" / "no namespace").touch()
    (tmp_path / "netns" / "gone").symlink_to("nowhere")
    for stride in (RECORD_SIZE, RECORD_SIZE + STACK_SIZE):
        kept = Surroundings(stride)
        told = samples.record()._replace(cgroup=web.stat().st_ino, netns=OWN)
        stack = bytes(stride - RECORD_SIZE)
        kept.notice(samples.batch(samples.record()) + stack + samples.batch(told) + stack)
        assert kept.names.own_netns == OWN
        assert kept.names.namespaces == {OWN: "blue"}
        assert kept.names.cgroups == {web.stat().st_ino: "/web.service"}
        workload = kept.names.workload(web.stat().st_ino)
        assert workload is not None
        assert workload.unit == "web.service"


def test_a_name_that_is_gone_is_none_of_the_next_socket(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(netns, "_NAMED", tmp_path)
    (tmp_path / "blue").symlink_to("/proc/self/ns/net")
    kept = Surroundings(RECORD_SIZE)
    told = samples.record()._replace(netns=OWN)
    begun = samples.batch(told._replace(cgroup=5))
    kept.notice(begun)
    assert kept.names.namespaces == {OWN: "blue"}
    (tmp_path / "blue").unlink()
    deadline_s = time.monotonic() + 10
    while kept.is_named(OWN):
        assert time.monotonic() < deadline_s
        kept.notice(samples.batch(told))
    assert kept.names.namespaces == {OWN: "blue"}
    kept.notice(begun)
    assert kept.names.namespaces == {}


def test_one_that_comes_later_is_found_when_a_record_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cgroups, "_ROOT", str(tmp_path))
    (tmp_path / "cgroup.controllers").touch()
    kept = Surroundings(RECORD_SIZE)
    (tmp_path / "late").mkdir()
    inode = os.stat(tmp_path / "late").st_ino  # noqa: PTH116
    kept.notice(samples.batch(samples.record()._replace(cgroup=inode)))
    (tmp_path / "late").rmdir()
    assert kept.names.cgroups == {inode: "/late"}
