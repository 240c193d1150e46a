"""A recording replays as what a trace beside it told, and survives a full disk."""

from __future__ import annotations

import errno
import re
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
from faults.scrapes import scrapes

from tcptrace.sinks.recording import RecordingReader
from tcptrace.wire.decode import decode_batch

from .namespaces import Namespace, tool
from .sockets import (
    LOOPBACK,
    Attempt,
    accept,
    connect,
    counters,
    listen,
    reset,
    wait_for_fin,
    wait_for_reset,
    wait_until_quiet,
)
from .traced import Trace, replayed
from .waiting import until

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.once

_ATTEMPTS = 6
_DISK_FULL = 5
_SECOND_NS = 1_000_000_000
_KERNEL_HALF = 0x1FFFF
"""The upper bits of every kernel address. By chance a secret gives them to one trace of 131,072."""


def test_replay_tells_what_the_trace_told(port: int, tmp_path: Path) -> None:
    recording = tmp_path / "recording"
    options = ("--port", str(port), "--attach", "kprobe")
    with (
        Trace("record", "-o", str(recording), *options) as record,
        Trace("port", str(port), "--json", "--attach", "fentry") as trace,
    ):
        record.wait_until_tracing()
        trace.wait_until_tracing()
        _meet_in_several_ways(port)
        told = trace.end()
        record.end()
    _check_pointers(recording, trace)
    again = replayed(recording)

    assert len(told) == 7
    assert not any(life.partial for life in told)
    assert [life.account() for life in again] == [life.account() for life in told]
    for life, same in zip(told, again, strict=True):
        assert (life.id, life.peer) == (same.id, same.peer)
        for span, same_span in zip(life.told["states"], same.told["states"], strict=True):
            assert abs(span["at_ns"] - same_span["at_ns"]) < _SECOND_NS // 10


def _check_pointers(recording: Path, trace: Trace) -> None:
    """Objects go by other names than their addresses: neither records nor lives tell these."""
    with recording.open("rb") as file:
        blocks = [*RecordingReader(file, "recording").blocks()]
    names = {name for block in blocks for one in decode_batch(block) for name in one[1:3]} - {0}
    assert names
    assert not [name for name in names if name >> 47 == _KERNEL_HALF]
    assert not re.findall(r"ffff[89a-f][0-9a-f]{11}", "\n".join(trace.stdout_so_far()))


def test_keeps_the_ledger_and_what_was_there_before(port: int, tmp_path: Path) -> None:
    recording = tmp_path / "recording"
    with Namespace("recorded") as namespace, ExitStack() as ends:
        with namespace.inside():
            listener = ends.enter_context(listen((LOOPBACK, port), 1))
            ends.enter_context(connect((LOOPBACK, port)))
            ends.enter_context(accept(listener))
        record = ends.enter_context(Trace("record", "-o", str(recording), "--netns", "recorded"))
        record.wait_until_tracing()
        with namespace.inside():
            for _ in range(_ATTEMPTS):
                ends.enter_context(Attempt((LOOPBACK, port)).socket)
            until(lambda: counters()["ListenDrops"], "a drop")
            until(lambda: _accept_queue_of(port) == 2, "the accept queue to be full")
            for _ in range(3):  # the reading under way, one of it all, and one for a last scrape
                size = recording.stat().st_size
                until(lambda: recording.stat().st_size > size, "the next reading")  # noqa: B023
        record.end()
        drops = counters_in(namespace)["ListenDrops"]
        last = scrapes(recording, 1)[-1]
    where = f'netns="{namespace.inode}",port="{port}"'
    assert last[f'tcptrace_listener_accept_queue_length{{address="{LOOPBACK}",{where}}}'] == "2.0"
    told = [value for series, value in last.items() if "tcptrace_listener_drops_total" in series]
    assert 0 < sum(map(float, told)) <= drops
    states = f'family="ipv4",netns="{namespace.inode}"'
    assert float(last[f'tcptrace_sockets{{{states},state="established"}}']) >= 2


def _accept_queue_of(port: int) -> int:
    """How many connections wait for accept(), as ss tells."""
    return int(tool("ss", "-ltnH", "sport", "=", f":{port}").split()[1])


def counters_in(namespace: Namespace) -> Counter[str]:
    with namespace.inside():
        return counters()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system that a few hundred connections fill."""
    disk = tmp_path / "disk"
    disk.mkdir()
    tool("mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk))
    yield disk
    tool("umount", str(disk))


def test_a_full_disk_ends_the_recording(port: int, small_disk: Path) -> None:
    recording = small_disk / "recording"
    with Trace("record", "-o", str(recording), "--port", str(port)) as record:
        record.wait_until_tracing()
        until(lambda: _has_ended_after_another(record, port), "the disk to be full")
        assert record.wait() == _DISK_FULL
    assert str(recording) in record.stderr.splitlines()[-1]

    lives = replayed(recording)
    ended = [life for life in lives if life.outcome == "reset"]
    assert len(ended) > 100
    assert len(ended) > len(lives) - 10
    assert not any(life.partial for life in ended)


def _meet_in_several_ways(port: int) -> None:
    """The client closes, the server resets, both while somebody listens; then nobody does."""
    with listen((LOOPBACK, port)) as listener:
        client = connect((LOOPBACK, port))
        with accept(listener) as server:
            client.close()
            wait_for_fin(server)
        client = connect((LOOPBACK, port))
        reset(accept(listener))
        wait_for_reset(client)
        client.close()
        client = connect((LOOPBACK, port))
        accept(listener).close()
        wait_for_fin(client)
        client.close()
    wait_until_quiet(port, LOOPBACK)
    attempt = Attempt((LOOPBACK, port))
    assert attempt.outcome() == errno.ECONNREFUSED
    attempt.socket.close()


def _has_ended_after_another(record: Trace, port: int) -> bool:
    _meet_once(port)
    return record.process.poll() is not None


def _meet_once(port: int) -> None:
    """One connection that leaves no TIME_WAIT behind."""
    with listen((LOOPBACK, port)) as listener:
        client = connect((LOOPBACK, port))
        server = accept(listener)
        reset(client)
        wait_for_reset(server)
        server.close()
