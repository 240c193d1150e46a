"""Names from a container runtime: a real gRPC server on a real socket, asked by a real child."""

from __future__ import annotations

import importlib.util
import os
import pwd
import re
import signal
import socket
import time
from typing import TYPE_CHECKING

import pytest

from tcptrace.errors import BadArgument, CannotTrace, NotThere
from tcptrace.kernel import pods as module
from tcptrace.kernel.pods import PodLookup
from tcptrace.lifecycle.names import PodNames
from unit.runtimes import DEADLINE_S, LONE, SANDBOX, WEB, FakeRuntime

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def runtime(tmp_path: Path) -> Iterator[FakeRuntime]:
    for directory in (tmp_path, *tmp_path.parents[:2]):
        directory.chmod(0o755)
    runtime = FakeRuntime(tmp_path / "cri.sock")
    yield runtime
    runtime.stop()


@pytest.fixture
def lookup(runtime: FakeRuntime) -> Iterator[PodLookup]:
    lookup = PodLookup(runtime.path, "nobody")
    yield lookup
    lookup.close()


def until(lookup: PodLookup, condition: Callable[[], object]) -> None:
    end_s = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < end_s
        lookup.look()
        time.sleep(0.01)


def test_a_container_and_its_pod_are_named(lookup: PodLookup) -> None:
    lookup.want(WEB)
    lookup.want(LONE)
    until(lookup, lambda: len(lookup.known) == 2)
    assert lookup.known == {WEB: PodNames("nginx", "web-0", "shop"), LONE: PodNames("x", "", "")}


def test_each_is_asked_for_once(runtime: FakeRuntime, lookup: PodLookup) -> None:
    for _ in range(3):
        lookup.want(WEB)
    until(lookup, lambda: lookup.known)
    lookup.want(WEB)
    lookup.look()
    lookup.want(SANDBOX)
    until(lookup, lambda: SANDBOX in lookup.known)
    assert lookup.known[SANDBOX] == PodNames("", "web-0", "shop")
    assert runtime.asked.count(WEB) == 1


def test_one_that_the_runtime_does_not_know_yet_is_asked_for_again(
    runtime: FakeRuntime, lookup: PodLookup, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_AGAIN_S", 0.0)
    late = "beef" * 16
    lookup.want(late)
    until(lookup, lambda: runtime.asked.count(late) == 2)
    runtime.names[late] = (b"late", SANDBOX)
    until(lookup, lambda: late in lookup.known)
    never = "dead" * 16
    lookup.want(never)
    until(lookup, lambda: lookup._asked.get(never) == 3)
    assert runtime.asked.count(never) == 3
    assert not lookup._again


def test_what_is_no_id_is_not_asked_for(runtime: FakeRuntime, lookup: PodLookup) -> None:
    for name in ("", "web", WEB.upper(), WEB + "\n", f"{WEB[:-1]}\n"):
        lookup.want(name)
    lookup.want(WEB)
    until(lookup, lambda: lookup.known)
    assert set(runtime.asked) == {"0" * 64, WEB}


def test_a_slow_runtime_holds_nobody_up(runtime: FakeRuntime, lookup: PodLookup) -> None:
    runtime.slow.clear()
    for number in range(module._MOST_WAITING + 500):
        lookup.want(f"{number:064x}")
    took_s = 0.0
    for _ in range(100):
        began_s = time.monotonic()
        lookup.look()
        took_s = max(took_s, time.monotonic() - began_s)
    assert took_s < 1.0
    assert lookup.known == {}
    assert len(lookup._waiting) <= module._MOST_WAITING


def test_a_runtime_that_hangs_is_told(runtime: FakeRuntime, lookup: PodLookup) -> None:
    runtime.slow.clear()
    lookup.want(WEB)
    until(lookup, lambda: lookup.trouble)
    assert "it can't be reached (Deadline Exceeded)" in lookup.trouble
    runtime.slow.set()
    lookup.want(LONE)
    until(lookup, lambda: lookup.known)
    assert lookup.trouble == ""


def test_a_hostile_runtime_gives_hostile_names_at_most(
    runtime: FakeRuntime, lookup: PodLookup
) -> None:
    runtime.names[WEB] = (b"\x1b[2J\xff\n" + b"a" * 1000, SANDBOX)
    runtime.pods[SANDBOX] = (b"b" * (2 << 20), b"c")
    lookup.want(WEB)
    until(lookup, lambda: WEB not in lookup._waiting and lookup._asked[WEB] == 1)
    assert lookup.known == {}
    runtime.pods[SANDBOX] = (b"b\n", b"c")
    runtime.names[LONE] = (b"\x1b[2J\xff\n" + b"a" * 1000, SANDBOX)
    lookup.want(LONE)
    until(lookup, lambda: lookup.known)
    name = lookup.known[LONE].container
    assert name.startswith("\x1b[2J\\xff\naaa")
    assert len(name) == 253
    assert lookup.known[LONE].pod == "b\n"


@pytest.mark.parametrize("end", ["runtime", "child"])
def test_when_it_ends_what_was_known_stays(
    runtime: FakeRuntime, lookup: PodLookup, end: str
) -> None:
    lookup.want(WEB)
    until(lookup, lambda: lookup.known)
    if end == "child":
        os.kill(lookup._child.process.pid, signal.SIGKILL)
        lookup._child.process.wait()
    else:
        runtime.stop()
    lookup.want(LONE)
    assert lookup.trouble == ""
    until(lookup, lambda: not lookup._child.is_there or lookup._asked[LONE] == 1)
    assert set(lookup.known) == {WEB}
    lookup.look()
    why = "the child that asks it has died" if end == "child" else r"it can't be reached \(.+\)"
    assert re.fullmatch(
        f"--cri-socket {re.escape(str(runtime.path))}: {why}: new containers get no names",
        lookup.trouble,
        re.DOTALL,
    )


def test_a_runtime_that_can_be_reached_again_is_no_trouble(
    runtime: FakeRuntime, lookup: PodLookup, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_AGAIN_S", 0.0)
    late = "beef" * 16
    lookup.want(late)
    until(lookup, lambda: lookup._asked[late] == 3)
    assert lookup.trouble == ""  # it is there, and knows no such container
    lookup._take({"id": late, "names": None, "fault": "x" * 1000})
    assert 100 < len(lookup.trouble) < 500
    before = lookup.trouble
    lookup._take({"id": late, "names": None, "fault": "other words"})
    assert lookup.trouble == before
    lookup.want(WEB)
    until(lookup, lambda: lookup.known)
    assert lookup.trouble == ""
    assert runtime.asked


def test_the_child_is_not_root(lookup: PodLookup) -> None:
    uid = str(os.geteuid() or pwd.getpwnam("nobody").pw_uid)
    with open(f"/proc/{lookup._child.process.pid}/status") as status:  # noqa: PTH123
        told = dict(line.split(":\t", 1) for line in status)
    assert set(told["Uid"].split()) == {uid}
    assert int(told["CapEff"], 16) == 0
    for task in os.listdir(f"/proc/{lookup._child.process.pid}/task"):  # noqa: PTH208
        with open(f"/proc/{lookup._child.process.pid}/task/{task}/status") as status:  # noqa: PTH123
            of_task = dict(line.split(":\t", 1) for line in status)
        assert of_task["NoNewPrivs"].strip() == "1"
        assert set(of_task["Uid"].split()) == {uid}
        assert int(of_task["CapEff"], 16) == 0


def test_it_ends_with_its_parent(lookup: PodLookup) -> None:
    lookup._child.hang_up()
    assert lookup._child.process.wait(DEADLINE_S) == 0


def test_no_socket_there(tmp_path: Path) -> None:
    with pytest.raises(NotThere, match="No such file"):
        PodLookup(tmp_path / "none", "nobody")
    (tmp_path / "file").touch()
    with pytest.raises(BadArgument, match="it is no socket"):
        PodLookup(tmp_path / "file", "nobody")


def test_nobody_answers(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "silent"))
        with pytest.raises(CannotTrace, match="no CRI v1 there"):
            PodLookup(tmp_path / "silent", "nobody")


def test_a_child_that_dies_is_told_of(
    runtime: FakeRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_CHILD", "tcptrace.no_such_module")
    with pytest.raises(CannotTrace, match="the child that asks it died"):
        PodLookup(runtime.path, "nobody")


def test_without_grpcio_it_says_what_to_install(
    runtime: FakeRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(CannotTrace, match=r"pip install 'tcptrace\[cri\]'; .*python3-grpcio"):
        PodLookup(runtime.path, "nobody")
