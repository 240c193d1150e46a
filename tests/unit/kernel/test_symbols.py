from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tcptrace.errors import CannotTrace
from tcptrace.kernel import symbols
from tcptrace.kernel.symbols import Symbols, kallsyms, stext

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KALLSYMS = b"""\
ffffffff81000000 T _stext
ffffffff81000200 t tcp_done
ffffffff81000100 T tcp_set_state
ffffffff81000280 D tcp_prot
ffffffffc0000000 t module_function\t[module]
ffffffff80fff000 T startup_64
"""


@pytest.fixture
def proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A /proc/kallsyms of our own."""
    path = tmp_path / "kallsyms"
    path.write_bytes(KALLSYMS)
    monkeypatch.setattr(symbols, "_KALLSYMS", path)
    kallsyms.cache_clear()
    yield path
    kallsyms.cache_clear()


@pytest.mark.parametrize(
    ("offset", "name"),
    [(0, "a"), (9, "a"), (10, "b"), (19, "b"), (20, "c"), (10**9, "c")],
)
def test_an_offset_lies_in_the_function_before_it(offset: int, name: str) -> None:
    assert Symbols([(20, "c"), (0, "a"), (10, "b")]).name(offset) == name


def test_before_the_first_there_is_none() -> None:
    assert Symbols([(10, "b")]).name(9) is None
    assert Symbols([]).name(0) is None


@pytest.mark.usefixtures("proc")
def test_the_kernels_own_functions() -> None:
    found = Symbols.of_kernel()
    assert found.name(0x100) == "tcp_set_state"
    assert found.name(0x1FF) == "tcp_set_state"
    assert found.name(0x200) == "tcp_done"
    assert found.name(0x290) == "tcp_done", "data is no function"
    assert found.name(0x3F000000) == "module_function"


@pytest.mark.usefixtures("proc")
def test_stext() -> None:
    assert stext() == 0xFFFFFFFF81000000


@pytest.mark.parametrize("hidden", [b"0000000000000000 T _stext\n", b""])
def test_hidden_addresses_are_told(proc: Path, hidden: bytes) -> None:
    proc.write_bytes(hidden)
    with pytest.raises(CannotTrace, match="kptr_restrict"):
        stext()
