from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

import pytest

from tcptrace.kernel.config import Config

if TYPE_CHECKING:
    from pathlib import Path

TEXT = (
    b"#\n# Linux\n#\nCONFIG_BPF=y\nCONFIG_TCP_DIAG=m\n# CONFIG_KPROBES is not set\nCONFIG_HZ=250\n"
)


@pytest.mark.parametrize("is_packed", [True, False])
def test_it_tells_what_a_kernel_was_built_without(tmp_path: Path, is_packed: bool) -> None:
    path = tmp_path / ("config.gz" if is_packed else "config-6.1.0-28-amd64")
    path.write_bytes(gzip.compress(TEXT) if is_packed else TEXT)
    config = Config.of_file(path)
    assert config.told_by == path
    wanted = ("CONFIG_BPF", "CONFIG_KPROBES", "CONFIG_TCP_DIAG", "CONFIG_NEW")
    assert config.lacks(wanted) == ["CONFIG_KPROBES", "CONFIG_NEW"]


def test_what_is_damaged_tells_nothing(tmp_path: Path) -> None:
    path = tmp_path / "config.gz"
    path.write_bytes(gzip.compress(TEXT)[:-9])
    with pytest.raises(EOFError):
        Config.of_file(path)
