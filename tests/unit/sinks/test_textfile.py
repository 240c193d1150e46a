from __future__ import annotations

import errno
import os
import stat
import threading
from pathlib import Path

import pytest

from tcptrace.errors import OutputFailed
from tcptrace.sinks.textfile import NAME, Textfile


def files_in(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_the_file_holds_the_last_text_and_anybody_may_read_it(tmp_path: Path) -> None:
    for text in (b"first\n" * 1000, b"second\n"):
        Textfile(tmp_path).write(text)
        assert (tmp_path / NAME).read_bytes() == text
    assert files_in(tmp_path) == [NAME]
    assert stat.S_IMODE((tmp_path / NAME).stat().st_mode) == 0o644


def test_a_reader_never_sees_half_of_it(tmp_path: Path) -> None:
    texts = {bytes([letter]) * 200_000 for letter in b"ab"}
    Textfile(tmp_path).write(min(texts))
    stop = threading.Event()
    seen: set[bytes] = set()

    def read() -> None:
        while not stop.is_set():
            seen.add((tmp_path / NAME).read_bytes())

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(50):
        for text in texts:
            Textfile(tmp_path).write(text)
    stop.set()
    reader.join()
    assert seen <= texts


def test_what_node_exporter_takes_is_never_a_half_written_file(tmp_path: Path) -> None:
    """It takes every *.prom in the directory."""
    names: list[str] = []
    replace = os.replace

    def note(source: str, target: Path) -> None:
        names.extend(files_in(tmp_path))
        replace(source, target)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "replace", note)
        Textfile(tmp_path).write(b"text\n")
    assert len(names) == 1
    assert names[0].startswith(".")
    assert not names[0].endswith(".prom")


@pytest.mark.parametrize("name", ["nowhere", "a-file"])
def test_a_directory_that_is_none(tmp_path: Path, name: str) -> None:
    (tmp_path / "a-file").touch()
    with pytest.raises(OutputFailed, match="must be writable for --user") as caught:
        Textfile(tmp_path / name).write(b"text\n")
    assert "\n" not in str(caught.value)


def test_a_directory_that_takes_nothing() -> None:
    """Neither from root nor from anybody else."""
    with pytest.raises(OutputFailed, match=r"--textfile /proc/tcptrace\.prom"):
        Textfile(Path("/proc")).write(b"text\n")


def test_a_target_that_can_not_be_replaced_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / NAME).mkdir()
    with pytest.raises(OutputFailed, match="Is a directory"):
        Textfile(tmp_path).write(b"text\n")
    assert files_in(tmp_path) == [NAME]


def test_a_full_disk_keeps_the_former_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Textfile(tmp_path).write(b"former\n")

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fchmod", refuse)
    with pytest.raises(OutputFailed, match="No space left on device"):
        Textfile(tmp_path).write(b"new\n")
    assert files_in(tmp_path) == [NAME]
    assert (tmp_path / NAME).read_bytes() == b"former\n"


def test_it_is_removed_if_it_can_be(tmp_path: Path) -> None:
    Textfile(tmp_path).write(b"text\n")
    Textfile(tmp_path).remove()
    assert not files_in(tmp_path)
    Textfile(tmp_path).remove()
    Textfile(tmp_path / "nowhere").remove()
    Textfile(Path("/proc")).remove()
