"""What the loader compiles, and what again when the kernel refuses something; no bcc, no kernel."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from tcptrace.kernel import loader
from tcptrace.kernel.binding import NotAttached
from tcptrace.kernel.hooks import Carrier, Hook, Program
from tcptrace.kernel.options import TraceOptions

if TYPE_CHECKING:
    from collections.abc import Callable

    Attach = Callable[["FakeKernel"], tuple[Any, list[int]]]

TRACEPOINT = Hook("state", "on_state", (), "states", is_tracepoint=True)
FUNCTION = Hook("tcp_connect", "on_connect", (), "connects")
SPARE = Hook("tcp_abort", "on_abort", (), "aborts", optional=True)
PROBED = Hook("tcp_v6_syn_recv_sock", "on_syn_recv_sock", (), "children", optional=True)
CHOSEN = [
    (Program(FUNCTION, Carrier.FENTRY, 0),),
    (Program(SPARE, Carrier.FENTRY, 1),),
    (Program(PROBED, Carrier.FENTRY, 3), Program(PROBED, Carrier.KPROBE, 3)),
    (Program(TRACEPOINT, Carrier.TP_BTF, 2), Program(TRACEPOINT, Carrier.RAW_TRACEPOINT, 2)),
]


class FakeKernel:
    """Refuses some carriers; keeps what was compiled, and what is open.

    Args:
        refused: hooks and carriers.
    """

    def __init__(self, *refused: tuple[Hook, Carrier]) -> None:
        self.refused = refused
        self.compiled: list[int] = []
        self.opened: list[int] = []

    def build(self, _loading: Any, chosen: list[tuple[Program, ...]]) -> Any:
        self.compiled.append(sum(map(len, chosen)))
        maps = {"events": SimpleNamespace(map_fd=100), "counters": SimpleNamespace(map_fd=101)}
        return maps, {}

    def attach_one(
        self, _bcc: Any, _module: Any, _names: Any, candidates: tuple[Program, ...], _type_of: Any
    ) -> tuple[Program, int, int]:
        for program in candidates:
            if (program.hook, program.carrier) not in self.refused:
                pair = os.pipe()
                self.opened += pair
                return program, *pair
        raise NotAttached("no", candidates[0].hook)

    @property
    def open(self) -> list[int]:
        return [one for one in self.opened if os.path.exists(f"/proc/self/fd/{one}")]  # noqa: PTH110


@pytest.fixture
def attach(monkeypatch: pytest.MonkeyPatch) -> Attach:
    def run(kernel: FakeKernel) -> tuple[Any, list[int]]:
        monkeypatch.setattr(loader, "choose_here", lambda *_: (CHOSEN, []))
        monkeypatch.setattr(loader, "_build", kernel.build)
        monkeypatch.setattr(loader, "attach_one", kernel.attach_one)
        loading: Any = SimpleNamespace(bcc=None, layouts=None, options=TraceOptions())
        return loader._attach_best(loading, "fentry")

    return run


def carriers(manifest: dict[str, Any]) -> dict[str, str]:
    return {hook["name"]: hook["carrier"] for hook in manifest["attached"]}


def test_the_best_alone_is_compiled(attach: Attach) -> None:
    kernel = FakeKernel()
    manifest, descriptors = attach(kernel)
    assert kernel.compiled == [4]
    assert carriers(manifest)["state"] == "tp_btf"
    assert descriptors == [100, 101, *kernel.opened]


def test_all_are_compiled_where_the_best_is_refused(attach: Attach) -> None:
    kernel = FakeKernel((TRACEPOINT, Carrier.TP_BTF))
    manifest, descriptors = attach(kernel)
    assert kernel.compiled == [4, 6]
    assert carriers(manifest)["state"] == "raw_tracepoint"
    assert set(descriptors[2:]) == set(kernel.open)
    assert descriptors[2:] == kernel.opened[-8:]


def test_one_that_is_needed_and_has_no_other_ends_it(attach: Attach) -> None:
    kernel = FakeKernel((FUNCTION, Carrier.FENTRY))
    with pytest.raises(NotAttached):
        attach(kernel)
    assert kernel.compiled == [4]
    assert kernel.open == []


def test_one_that_is_spared_is_told(attach: Attach) -> None:
    kernel = FakeKernel((SPARE, Carrier.FENTRY))
    manifest, _ = attach(kernel)
    assert kernel.compiled == [4]
    assert manifest["lacking"] == [{"name": "tcp_abort", "tells": "aborts"}]


def test_one_that_could_be_spared_is_carried_another_way(attach: Attach) -> None:
    kernel = FakeKernel((PROBED, Carrier.FENTRY))
    manifest, descriptors = attach(kernel)
    assert kernel.compiled == [4, 6]
    assert carriers(manifest)["tcp_v6_syn_recv_sock"] == "kprobe"
    assert manifest["lacking"] == []
    assert set(descriptors[2:]) == set(kernel.open)


@pytest.mark.parametrize("is_late", [False, True])
def test_what_the_kernel_counts_late_is_not_to_be_compared(
    monkeypatch: pytest.MonkeyPatch, *, is_late: bool
) -> None:
    class FakeBtf:
        def has_bitfield(self, struct: str, name: str) -> bool:
            return is_late and (struct, name) == ("inet_timewait_sock", "tw_kill")

    monkeypatch.setattr(loader, "Btf", FakeBtf)
    layouts: Any = FakeBtf()
    assert loader._uncompared(layouts) == (["TW+TWKilled"] if is_late else [])
    headers: Any = None
    assert loader._uncompared(headers) == []
