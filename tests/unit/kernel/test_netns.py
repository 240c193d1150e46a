"""Names of network namespaces, read by one rule."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tcptrace.kernel import netns

OWN = Path("/proc/self/ns/net").stat().st_ino


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(netns, "_NAMED", tmp_path / "netns")
    return tmp_path / "netns"


def test_without_a_directory_there_are_no_names(directory: Path) -> None:
    assert netns.named() == {}
    assert netns.changed_ns() == 0
    directory.mkdir()
    assert netns.changed_ns() > 0


def test_only_files_that_are_namespaces_are_names(directory: Path) -> None:
    directory.mkdir()
    (directory / "blue").symlink_to("/proc/self/ns/net")
    (directory / "a-file").touch()
    (directory / "dangling").symlink_to("/nowhere")
    assert netns.named() == {OWN: ("blue", directory / "blue")}


def test_of_several_names_the_first_counts_for_all_who_ask(directory: Path) -> None:
    directory.mkdir()
    for name in ("red", "blue", "green"):
        (directory / name).symlink_to("/proc/self/ns/net")
    assert netns.named()[OWN][0] == "blue"


def test_bytes_that_are_no_text_are_escaped(directory: Path) -> None:
    directory.mkdir()
    path = os.fsencode(directory) + b"/\xff"
    os.symlink(b"/proc/self/ns/net", path)  # noqa: PTH211 - a name of bytes
    name, where = netns.named()[OWN]
    assert name == "\\xff"
    assert netns.inode_of(where) == OWN


def test_a_path_to_something_else_is_told(tmp_path: Path) -> None:
    assert netns.inode_of(netns.OWN) == OWN
    with pytest.raises(netns.NoNamespaceError, match="is no network namespace"):
        netns.inode_of(tmp_path)
    with pytest.raises(FileNotFoundError):
        netns.inode_of(tmp_path / "none")
