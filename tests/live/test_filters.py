"""Filters: of the same traffic, each trace tells what it was asked for, and nothing else."""

from __future__ import annotations

import subprocess
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING, NamedTuple

import pytest

from .namespaces import Namespace
from .sockets import LOOPBACK, accept, connect, listen, wait_for_fin, wait_until_quiet
from .traced import Trace

if TYPE_CHECKING:
    from collections.abc import Callable

    from .lives import Lives

pytestmark = pytest.mark.once

_NETWORK = "127.4.0.0/16"
_WITHIN = "127.4.0.1"
_VISITOR = """
import socket, sys
port = int(sys.argv[1])
sys.stdin.readline()
for address in sys.argv[2:]:
    with socket.create_connection((address, port)):
        pass
"""


class Filtered(NamedTuple):
    """What the traces with filters told, and of what there was to tell."""

    by_pid_and_cidr: Lives
    by_family_and_netns: Lives
    visitor: int
    """The other process's id."""
    namespace: int
    """The other namespace's inode number."""


@pytest.fixture(scope="module")
def filtered(new_port: Callable[[], int]) -> Filtered:
    """The same traffic under two traces at once.

    Each has two filters, and of the traffic some passes only the one, some only the other.
    """
    port = new_port()
    with ExitStack() as kept:
        elsewhere = kept.enter_context(Namespace("filtered"))
        visitor = kept.enter_context(_visitor(port))

        def trace(attach: str, *filters: str) -> Trace:
            options = ("--json", "--attach", attach, *filters)
            return kept.enter_context(Trace("port", str(port), *options))

        traces = (
            trace("kprobe", "--pid", str(visitor.pid), "--cidr", _NETWORK),
            trace("fentry", "--family", "6", "--netns", elsewhere.name),
        )
        for each in traces:
            each.wait_until_tracing()
        for address in _WITHIN, "::1":
            _meet(address, port)
        with elsewhere.inside():
            for address in LOOPBACK, "::1":
                _meet(address, port)
        with listen((LOOPBACK, port)), listen((_WITHIN, port)):
            visitor.communicate("now\n")
        by_pid_and_cidr, by_family_and_netns = (each.end() for each in traces)
    for each, told in zip(traces, (by_pid_and_cidr, by_family_and_netns), strict=True):
        each.check(told)
        assert not [life for life in told if life.partial]
    return Filtered(by_pid_and_cidr, by_family_and_netns, visitor.pid, elsewhere.inode)


def test_pid_and_cidr(filtered: Filtered) -> None:
    life = filtered.by_pid_and_cidr.only()
    assert (life.role, life.remote[0]) == ("client", _WITHIN)
    assert life.process is not None
    assert life.process.pid == filtered.visitor


def test_family_and_netns(filtered: Filtered) -> None:
    clients_life, servers_life = filtered.by_family_and_netns.pair()
    assert servers_life.local[0] == "::1"
    assert {clients_life.netns, servers_life.netns} == {filtered.namespace}


def _visitor(port: int) -> subprocess.Popen[str]:
    """Another process, which connects once it is told to."""
    command = [sys.executable, "-c", _VISITOR, str(port), LOOPBACK, _WITHIN]
    return subprocess.Popen(command, stdin=subprocess.PIPE, text=True)


def _meet(address: str, port: int) -> None:
    with listen((address, port)) as listener:
        connect((address, port)).close()
        with accept(listener) as server:
            wait_for_fin(server)
    wait_until_quiet(port, address)
