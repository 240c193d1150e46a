"""Who holds the listeners of this process's own namespace."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tcptrace.errors import CannotTrace
from tcptrace.kernel.owners import listeners_of, owners
from tcptrace.kernel.sock_diag import open_diag

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def own() -> Iterator[socket.socket]:
    with open_diag() as diag:
        yield diag


def test_the_owner_of_a_listener_is_found(own: socket.socket) -> None:
    comm = Path("/proc/self/comm").read_bytes().rstrip(b"\n")
    with socket.socket() as listener:
        listener.listen()
        inode = os.fstat(listener.fileno()).st_ino
        assert owners(listeners_of([own]))[inode] == (os.getpid(), comm)
    assert inode not in owners(listeners_of([own]))


def test_the_oldest_of_several_holders_is_it(own: socket.socket) -> None:
    with socket.socket() as listener:
        listener.listen()
        listener.set_inheritable(True)
        inode = os.fstat(listener.fileno()).st_ino
        command = [sys.executable, "-c", "input()"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, close_fds=False) as child:
            # The lower pid is taken for the older one, also when pids have begun anew in between.
            older = min(child.pid, os.getpid())
            assert owners(listeners_of([own]))[inode][0] == older
            child.communicate(b"\n")


def test_the_own_namespace_must_have_sock_diag(own: socket.socket) -> None:
    own.close()
    with pytest.raises(CannotTrace, match="sock_diag"):
        listeners_of([own])


def test_another_namespace_whose_dump_fails_has_no_listeners(own: socket.socket) -> None:
    other = open_diag()
    other.close()
    assert listeners_of([own, other]) == listeners_of([own])
