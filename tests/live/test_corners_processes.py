"""Corner cases of who holds a socket: accept() and signals, sockets that change hands."""

from __future__ import annotations

import errno
import os
import signal
import socket
import time
import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from .corners import Check, Corner, Corners, CornerStage, Told, corner
from .lives import Process
from .namespaces import without_linear_timeouts
from .sockets import (
    ESTABLISHED,
    Attempt,
    accept,
    close_in_turn,
    connect,
    counters,
    in_thread,
    is_in_accept,
    states_here,
    this_process,
    wait_for_fin,
    wait_for_reset,
)
from .uring import accept_by_uring
from .waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_SERVER_COMM: Final = "corner-server"


def test_is_told_as_it_was(corners: Corners, corner: Corner, attach: str) -> None:
    corners.check(corner, attach)


class _Child:
    """A forked process that runs one function, then exits."""

    def __init__(self, run: Callable[[], object]) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # others' threads are not needed
            self.pid = os.fork()
        if self.pid == 0:
            status = 1
            try:
                Path("/proc/self/comm").write_text(_SERVER_COMM)
                run()
                status = 0
            finally:
                os._exit(status)

    @property
    def process(self) -> Process:
        return Process(self.pid, _SERVER_COMM)

    def wait(self) -> None:
        _, status = os.waitpid(self.pid, 0)
        assert status == 0, f"the child ended with {status}"


@contextmanager
def _child(run: Callable[[], object]) -> Iterator[_Child]:
    child = _Child(run)
    try:
        yield child
        child.wait()
    except BaseException:
        os.kill(child.pid, signal.SIGKILL)
        raise


class _InterruptedError(Exception):
    """A signal's handler ends accept()."""


def _accept_through_signals(listener: socket.socket, told: int) -> None:
    """Blocks in accept() thrice: interrupted (EINTR), restarted by the kernel, then served."""

    def interrupt(_number: int, _frame: object) -> None:
        raise _InterruptedError

    signal.signal(signal.SIGUSR1, interrupt)
    signal.signal(signal.SIGUSR2, lambda *_: None)
    signal.siginterrupt(signal.SIGUSR2, False)  # noqa: FBT003 - as it is called
    listener.settimeout(None)
    try:
        listener.accept()
    except _InterruptedError:
        os.write(told, b"i")
    server, _ = listener.accept()
    listener.close()
    wait_for_fin(server)


@corner(
    "accept4 and signals: EINTR, then restarted (SA_RESTART), then a connection",
    kernel="inet_csk_accept returns without a child each time that a signal comes.",
    told="One accept() by that process; its wait counts from when the child was queued.",
)
def accept_through_signals(stage: CornerStage) -> Check:
    listener = stage.listen()
    reader, writer = os.pipe()
    with _child(lambda: _accept_through_signals(listener, writer)) as child:
        until(lambda: is_in_accept(child.pid), "the child to block in accept()")
        os.kill(child.pid, signal.SIGUSR1)
        assert os.read(reader, 1) == b"i"
        until(lambda: is_in_accept(child.pid), "the child to block again")
        os.kill(child.pid, signal.SIGUSR2)
        until(lambda: not _is_pending(child.pid, signal.SIGUSR2), "the signal to be taken")
        until(lambda: is_in_accept(child.pid), "the kernel to restart the call")
        connecting_ns = time.monotonic_ns()
        client = stage.connect()
        connected_ns = time.monotonic_ns()
        listener.close()
        client.close()
        process = child.process
    ended_ns = time.monotonic_ns()
    os.close(reader)
    os.close(writer)

    def check(told: Told) -> None:
        _, servers_life = told.lives.pair()
        assert servers_life.account() == stage.server_closed_second(process=process)
        assert connecting_ns <= servers_life.told["accepted_at_ns"] <= ended_ns
        assert 0 <= servers_life.told["accept_wait_ns"] <= ended_ns - connecting_ns
        assert connecting_ns <= connected_ns
        assert told.accepts == 1

    return check


def _is_pending(pid: int, number: int) -> bool:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    masks = [int(line.split()[1], 16) for line in lines if line.startswith(("SigPnd", "ShdPnd"))]
    return any(mask >> (number - 1) & 1 for mask in masks)


@corner(
    "A listener passed to another process (SCM_RIGHTS), which accepts",
    kernel="The same socket in two processes; it listens until the last one closes it.",
    told="Listening: who called listen(). The connection's process: who called accept().",
)
def listener_passed(stage: CornerStage) -> Check:
    ours, theirs = socket.socketpair()
    listener = stage.listen()

    def serve() -> None:
        _, (descriptor,), _, _ = socket.recv_fds(theirs, 1, 1)
        with socket.socket(fileno=descriptor) as passed:
            passed.settimeout(60)
            with accept(passed) as server:
                wait_for_fin(server)

    with _child_without(serve, listener) as child:
        socket.send_fds(ours, [b"l"], [listener.fileno()])
        client = stage.connect()
        listener.close()
        client.close()
        process = child.process
    ours.close()
    theirs.close()

    def check(told: Told) -> None:
        _, servers_life = told.lives.pair()
        assert servers_life.account() == stage.server_closed_second(process=process)
        assert not told.drops

    return check


@contextmanager
def _child_without(run: Callable[[], object], *ends: socket.socket) -> Iterator[_Child]:
    """A child that does not inherit these: it gets what it is given."""

    def run_without() -> None:
        for end in ends:
            end.close()
        run()

    with _child(run_without) as child:
        yield child


def _closed_from(stage: CornerStage, closing_ns: int) -> Check:
    """The server's end closed first, and no sooner than its last holder closed it."""

    def check(told: Told) -> None:
        _, servers_life = told.lives.pair()
        assert servers_life.account() == stage.server_closed_first()
        assert servers_life.entered_ns("FIN_WAIT1") >= closing_ns

    return check


@corner(
    "A connection passed to another process (SCM_RIGHTS), which closes it",
    kernel="close() by the first process changes nothing; the FIN leaves with the last one.",
    told="The process that accepted; closed by this end when the last holder closed it.",
)
def connection_passed(stage: CornerStage) -> Check:
    ours, theirs = socket.socketpair()
    client, server = stage.couple()

    def use() -> None:
        _, (descriptor,), _, _ = socket.recv_fds(theirs, 1, 1)
        with socket.socket(fileno=descriptor) as passed:
            passed.sendall(b"!")
            theirs.recv(1)

    with _child_without(use, client, server):
        socket.send_fds(ours, [b"c"], [server.fileno()])
        server.close()
        assert client.recv(1) == b"!"
        closing_ns = time.monotonic_ns()
        ours.sendall(b"x")
        wait_for_fin(client)
        client.close()
    ours.close()
    theirs.close()

    return _closed_from(stage, closing_ns)


@corner(
    "fork after accept: both processes hold the connection",
    kernel="close() by the parent sends nothing; the FIN leaves when the child closes too.",
    told="The process that accepted; closed by this end when the child closed.",
)
def fork_after_accept(stage: CornerStage) -> Check:
    client, server = stage.couple()
    reader, writer = os.pipe()

    def hold() -> None:
        client.close()
        os.read(reader, 1)
        server.close()

    with _child(hold):
        server.close()
        until(lambda: states_here()[ESTABLISHED] == 2, "both ends, still established")
        closing_ns = time.monotonic_ns()
        os.write(writer, b"x")
        wait_for_fin(client)
        client.close()
    os.close(reader)
    os.close(writer)

    return _closed_from(stage, closing_ns)


@corner(
    "accept by io_uring",
    kernel="The request is armed, and finished in the context of the task that made it.",
    told="As accept(): the process is named.",
)
def accepted_by_uring(stage: CornerStage) -> Check:
    with stage.listen() as listener, accept_by_uring(listener) as ring:
        client = stage.connect()
        server = ring.accepted()
    close_in_turn(client, server)

    def check(told: Told) -> None:
        _, servers_life = told.lives.pair()
        assert servers_life.account() == stage.server_closed_second()
        assert told.accepts == 1

    return check


@corner(
    "listen() again while the accept queue is full: larger, then smaller",
    kernel="Only sk_max_ack_backlog changes; what is queued stays, even beyond the new limit.",
    told="Each dropped SYN with the length and limit of its moment; the listener's limit at once.",
    waits=True,
)
def backlog_changed_while_full(stage: CornerStage) -> Check:
    stage.sysctl("ipv4.tcp_syn_retries", 1)
    without_linear_timeouts(stage.namespace)
    with stage.listen(backlog=1) as listener:
        clients = [connect(stage.server) for _ in range(2)]
        until(lambda: states_here()[ESTABLISHED] == 4, "a full accept queue")
        third = Attempt(stage.server)
        until(lambda: counters()["ListenOverflows"] == 1, "the third SYN to be dropped")
        listener.listen(2)
        assert third.outcome() == 0
        until(lambda: states_here()[ESTABLISHED] == 6, "the third child")
        listener.listen(0)
        fourth = Attempt(stage.server)
        assert fourth.outcome() == errno.ETIMEDOUT
        fourth.socket.close()
        servers = [accept(listener) for _ in range(3)]
    for client, server in zip([*clients, third.socket], servers, strict=True):
        close_in_turn(client, server)

    def check(told: Told) -> None:
        stage.source = third.source
        clients_life, servers_life = told.lives.with_end(third.source).pair()
        assert clients_life.account().syn_retransmits == 1
        assert servers_life.account() == stage.server_closed_second(
            drops=(("syn_accept_queue_full", 2, 1),),
        )
        stage.source = fourth.source
        _, servers_life = told.lives.with_end(fourth.source).pair()
        dropped = servers_life.account().drops
        assert set(dropped) == {("syn_accept_queue_full", 3, 0)}
        assert told.drops == {"syn_accept_queue_full": 1 + len(dropped)}

    return check


@corner(
    "shutdown() of a listener while accept() blocks, then listen() again",
    kernel="LISTEN → CLOSE, accept() returns EINVAL, what is queued is reset; listen() starts the"
    " same socket anew.",
    told="The queued connection was never accepted; the listener goes and comes; what follows is"
    " usual.",
)
def listener_shut_down(stage: CornerStage) -> Check:
    listener = stage.listen()
    listener.settimeout(None)
    errors: list[int] = []

    def block() -> None:
        try:
            listener.accept()
        except OSError as failed:
            errors.append(failed.errno or -1)

    thread = in_thread(block)
    until(lambda: is_in_accept(thread.native_id), "accept() to block")
    listener.shutdown(socket.SHUT_RD)
    thread.join()
    listener.listen(16)
    refused = stage.connect()
    first = stage.source
    until(lambda: states_here()[ESTABLISHED] == 2, "a child")
    listener.shutdown(socket.SHUT_RD)
    wait_for_reset(refused)
    refused.close()
    listener.listen(16)
    client = stage.connect()
    server = accept(listener)
    close_in_turn(client, server)
    stage.keep(listener)

    def check(told: Told) -> None:
        assert errors == [errno.EINVAL]
        second, stage.source = stage.source, first
        _, servers_life = told.lives.with_end(first).pair()
        assert servers_life.account() == stage.server_never_accepted()
        stage.source = second
        clients_life, servers_life = told.lives.with_end(second).pair()
        assert clients_life.account() == stage.client_closed_first()
        assert servers_life.account() == stage.server_closed_second()
        assert told.drops == {"listener_closed": 1}
        assert told.scrape.total("tcptrace_listener_sockets", netns=told.netns) == 1
        assert this_process().pid == stage.process.pid

    return check
