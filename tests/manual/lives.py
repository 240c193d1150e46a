"""Plays the lives that docs/handshake.md tells, each under `tcptrace record`; as root, in a guest.

`python -m tests.manual.lives --to DIR [NAME]…` writes DIR/NAME-KERNEL.tcptrace. One process plays
both ends, in a network namespace of its own, by turns under the names of `client` and `server`.
"""

from __future__ import annotations

import argparse
import errno
import os
import platform
import socket
import sys
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from live.namespaces import Namespace
from live.packets import send_syn
from live.sockets import (
    CLOSING,
    ESTABLISHED,
    LOOPBACK,
    SYN_RECV,
    Attempt,
    accept,
    close_in_turn,
    connect,
    counters,
    first_to_read_end,
    listen,
    make,
    reset,
    state_of,
    states_here,
    wait_for_reset,
    wait_until_quiet,
)
from live.traced import Trace
from live.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

WEB: Final = (LOOPBACK, 8080)
_FAR_MS: Final = 20
"""One way: a round trip takes 40 ms."""
_QUESTION: Final = b"GET / HTTP/1.0\r\n\r\n"


def call_yourself(name: str) -> None:
    """The probes read the name of the thread that calls."""
    Path("/proc/thread-self/comm").write_text(name, encoding="ascii")


def open_listener(limit: int) -> socket.socket:
    call_yourself("server")
    return listen(WEB, limit)


def call() -> socket.socket:
    call_yourself("client")
    return connect(WEB)


def try_to_call() -> Attempt:
    call_yourself("client")
    return Attempt(WEB)


def take(listener: socket.socket) -> socket.socket:
    call_yourself("server")
    return accept(listener)


def plain(home: Namespace) -> None:
    """20 ms away; the client asks, the server answers, the client closes first."""
    home.delay("lo", _FAR_MS)
    with open_listener(16) as listener:
        client = call()
        server = take(listener)
        client.sendall(_QUESTION)
        server.recv(len(_QUESTION), socket.MSG_WAITALL)
        server.sendall(b"ok")
        client.recv(2, socket.MSG_WAITALL)
        close_in_turn(client, server)


def late_accept(home: Namespace) -> None:
    """accept() comes half a second late; the client has long been connected, and has sent."""
    home.delay("lo", _FAR_MS)
    with open_listener(16) as listener:
        client = call()
        client.sendall(_QUESTION)
        time.sleep(0.5)
        server = take(listener)
        server.recv(len(_QUESTION), socket.MSG_WAITALL)
        close_in_turn(server, client)


def syn_dropped(home: Namespace) -> None:
    """listen(1) holds two; the third client's SYN is dropped until accept() makes room."""
    del home
    with open_listener(1) as listener:
        clients = [call(), call()]
        until(lambda: states_here()[ESTABLISHED] == 4, "both children")
        attempt = try_to_call()
        wanted = counters()["ListenOverflows"] + 1
        until(lambda: counters()["ListenOverflows"] > wanted, "the SYN to be dropped again")
        servers = [take(listener) for _ in clients]
        assert attempt.outcome() == 0
        servers.append(take(listener))
        for client, server in zip([*clients, attempt.socket], servers, strict=True):
            close_in_turn(client, server)


def ack_dropped(home: Namespace) -> None:
    """Two handshakes race for the last place of listen(2): one final ACK is dropped."""
    home.delay("lo", 100)
    with open_listener(2) as listener:
        clients = [call(), call()]
        attempts = [try_to_call(), try_to_call()]
        assert [attempt.outcome() for attempt in attempts] == [0, 0]
        until(lambda: counters()["ListenOverflows"], "the final ACK to be dropped")
        servers = [take(listener) for _ in range(4)]
        ends = {server.getpeername(): server for server in servers}
        for client in (*clients, *(attempt.socket for attempt in attempts)):
            close_in_turn(client, ends[client.getsockname()])


def abort_on_overflow(home: Namespace) -> None:
    """The same with tcp_abort_on_overflow=1: the loser gets a RST."""
    home.sysctl("ipv4.tcp_abort_on_overflow", 1)
    home.delay("lo", 100)
    with open_listener(2) as listener:
        clients = [call(), call()]
        attempts = [try_to_call(), try_to_call()]
        assert [attempt.outcome() for attempt in attempts] == [0, 0]
        loser = first_to_read_end([attempt.socket for attempt in attempts])
        wait_for_reset(loser)
        winners = [attempt.socket for attempt in attempts if attempt.socket is not loser]
        ends = {server.getpeername(): server for server in (take(listener) for _ in range(3))}
        for client in (*clients, *winners):
            close_in_turn(client, ends[client.getsockname()])
        loser.close()


def syn_queue_full(home: Namespace) -> None:
    """Without cookies: four SYNs at once, where listen(2) has room for three requests."""
    home.sysctl("ipv4.tcp_syncookies", 0)
    home.delay("lo", 100)
    with open_listener(2) as listener:
        attempts = [try_to_call() for _ in range(4)]
        servers = [take(listener) for _ in attempts]
        ends = {server.getpeername(): server for server in servers}
        for attempt in attempts:
            assert attempt.outcome() == 0
            close_in_turn(attempt.socket, ends[attempt.socket.getsockname()])


def cookie(home: Namespace) -> None:
    """Two strangers fill the SYN queue of listen(1); the next client gets a cookie."""
    home.add_hole("10.9.5.1")
    server_address = ("10.9.5.1", WEB[1])
    call_yourself("server")
    with listen(server_address, 1) as listener:
        for number in range(2):
            send_syn((f"10.9.5.{2 + number}", 1234), server_address)
        until(lambda: states_here()[SYN_RECV] + counters()["SyncookiesSent"] == 2, "both SYNs")
        call_yourself("client")
        client = connect(server_address)
        close_in_turn(client, take(listener))
        until(lambda: not states_here()[SYN_RECV], "the strangers to expire")


def request_expires(home: Namespace) -> None:
    """The SYN-ACK goes to a host that never answers; tcp_synack_retries=2."""
    home.sysctl("ipv4.tcp_synack_retries", 2)
    home.add_hole("10.9.5.1")
    server_address = ("10.9.5.1", WEB[1])
    call_yourself("server")
    with listen(server_address, 16):
        send_syn(("10.9.5.2", 1234), server_address)
        until(lambda: states_here()[SYN_RECV], "the request")
        until(lambda: not states_here()[SYN_RECV], "its last timer")


def fast_open(home: Namespace) -> None:
    """The first connection gets a cookie, the second one's SYN brings it, and data."""
    home.sysctl("ipv4.tcp_fastopen", 3)
    home.delay("lo", _FAR_MS)
    with open_listener(16) as listener:
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_FASTOPEN, 5)
        for _ in range(2):
            call_yourself("client")
            client = make(LOOPBACK)
            client.bind((LOOPBACK, 0))
            client.settimeout(None)
            client.sendto(_QUESTION, socket.MSG_FASTOPEN, WEB)
            server = take(listener)
            server.recv(len(_QUESTION), socket.MSG_WAITALL)
            close_in_turn(client, server)


def simultaneous_close(home: Namespace) -> None:
    """Each FIN is on its way when the other leaves."""
    home.delay("lo", 400)
    with open_listener(16) as listener:
        client = call()
        server = take(listener)
        client.shutdown(socket.SHUT_WR)
        server.shutdown(socket.SHUT_WR)
        until(lambda: CLOSING in (state_of(client), state_of(server)), "an end to pass CLOSING")
        client.close()
        server.close()


def simultaneous_open(home: Namespace) -> None:
    """Two SYNs cross, and nobody listens."""
    home.delay("lo", 100)
    call_yourself("client")
    ends = [make(LOOPBACK) for _ in range(2)]
    addresses = [WEB, (LOOPBACK, WEB[1] + 1)]
    for end, address in zip(ends, addresses, strict=True):
        end.bind(address)
        end.settimeout(0)
    for end, other in zip(ends, reversed(addresses), strict=True):
        assert end.connect_ex(other) == errno.EINPROGRESS
    until(lambda: [state_of(end) for end in ends] == [1, 1], "both to be established")
    for end in ends:
        end.settimeout(60)
    close_in_turn(*ends)


def timewait_reused(home: Namespace) -> None:
    """The server closed first; the client comes again from the same port."""
    del home
    with open_listener(16) as listener:
        port = 0
        for _ in range(2):
            call_yourself("client")
            client = connect(WEB, port)
            port = client.getsockname()[1]
            server = take(listener)
            close_in_turn(server, client)


def reset_by_linger(home: Namespace) -> None:
    """The client closes with SO_LINGER 0."""
    home.delay("lo", _FAR_MS)
    with open_listener(16) as listener:
        client = call()
        server = take(listener)
        call_yourself("client")
        reset(client)
        wait_for_reset(server)
        server.close()


def never_accepted(home: Namespace) -> None:
    """The listener closes while a child waits for accept()."""
    home.delay("lo", _FAR_MS)
    with open_listener(16):
        client = call()
        until(lambda: states_here()[ESTABLISHED] == 2, "the child")
        call_yourself("server")
    wait_for_reset(client)
    client.close()


class Play(NamedTuple):
    """One recording."""

    play: Callable[[Namespace], None]
    options: tuple[str, ...] = ()


PLAYS: Final = {
    "plain": Play(plain),
    "plain-stacks": Play(plain, ("--stacks",)),
    "late-accept": Play(late_accept),
    "syn-dropped": Play(syn_dropped),
    "ack-dropped": Play(ack_dropped),
    "abort-on-overflow": Play(abort_on_overflow),
    "syn-queue-full": Play(syn_queue_full),
    "cookie": Play(cookie),
    "request-expires": Play(request_expires),
    "fast-open": Play(fast_open),
    "simultaneous-open": Play(simultaneous_open),
    "simultaneous-close": Play(simultaneous_close),
    "timewait-reused": Play(timewait_reused),
    "reset-by-linger": Play(reset_by_linger),
    "never-accepted": Play(never_accepted),
}
"""By the recording's name."""


@contextmanager
def recorded(home: Namespace, path: Path, options: tuple[str, ...]) -> Iterator[None]:
    filters = ("--netns", home.name, "--port", str(WEB[1]))
    with Trace("record", "-o", str(path), *filters, *options) as trace:
        trace.wait_until_tracing()
        yield
        trace.end()
        print(f"  {trace.stderr.splitlines()[-1]}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.manual.lives", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(PLAYS))
    parser.add_argument("--to", type=Path, required=True, metavar="DIR")
    options = parser.parse_args()
    for name in options.names:
        if name not in PLAYS:
            parser.error(f"there is no play {name}: {', '.join(PLAYS)}")
    os.umask(0o022)
    kernel = ".".join(platform.release().split(".")[:2])
    for name in options.names or PLAYS:
        print(f"lives: {name}", flush=True)
        path = options.to / f"{name}-{kernel}.tcptrace"
        with ExitStack() as stack:
            home = stack.enter_context(Namespace(f"told-{name}"))
            with recorded(home, path, PLAYS[name].options), home.inside():
                PLAYS[name].play(home)
                for address in (LOOPBACK, "10.9.5.1"):
                    wait_until_quiet(WEB[1], address)
        path.chmod(0o644)
    return 0


if __name__ == "__main__":
    sys.exit(main())
