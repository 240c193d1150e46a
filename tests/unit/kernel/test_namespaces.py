"""Network namespaces: this process's own, which needs no privilege, and all with it."""

from __future__ import annotations

import os
import resource
import socket
import subprocess
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tcptrace.kernel import namespaces, netns
from tcptrace.kernel.namespaces import WatchedNamespace, watch_all
from tcptrace.wire.ledger import COUNTERS, MORE_COUNTERS

if TYPE_CHECKING:
    from collections.abc import Iterator

OWN = Path("/proc/self/ns/net").stat().st_ino


@pytest.fixture
def own() -> Iterator[WatchedNamespace]:
    namespace = WatchedNamespace(OWN)
    yield namespace
    namespace.close()


@pytest.fixture(autouse=True)
def _keep_limits() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


GROWING = [name for name in (*COUNTERS, *MORE_COUNTERS) if name != "CurrEstab"]


def kernels(name: str) -> int:
    """A counter of TcpExt or Tcp."""
    for file, heading in (("netstat", "TcpExt:"), ("snmp", "Tcp:")):
        lines = Path("/proc/self/net", file).read_text(encoding="ascii").splitlines()
        names, values = (line.split() for line in lines if line.startswith(heading))
        if name in names:
            return int(values[names.index(name)])
    raise AssertionError(name)


def named(namespace: WatchedNamespace) -> dict[str, int]:
    told = namespace.counters()
    return dict(zip((*COUNTERS, *MORE_COUNTERS), (*told.listening, *told.more), strict=True))


def test_its_counters_are_the_kernels(own: WatchedNamespace) -> None:
    before = [kernels(name) for name in GROWING]
    told = named(own)
    after = [kernels(name) for name in GROWING]
    assert told.keys() == {*COUNTERS, *MORE_COUNTERS}
    told_growing = [told[name] for name in GROWING]
    assert all(a <= b <= c for a, b, c in zip(before, told_growing, after, strict=True))


def test_a_drop_is_counted(own: WatchedNamespace) -> None:
    """The file that was opened first tells of now."""
    before = named(own)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        first = socket.create_connection(listener.getsockname())
        second = socket.socket()
        with first, second:
            second.settimeout(0)
            second.connect_ex(listener.getsockname())
            after = named(own)
    assert after["ListenOverflows"] > before["ListenOverflows"]
    assert after["ListenDrops"] > before["ListenDrops"]


def test_a_counter_that_the_kernel_lacks_is_0(
    own: WatchedNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = b"TcpExt: ListenDrops Other\nTcpExt: 7 8\nIpExt: ListenOverflows\nIpExt: 9\n"
    text += b"Tcp: ActiveOpens CurrEstab\nTcp: 5 18446744073709551615\n"
    monkeypatch.setattr(os, "pread", lambda *_: text)
    assert named(own) == {
        **dict.fromkeys((*COUNTERS, *MORE_COUNTERS), 0),
        "ListenDrops": 7,
        "ActiveOpens": 5,
    }


def test_its_ephemeral_ports(own: WatchedNamespace) -> None:
    text = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text(encoding="ascii")
    low, high = map(int, text.split())
    assert own.ephemeral_ports() == high - low + 1


def test_its_tw_reuse(own: WatchedNamespace) -> None:
    text = Path("/proc/sys/net/ipv4/tcp_tw_reuse").read_text(encoding="ascii")
    assert own.tw_reuse() == int(text)


def test_its_own_is_watched_first_where_that_is_allowed() -> None:
    """Who may not enter namespaces, not even the own one, watches none."""
    watched, refused = watch_all()
    try:
        assert [one.inode for one in watched[:1]] == [OWN] * may_enter()
        assert (OWN in refused) != may_enter()
        assert len({one.inode for one in watched}) == len(watched)
        assert len(watched) <= namespaces.MOST_NAMESPACES
    finally:
        for one in watched:
            one.close()


def test_only_the_one_that_is_asked_for() -> None:
    for wanted, expected in ((OWN, [OWN] * may_enter()), (1, [])):
        watched, refused = watch_all(wanted)
        assert list(refused) == [OWN] * (wanted == OWN and not may_enter())
        assert [one.inode for one in watched] == expected
        for one in watched:
            one.close()


def test_one_that_cannot_be_entered_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {
        1: namespaces._Found([Path("/proc/self/ns/mnt")]),  # setns() for a network's refuses it
        2: namespaces._Found([Path("/nowhere"), Path("/nor/here")]),  # it has just ended
    }
    monkeypatch.setattr(namespaces, "_namespaces", lambda: found)
    watched, refused = watch_all()
    assert watched == []
    assert set(refused) == {1}
    assert refused[1] in {"Invalid argument", "Operation not permitted"}


def test_one_whose_oldest_process_has_ended_is_entered_at_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = {OWN: namespaces._Found([Path("/nowhere"), Path("/proc/self/ns/mnt")])}
    monkeypatch.setattr(namespaces, "_namespaces", lambda: found)
    assert set(watch_all().refused) == {OWN}  # that of another kind is refused there


def test_a_file_that_is_missing_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where /proc/sys is masked: the namespace has not ended."""
    monkeypatch.setattr(namespaces, "_enter", lambda _path: True)
    monkeypatch.setattr(namespaces, "_PORT_RANGE", Path("/nowhere/port_range"))
    watched, refused = watch_all(OWN)
    assert watched == []
    assert refused == {OWN: "/nowhere/port_range: No such file or directory"}


def test_so_are_those_beyond_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(namespaces, "_namespaces", lambda: dict.fromkeys((1, 2), None))
    monkeypatch.setattr(namespaces, "MOST_NAMESPACES", 0)
    assert watch_all() == ([], dict.fromkeys((1, 2), "more than 0"))


def descriptors() -> list[str]:
    return sorted(os.listdir("/proc/self/fd"))  # noqa: PTH208 - names are all


@pytest.mark.parametrize("file", ["snmp", "ip_local_port_range"])
def test_one_that_cannot_be_made_leaves_nothing_open(
    file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_ = os.open

    def opened(path: Path | str, *how: int) -> int:
        if str(path).endswith(file):
            raise PermissionError(1, "no")
        return open_(path, *how)

    before = descriptors()
    monkeypatch.setattr(os, "open", opened)
    with pytest.raises(PermissionError):
        WatchedNamespace(OWN, (os.getpid(),))
    assert descriptors() == before


def may_enter() -> bool:
    """Whether setns(2) takes us: CAP_SYS_ADMIN, bit 21."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    line = next(line for line in status.splitlines() if line.startswith("CapEff:"))
    return bool(int(line.split()[1], 16) >> 21 & 1)


def test_what_has_a_name_is_found_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "blue").symlink_to("/proc/self/ns/mnt")
    monkeypatch.setattr(netns, "_NAMED", tmp_path)
    found = namespaces._namespaces()
    assert found[OWN].paths[0] == Path("/proc/self/ns/net")
    # Another kind of namespace, but of the same file system: where setns() would refuse it.
    assert found[os.stat(tmp_path / "blue").st_ino].paths == [tmp_path / "blue"]  # noqa: PTH116
    assert all(len(one.processes) <= namespaces._MOST_HOLDERS for one in found.values())


def test_everything_is_given_back() -> None:
    before = descriptors()
    namespace = WatchedNamespace(OWN)
    namespace.counters()
    namespace.close()
    assert descriptors() == before


def test_a_namespace_is_held_by_its_last_known_process() -> None:
    with subprocess.Popen(["sleep", "60"]) as one, subprocess.Popen(["sleep", "60"]) as two:
        watched = WatchedNamespace(1, processes=(one.pid, two.pid))
        for process in (one, two):
            assert watched.is_held()
            process.kill()
            process.wait()
        assert not watched.is_held()
        watched.close()


def test_this_process_own_namespace_is_always_held(own: WatchedNamespace) -> None:
    assert own.is_held()


def test_its_sockets_are_counted(own: WatchedNamespace) -> None:
    """A listener and both ends of a connection; others may come and go meanwhile."""
    before = own.sockets_in_use()
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        for _ in range(50):
            stack.enter_context(socket.create_connection(listener.getsockname()))
            stack.enter_context(listener.accept()[0])
        assert own.sockets_in_use() >= before + 80
