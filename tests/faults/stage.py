"""Where faults are played: a server's and a client's network namespace with a wire between them."""

from __future__ import annotations

import subprocess
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Final, Self

from live.namespaces import Namespace, tool
from live.sockets import connect, listen
from live.traced import Trace
from live.waiting import until

from .loop import Clients, Loop, Server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WEB: Final = 8080
_NETWORK: Final = 9


class Stage:
    """Both namespaces, and a loop that drives who plays there.

    Args:
        name: what their names begin with.
        network: so that several stages have different addresses.

    Attributes:
        server: of the host that is traced, mostly.
        client: of everybody else.
        loop: drives servers and clients.
        here: where the server listens, mostly.
        there: the client's address.
        unlucky: another one of its, for those whose packets get lost.
    """

    def __init__(self, name: str = "fault", network: int = _NETWORK) -> None:
        self._stack = ExitStack()
        self.server = self._stack.enter_context(Namespace(f"{name}-server"))
        self.client = self._stack.enter_context(Namespace(f"{name}-client"))
        self.loop = Loop()
        self._address = f"10.{network}.0.1"
        self.here = (self._address, WEB)
        self.there = f"10.{network}.0.2"
        self.unlucky = f"10.{network}.0.3"
        self.broadcast = f"10.{network}.0.255"
        self._prepare()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.loop.close()
        self._stack.close()

    def _prepare(self) -> None:
        self.server.ip_all(
            f"link add wire type veth peer name wire netns {self.client.name}",
            f"address add {self._address}/24 dev wire",
            "link set wire up",
        )
        # To the client the last address of the server's network is one like others.
        self.client.ip_all(
            f"address add {self.there}/25 dev wire",
            f"address add {self.unlucky}/25 dev wire",
            "link set wire up",
        )
        # The answers to made-up sources leave by the wire, and vanish there.
        self.server.ip("route", "add", "default", "via", self.there)
        for home in (self.server, self.client):
            home.sysctl("ipv4.tcp_no_metrics_save", 1)
        with self.server.inside():
            listener = listen((self._address, 9))
        with self.client.inside(), listener:
            until(self._is_connected, "the wire to carry packets")

    def _is_connected(self) -> bool:
        with connect((self._address, 9)) as client:
            return client.fileno() >= 0

    def serve(self, port: int = WEB, backlog: int = 128, **manner: float | None) -> Server:
        """Starts a server on the traced host."""
        with self.server.inside():
            return Server(self.loop, ("0.0.0.0", port), backlog, **manner)  # type: ignore[arg-type]  # noqa: S104

    def serve_elsewhere(self, port: int, **manner: float) -> Server:
        """Starts one on the other side, that does everything right unless told otherwise."""
        with self.client.inside():
            return Server(self.loop, (self.there, port), **manner)  # type: ignore[arg-type]

    def clients(self, **manner: float | str) -> Clients:
        """Somebody out there."""
        return Clients(self.loop, self.client, **manner)  # type: ignore[arg-type]

    def local_clients(self, **manner: float | str) -> Clients:
        """Clients on the traced host."""
        return Clients(self.loop, self.server, **manner)  # type: ignore[arg-type]

    def drop(self, home: Namespace, rule: str) -> None:
        """Has nftables drop what comes in and matches."""
        for words in (
            "add table inet fault",
            "add chain inet fault in { type filter hook input priority 0; }",
            f"add rule inet fault in {rule} drop",
        ):
            tool("ip", "netns", "exec", home.name, "nft", words)

    def flood(self, interval_ms: int) -> None:
        """SYNs from made-up addresses, from now on."""
        command = ["ip", "netns", "exec", self.client.name, "hping3", "--quiet", "--syn",
                   "--rand-source", "--interval", f"u{interval_ms * 1000}",
                   "--destport", str(WEB), self._address]  # fmt: skip
        hping = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self._stack.callback(hping.wait)
        self._stack.callback(hping.kill)


@contextmanager
def recording(path: Path, *options: str) -> Iterator[None]:
    """Records from now on, until the block ends."""
    begun_s = time.monotonic()
    with Trace("record", "-o", str(path), *options) as trace:
        trace.wait_until_tracing()
        print(f"  recording after {time.monotonic() - begun_s:.0f} s", flush=True)
        yield
        trace.end()
        print(f"  {trace.stderr.splitlines()[-1]}", flush=True)
