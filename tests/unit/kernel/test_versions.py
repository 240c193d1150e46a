from __future__ import annotations

import platform
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from tcptrace import __version__
from tcptrace.cli import main
from tcptrace.kernel import versions

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions, "DIST_PACKAGES", (str(tmp_path),))
    monkeypatch.setattr(sys, "path", [])


def test_each_part_has_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["--version"]) == 0
    told = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in told] == ["tcptrace", "kernel", "bcc", "Python", "carriers"]
    assert told[0] == f"tcptrace {__version__}"
    assert platform.release() in told[1]


def test_bcc_is_read_not_imported(tmp_path: Path) -> None:
    assert versions.bcc_version() == "not installed: apt-get install python3-bpfcc"
    package = tmp_path / "bcc"
    package.mkdir()
    assert "PyPI's bcc" in versions.bcc_version()
    (package / "libbcc.py").touch()
    (package / "version.py").write_text("raise SystemExit\n")
    assert "of an unknown version" in versions.bcc_version()
    (package / "version.py").write_text("__version__ = '0.29.1+ds-1'\nraise SystemExit\n")
    assert versions.bcc_version() == "0.29.1+ds-1"
    (package / "version.py").write_bytes(b"__version__ = '\x1b[2J'\xff")
    assert "of an unknown version" in versions.bcc_version()


def test_what_may_carry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions, "_BTF", tmp_path / "btf")
    monkeypatch.setattr(versions, "_KPROBES", tmp_path / "kprobe")
    assert versions.carriers().startswith("none")
    (tmp_path / "kprobe").touch()
    assert versions.carriers().startswith("kprobe (")
    (tmp_path / "btf").touch()
    assert versions.carriers().startswith("fentry, kprobe (")


def test_it_comes_at_once_and_loads_nothing_heavy() -> None:
    script = (
        "import sys; from tcptrace.kernel.versions import version_lines; version_lines()\n"
        "print([name for name in ('bcc', 'ctypes', 'numpy', 'subprocess') if name in sys.modules])"
    )
    began_s = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"
    assert time.monotonic() - began_s < 5
