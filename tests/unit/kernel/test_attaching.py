"""The loader as a fork: what it answers, what it has of the collector's, and how it ends."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tcptrace.errors import BadArgument, CannotTrace
from tcptrace.kernel import loader
from tcptrace.kernel.attaching import Attaching, attach, begin
from tcptrace.kernel.options import TraceOptions

Loader = Callable[[socket.socket], None]


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> Callable[[Loader], None]:
    """Puts something else in the loader's place; it runs in the child all the same."""

    def put(stand_in: Loader) -> None:
        def serve(
            _options: TraceOptions, _collector: int, channel: socket.socket, **_how: Any
        ) -> None:
            stand_in(channel)

        monkeypatch.setattr(loader, "serve", serve)

    return put


def answer(channel: socket.socket, manifest: dict[str, Any], descriptors: list[int]) -> None:
    socket.send_fds(channel, [json.dumps(manifest).encode()], descriptors)


def test_descriptors_are_told_apart(loads: Callable[[Loader], None], tmp_path: Path) -> None:
    names = ["ring", "counters", "slots", "control", "link", "program", "link 2", "program 2"]

    def load(channel: socket.socket) -> None:
        files = []
        for name in names:
            (tmp_path / name).write_text(name)
            files.append(os.open(tmp_path / name, os.O_RDONLY))
        answer(channel, {"attached": []}, files)

    loads(load)
    attached = attach(TraceOptions(ledger=True))
    every = (attached.ring, attached.counters, *attached.ledger, *attached.links)
    told = [os.read(descriptor, 20).decode() for descriptor in (*every, *attached.programs)]
    assert told == [*names[:4], "link", "link 2", "program", "program 2"]
    for descriptor in (*every, *attached.programs):
        os.close(descriptor)


def test_what_it_says_is_the_error(loads: Callable[[Loader], None]) -> None:
    loads(lambda channel: answer(channel, {"error": "no such hook"}, []))
    with pytest.raises(CannotTrace, match="no such hook"):
        attach(TraceOptions())


def test_a_death_is_told(loads: Callable[[Loader], None]) -> None:
    loads(lambda _channel: os.kill(os.getpid(), signal.SIGKILL))
    with pytest.raises(CannotTrace, match="the loader was killed, as when memory is short"):
        attach(TraceOptions())


def test_an_exception_ends_it_without_the_parents_exit(loads: Callable[[Loader], None]) -> None:
    def fail(_channel: socket.socket) -> None:
        raise RuntimeError

    loads(fail)
    with pytest.raises(CannotTrace, match="the loader died, status 1"):
        attach(TraceOptions())


def test_nothing_that_the_collector_has_open_is_its(
    loads: Callable[[Loader], None], tmp_path: Path
) -> None:
    def tell(channel: socket.socket) -> None:
        links = sorted(Path("/proc/self/fd").iterdir(), key=lambda path: int(path.name))
        found = [str(path.readlink()) for path in links if path.is_symlink()]
        answer(channel, {"error": " ".join(found)}, [])

    loads(tell)
    with (tmp_path / "open").open("w"), pytest.raises(CannotTrace) as told:
        attach(TraceOptions())
    assert str(tmp_path) not in str(told.value)
    assert str(told.value).count("socket:") == 1
    assert str(told.value).startswith("/dev/null /dev/null /dev/null ")


def test_it_is_ended_where_nobody_waits(loads: Callable[[Loader], None]) -> None:
    loads(lambda _channel: time.sleep(60))
    attaching = Attaching(TraceOptions())
    attaching.give_up()
    attaching.give_up()
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_a_user_is_looked_up_first() -> None:
    with pytest.raises(BadArgument, match="--user root"), begin(TraceOptions(user="root")):
        pytest.fail("it began")
