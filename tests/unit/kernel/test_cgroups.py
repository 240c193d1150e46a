from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

from tcptrace.kernel import cgroups
from tcptrace.kernel.cgroups import CgroupNames

if TYPE_CHECKING:
    from pathlib import Path


class Hierarchy:
    """A directory in the hierarchy's place, and a clock that stands still."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root
        self.now_s = 1000.0
        (root / "cgroup.controllers").touch()
        monkeypatch.setattr(cgroups, "_ROOT", str(root))
        monkeypatch.setattr("time.monotonic", lambda: self.now_s)

    def make(self, path: str | bytes) -> int:
        whole = os.path.join(os.fsencode(self.root), os.fsencode(path))  # noqa: PTH118 - bytes
        os.makedirs(whole)  # noqa: PTH103
        return os.stat(whole).st_ino  # noqa: PTH116


@pytest.fixture
def hierarchy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hierarchy:
    return Hierarchy(tmp_path, monkeypatch)


def test_a_cgroup_is_named_by_its_path(hierarchy: Hierarchy) -> None:
    nginx = hierarchy.make("system.slice/nginx.service")
    names = CgroupNames()
    assert names.path(nginx) == "/system.slice/nginx.service"
    assert names.path(hierarchy.root.stat().st_ino) == "/"
    assert names.path(0) == ""
    assert names.path(1) == ""


def test_it_walks_again_for_a_new_one_but_not_at_once(hierarchy: Hierarchy) -> None:
    names = CgroupNames()
    assert names.path(1) == ""
    new = hierarchy.make("new")
    assert names.path(new) == ""
    hierarchy.now_s += 11
    assert names.path(new) == "/new"


def test_one_that_is_gone_is_forgotten_at_the_next_walk(hierarchy: Hierarchy) -> None:
    gone = hierarchy.make("gone")
    names = CgroupNames()
    assert names.path(gone) == "/gone"
    shutil.rmtree(hierarchy.root / "gone")
    assert names.path(gone) == "/gone"
    hierarchy.now_s += 11
    assert names.path(1) == ""
    assert names.path(gone) == ""


def test_links_are_not_followed(hierarchy: Hierarchy) -> None:
    inner = hierarchy.make("a/b")
    (hierarchy.root / "a/b/up").symlink_to("..")
    assert CgroupNames().path(inner) == "/a/b"


def test_a_hostile_name_is_text(hierarchy: Hierarchy) -> None:
    hostile = hierarchy.make(b"a\xff\x1b[2J\n")
    path = CgroupNames().path(hostile)
    assert path == "/a\\xff\x1b[2J\n"
    path.encode()


def test_no_more_than_so_many_are_kept(
    hierarchy: Hierarchy, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(20):
        hierarchy.make(str(number))
    monkeypatch.setattr(cgroups, "_MOST", 5)
    names = CgroupNames()
    names.path(1)
    assert len(names._paths) == 5


def test_no_hierarchy_at_all(hierarchy: Hierarchy) -> None:
    shutil.rmtree(hierarchy.root)
    assert CgroupNames().path(77) == ""


def test_ids_are_not_looked_up_in_a_hierarchy_of_version_1(hierarchy: Hierarchy) -> None:
    (hierarchy.root / "cgroup.controllers").unlink()
    assert CgroupNames().path(hierarchy.make("nginx")) == ""
