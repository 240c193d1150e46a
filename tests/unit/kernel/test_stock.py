"""Stock of this process's own namespace, with memory files in the BPF maps' place."""

from __future__ import annotations

import errno
import os
import socket
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tcptrace.errors import CannotTrace
from tcptrace.kernel import netns, owners
from tcptrace.kernel import stock as module
from tcptrace.kernel.ledger import Census
from tcptrace.kernel.namespaces import WatchedNamespace
from tcptrace.kernel.sock_diag import ALL_STATES, LISTEN_ONLY
from tcptrace.kernel.stock import Stock
from tcptrace.kernel.surroundings import Surroundings
from tcptrace.tcp import State
from tcptrace.wire.layout import RECORD_SIZE
from unit import slots
from unit.kernel.test_ledger import FakeMaps

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

OWN = Path("/proc/self/ns/net").stat().st_ino


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeMaps]:
    monkeypatch.setattr(module, "watch_all", lambda _only: ([WatchedNamespace(OWN)], {}))
    fake = FakeMaps()
    yield fake
    fake.close()


@pytest.fixture
def named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """This process's own namespace is called blue."""
    monkeypatch.setattr(netns, "_NAMED", tmp_path)
    (tmp_path / "blue").symlink_to("/proc/self/ns/net")
    return tmp_path


@pytest.fixture
def stock(fake: FakeMaps, named: Path) -> Iterator[Stock]:
    assert named.exists()
    stock = Stock((fake.slots, fake.control), None, Surroundings(RECORD_SIZE))
    yield stock
    stock.close()


class Dumps:
    """Takes the dump's place: notes what the probes are told meanwhile."""

    def __init__(self, fake: FakeMaps, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[tuple[Census, int]] = []
        self.error: OSError | None = None
        self._fake = fake
        monkeypatch.setattr(module, "dump", self)

    def __call__(self, _diag: object, states: int, between: Callable[[], object]) -> None:
        self.asked.append((Census(self._fake.census), states))
        between()
        if self.error is not None:
            raise self.error


def test_a_reading_measures_the_listeners_first(
    fake: FakeMaps, stock: Stock, monkeypatch: pytest.MonkeyPatch
) -> None:
    dumps = Dumps(fake, monkeypatch)
    fake.put(1, slots.slot(netns=OWN))
    reading = stock.reading()
    assert dumps.asked == [(Census.LISTENERS, LISTEN_ONLY)]
    assert fake.census == Census.OFF
    assert [number for number, _ in reading.slots] == [0, 1]
    assert (reading.epoch, fake.epoch) == (0, 1)
    (figures,) = reading.namespaces
    assert (figures.netns, figures.name) == (OWN, "blue")
    assert all(a <= b for a, b in zip(figures.before, figures.after, strict=True))
    assert stock.reading().at_ns > reading.at_ns


def test_a_snapshot_asks_for_every_socket(
    fake: FakeMaps, stock: Stock, monkeypatch: pytest.MonkeyPatch
) -> None:
    dumps = Dumps(fake, monkeypatch)
    drained: list[int] = []
    assert stock.snapshot(lambda: drained.append(1)) == {OWN}
    assert dumps.asked == [(Census.ALL, ALL_STATES)]
    assert drained == [1]
    assert fake.census == Census.OFF


def test_a_namespace_whose_dump_fails_is_not_covered(
    fake: FakeMaps, stock: Stock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a failed walk did not find is not gone."""
    dumps = Dumps(fake, monkeypatch)
    dumps.error = OSError(errno.ENOENT, "no tcp_diag")
    assert stock.snapshot(lambda: None) == set()
    assert fake.census == Census.OFF
    assert stock.reading().slots


def test_an_inventory_counts_sockets_by_state(stock: Stock) -> None:
    """The kernel's own; no census is asked for."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        for _ in range(50):
            stack.enter_context(socket.create_connection(listener.getsockname()))
            stack.enter_context(listener.accept()[0])
        told = stock.inventory()[OWN]
    assert told.by_state[State.ESTABLISHED] >= 100
    assert told.by_state[State.LISTEN] >= 1
    assert told.in_use >= 101


def test_this_machine_is_walked_for_real(stock: Stock) -> None:
    assert stock.snapshot(lambda: None) == {OWN}
    assert stock.reading().namespaces


def test_cgroups_of_open_listeners_are_named(
    fake: FakeMaps, stock: Stock, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: set[int] = set()
    monkeypatch.setattr(stock._surroundings, "want_cgroups", asked.update)
    stock._surroundings.names.cgroups.learn(7, "/a")
    stock._surroundings.names.cgroups.learn(10, "/b")
    for number, cgroup in enumerate((7, 8, 9), 1):
        closed_at_ns = 5 if cgroup == 9 else 0
        fake.put(number, slots.slot(port=number, cgroup=cgroup, closed_at_ns=closed_at_ns))
    assert stock.reading().cgroups == {7: "/a"}
    assert asked == {0, 7, 8}
    assert stock._surroundings.names.namespaces[OWN] == "blue"


def test_namespaces_that_it_cannot_walk_over_are_told(
    fake: FakeMaps, stock: Stock, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert stock.unwatched == ""
    refused = {1: "no", 2: "never", 3: "no"}
    monkeypatch.setattr(module, "watch_all", lambda _only: ([WatchedNamespace(OWN)], refused))
    other = Stock((fake.slots, fake.control), None, Surroundings(RECORD_SIZE))
    assert other.unwatched == "3 not watched (no)"
    other.close()
    monkeypatch.setattr(module, "watch_all", lambda _only: ([], {1: "no"}))
    with pytest.raises(CannotTrace, match="can't be watched: no"):
        Stock((fake.slots, fake.control), 1, Surroundings(RECORD_SIZE))


class TestOneThatNobodyHolds:
    """This process's own stands for it."""

    @pytest.fixture
    def left(self, stock: Stock, named: Path, monkeypatch: pytest.MonkeyPatch) -> Stock:
        monkeypatch.setattr(WatchedNamespace, "is_held", lambda _self: False)
        assert stock.reading().namespaces  # it has a name
        (named / "blue").unlink()
        return stock

    def sockets(self, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(WatchedNamespace, "sockets_in_use", lambda _self: number)

    def test_is_kept_while_it_has_a_socket(
        self, left: Stock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Some later process may hold it: only a walk can tell what is there."""
        self.sockets(1, monkeypatch)
        until = time.monotonic() + 10
        while left._surroundings.is_named(OWN):
            assert time.monotonic() < until
            left.reading()
        assert left.reading().namespaces
        assert left.snapshot(lambda: None) == {OWN}

    def test_is_given_back_without(self, left: Stock, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sockets(0, monkeypatch)
        until = time.monotonic() + 10
        while left.reading().namespaces:
            assert time.monotonic() < until


@pytest.mark.parametrize(
    ("watched", "message"), [(False, "namespace is gone"), (True, "modprobe tcp_diag")]
)
def test_who_cannot_walk_does_not_begin(
    fake: FakeMaps, monkeypatch: pytest.MonkeyPatch, watched: bool, message: str
) -> None:
    namespace = WatchedNamespace(OWN)
    monkeypatch.setattr(module, "watch_all", lambda _only: ([namespace] * watched, {}))

    def refuse(_diag: object) -> set[int]:
        raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))

    monkeypatch.setattr(owners, "listening_inodes", refuse)
    with pytest.raises(CannotTrace, match=message):
        Stock((fake.slots, fake.control), None, Surroundings(RECORD_SIZE))
    namespace.close()


def test_what_fails_to_begin_leaves_nothing_open(
    fake: FakeMaps, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_listeners: object) -> None:
        raise PermissionError(errno.EPERM, "no")

    monkeypatch.setattr(module, "owners", fail)
    before = sorted(Path("/proc/self/fd").iterdir())
    with pytest.raises(PermissionError):
        Stock((fake.slots, fake.control), None, Surroundings(RECORD_SIZE))
    assert sorted(Path("/proc/self/fd").iterdir()) == before
