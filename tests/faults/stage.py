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

SERVER: Final = "10.9.0.1"
CLIENT: Final = "10.9.0.2"
UNLUCKY: Final = "10.9.0.3"
"""Another address of the client's, for those whose packets get lost."""
WEB: Final = 8080


class Stage:
    """Both namespaces, and a loop that drives who plays there.

    Attributes:
        server: of the host that is traced, mostly.
        client: of everybody else.
        loop: drives servers and clients.
    """

    def __init__(self) -> None:
        self._stack = ExitStack()
        self.server = self._stack.enter_context(Namespace("fault-server"))
        self.client = self._stack.enter_context(Namespace("fault-client"))
        self.loop = Loop()
        self._prepare()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.loop.close()
        self._stack.close()

    def _prepare(self) -> None:
        self.server.ip("link", "add", "wire", "type", "veth",
                       "peer", "name", "wire", "netns", self.client.name)  # fmt: skip
        # To the client the last address of the server's network is one like others.
        for home, address in (
            (self.server, f"{SERVER}/24"),
            (self.client, f"{CLIENT}/25"),
            (self.client, f"{UNLUCKY}/25"),
        ):
            home.ip("address", "add", address, "dev", "wire")
            home.ip("link", "set", "wire", "up")
        # The answers to made-up sources leave by the wire, and vanish there.
        self.server.ip("route", "add", "default", "via", CLIENT)
        for home in (self.server, self.client):
            home.sysctl("ipv4.tcp_no_metrics_save", 1)
        with self.server.inside():
            listener = listen((SERVER, 9))
        with self.client.inside(), listener:
            until(_is_connected, "the wire to carry packets")

    def serve(self, port: int = WEB, backlog: int = 128, **manner: float | None) -> Server:
        """Starts a server on the traced host."""
        with self.server.inside():
            return Server(self.loop, ("0.0.0.0", port), backlog, **manner)  # type: ignore[arg-type]  # noqa: S104

    def serve_elsewhere(self, port: int) -> Server:
        """Starts one on the other side, that does everything right."""
        with self.client.inside():
            return Server(self.loop, (CLIENT, port))

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

    @contextmanager
    def flood(self, interval_ms: int) -> Iterator[None]:
        """SYNs from made-up addresses."""
        command = ["ip", "netns", "exec", self.client.name, "hping3", "--quiet", "--syn",
                   "--rand-source", "--interval", f"u{interval_ms * 1000}",
                   "--destport", str(WEB), SERVER]  # fmt: skip
        with subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as hping:
            try:
                yield
            finally:
                hping.kill()


def _is_connected() -> bool:
    with connect((SERVER, 9)) as client:
        return client.fileno() >= 0


@contextmanager
def recording(path: Path, home: Namespace, *options: str) -> Iterator[None]:
    """Records one namespace from now on, until the block ends."""
    begun_s = time.monotonic()
    with Trace("record", "-o", str(path), "--netns", home.name, *options) as trace:
        trace.wait_until_tracing()
        print(f"  recording after {time.monotonic() - begun_s:.0f} s", flush=True)
        yield
        trace.end()
        print(f"  {trace.stderr.splitlines()[-1]}", flush=True)
