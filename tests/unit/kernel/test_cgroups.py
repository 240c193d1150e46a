from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

from tcptrace.kernel import cgroups
from tcptrace.kernel.cgroups import walk_cgroups

if TYPE_CHECKING:
    from pathlib import Path


class Hierarchy:
    """A directory in the hierarchy's place."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root
        (root / "cgroup.controllers").touch()
        monkeypatch.setattr(cgroups, "_ROOT", str(root))

    def make(self, path: str | bytes) -> int:
        whole = os.path.join(os.fsencode(self.root), os.fsencode(path))  # noqa: PTH118 - bytes
        os.makedirs(whole)  # noqa: PTH103
        return os.stat(whole).st_ino  # noqa: PTH116

    def walked(self) -> dict[int, str]:
        return dict(found for found in walk_cgroups() if found is not None)


@pytest.fixture
def hierarchy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hierarchy:
    return Hierarchy(tmp_path, monkeypatch)


def test_cgroups_are_named_by_their_paths(hierarchy: Hierarchy) -> None:
    nginx = hierarchy.make("system.slice/nginx.service")
    found = hierarchy.walked()
    assert found[nginx] == "/system.slice/nginx.service"
    assert found[hierarchy.root.stat().st_ino] == "/"
    assert sorted(found.values()) == ["/", "/system.slice", "/system.slice/nginx.service"]


def test_the_outer_ones_come_first(hierarchy: Hierarchy) -> None:
    for path in ("a/a/a/a", "b"):
        hierarchy.make(path)
    lengths = [len(path) for path in hierarchy.walked().values()]
    assert lengths == sorted(lengths)


def test_links_are_not_followed(hierarchy: Hierarchy) -> None:
    inner = hierarchy.make("a/b")
    (hierarchy.root / "a/b/up").symlink_to("..")
    assert hierarchy.walked()[inner] == "/a/b"


def test_a_hostile_name_is_text(hierarchy: Hierarchy) -> None:
    hostile = hierarchy.make(b"a\xff\x1b[2J\n")
    path = hierarchy.walked()[hostile]
    assert path == "/a\\xff\x1b[2J\n"
    path.encode()


def test_there_is_an_end_to_it(hierarchy: Hierarchy, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(20):
        hierarchy.make(f"{number}/{number}")
    monkeypatch.setattr(cgroups, "_MOST", 5)
    assert len(hierarchy.walked()) == 6


def test_paths_that_are_too_long_have_no_names(hierarchy: Hierarchy) -> None:
    hierarchy.make("/".join(["d" * 100] * 8))
    assert max(map(len, hierarchy.walked().values())) == 505


def test_what_goes_in_between_is_no_error(hierarchy: Hierarchy) -> None:
    hierarchy.make("a/b")
    stays = hierarchy.make("c/d")
    walk = walk_cgroups()
    assert next(walk) is not None
    assert {found[1] for found in (next(walk), next(walk)) if found} == {"/a", "/c"}
    shutil.rmtree(hierarchy.root / "a")
    assert [found for found in walk if found is not None] == [(stays, "/c/d")]


def test_no_hierarchy_at_all(hierarchy: Hierarchy) -> None:
    shutil.rmtree(hierarchy.root)
    assert hierarchy.walked() == {}


def test_ids_are_not_looked_up_in_a_hierarchy_of_version_1(hierarchy: Hierarchy) -> None:
    (hierarchy.root / "cgroup.controllers").unlink()
    hierarchy.make("nginx")
    assert hierarchy.walked() == {}


def test_doctor_says_what_can_be_named(
    hierarchy: Hierarchy, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "is this container's own part" in cgroups.what_is_there()
    monkeypatch.setattr(cgroups, "_ROOT_ID", hierarchy.root.stat().st_ino)
    assert cgroups.what_is_there().startswith("version 2 at ")
    (hierarchy.root / "cgroup.controllers").unlink()
    assert "has version 1, or nothing" in cgroups.what_is_there()
