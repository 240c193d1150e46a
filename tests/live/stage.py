"""Scenarios: what is done on the network, and the lives that must be told of it.

A scenario is a generator: up to its `yield` it makes traffic while a trace goes on; it is sent the
trace's lives once the trace has ended, and compares them with what it did. One trace carries all
scenarios, each with an address of its own, so that the start of a trace is waited for once.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from .cgroups import Cgroup
from .lives import Account, Address, Lives, Process
from .namespaces import Namespace, own_inode
from .sockets import (
    LOOPBACK,
    accept,
    connect,
    listen,
    take_comm_of_process,
    this_process,
    wait_until_quiet,
)
from .traced import Trace

if TYPE_CHECKING:
    import socket

Script = Generator[None, Lives, None]
_AT_ONCE: Final = 4
"""Scenarios that play side by side while they wait."""


@dataclass
class Stage:
    """Where one scenario plays.

    Attributes:
        address: the server's; no other scenario uses it.
        port: the server's; traced.
        attach: what carries the trace.
        netns: the inode number of the namespace that it plays in.
        process: who plays.
        source: the client's end of the last couple.
        sockets_stay: whether some are still open when the trace ends.
    """

    name: str
    address: str
    port: int
    attach: str
    netns: int = field(default_factory=own_inode)
    process: Process = field(default_factory=this_process)
    source: Address = (LOOPBACK, 0)
    sockets_stay: bool = False
    _kept: ExitStack = field(default_factory=ExitStack)
    _away: ExitStack = field(default_factory=ExitStack)

    @property
    def server(self) -> Address:
        return self.address, self.port

    def move_to_namespace(self) -> Namespace:
        """Goes on in a network namespace of its own, which lasts until the trace has ended."""
        namespace = self.make_namespace("")
        self._away.enter_context(namespace.inside())
        self.netns = namespace.inode
        return namespace

    def make_namespace(self, suffix: str) -> Namespace:
        """Makes a network namespace that lasts until the trace has ended."""
        return self._kept.enter_context(Namespace(f"{self.name.replace('_', '-')}{suffix}"))

    @contextmanager
    def in_cgroup(self, path: str) -> Iterator[None]:
        """Moves this whole process into a new cgroup, which lasts until the trace has ended."""
        cgroup = Cgroup(path)
        self._kept.callback(cgroup.remove)
        with cgroup.inside():
            yield

    @contextmanager
    def visit(self) -> Iterator[None]:
        """Brings the calling thread back from wherever the scenario has moved it to."""
        with self._away:
            yield

    def keep(self, *ends: socket.socket) -> None:
        """Keeps these open until the trace has ended."""
        for end in ends:
            self._kept.enter_context(end)
        self.sockets_stay = True

    def listen(self, backlog: int = 16) -> socket.socket:
        return listen(self.server, backlog)

    def connect(self, source_port: int = 0) -> socket.socket:
        """Connects a client, and remembers its end."""
        client = connect(self.server, source_port)
        self.source = client.getsockname()[:2]
        return client

    def couple(self) -> tuple[socket.socket, socket.socket]:
        """Connects a client and accepts it; returns both ends."""
        with self.listen() as listener:
            client = self.connect()
            return client, accept(listener)

    def client(self, states: tuple[str, ...], how: str, outcome: str, **more: Any) -> Account:
        """The account that the client must give; `how` is "SIDE HOW" or "" if it wasn't closed."""
        return replace(
            Account(
                role="client",
                local=self.source,
                remote=self.server,
                netns=self.netns,
                states=states,
                closed=_side_and_how(how),
                outcome=outcome,
                process=self.process,
            ),
            **more,
        )

    def accepted(self, states: tuple[str, ...], how: str, outcome: str, **more: Any) -> Account:
        """The account that the server must give."""
        return replace(
            self.client(states, how, outcome),
            role="server",
            local=self.server,
            remote=self.source,
            **{"listening_process": self.process, **more},
        )

    def leave(self) -> None:
        """Gives back what the scenario kept."""
        self._kept.close()


Maker = Callable[[Stage], Script]


@dataclass(frozen=True)
class Scenario:
    """One scenario.

    Attributes:
        begins_before: it has a part before the trace begins, up to a first `yield` of its own.
        waits: most of the time it waits for the kernel's timers, and plays beside others that do.
            The others play alone: a packet that comes in while a probe runs can run the same probe
            in vain, which no trace can help.
    """

    name: str
    script: Maker
    begins_before: bool
    waits: bool


def scenario(*, begins_before: bool = False, waits: bool = False) -> Callable[[Maker], Scenario]:
    """Makes a scenario of a generator function."""

    def make(script: Maker) -> Scenario:
        return Scenario(script.__name__, script, begins_before, waits)

    return make


def _side_and_how(closed: str) -> tuple[str | None, str | None]:
    side, _, how = closed.partition(" ")
    return side or None, how or None


class Played:
    """Scenarios played under one trace, and its lives."""

    def __init__(self, scenarios: list[Scenario], port: int, attach: str) -> None:
        self._stages = {
            part.name: Stage(part.name, f"127.1.{number}.1", port, attach)
            for number, part in enumerate(scenarios)
        }
        self._scripts = {part.name: part.script(self._stages[part.name]) for part in scenarios}
        self._failures: dict[str, BaseException] = {}
        try:
            for part in scenarios:
                if part.begins_before:
                    self._advance(part.name)
            with Trace("port", str(port), "--json", "--attach", attach) as self.trace:
                self.trace.wait_until_tracing()
                for waits, at_once in ((True, _AT_ONCE), (False, 1)):
                    names = [part.name for part in scenarios if part.waits is waits]
                    with ThreadPoolExecutor(at_once) as pool:
                        list(pool.map(self._play, names))
                self.lives = self.trace.end()
        finally:
            for stage in self._stages.values():
                stage.leave()

    def _advance(self, name: str) -> None:
        try:
            next(self._scripts[name])
        except BaseException as failure:  # noqa: BLE001 - told by the scenario's own test
            self._failures[name] = failure

    def _play(self, name: str) -> None:
        stage = self._stages[name]
        take_comm_of_process()
        stage.process = this_process()
        with stage.visit():
            if name not in self._failures:
                self._advance(name)
            if name not in self._failures and not stage.sockets_stay:
                wait_until_quiet(stage.port, stage.address)

    def check(self, part: Scenario) -> None:
        """Lets one scenario compare; raises what went wrong on the stage, if anything did."""
        if part.name in self._failures:
            raise self._failures[part.name]
        print(self.trace.stderr)
        lives = self.lives.at(self._stages[part.name].address)
        self.trace.check(lives)
        try:
            self._scripts[part.name].send(lives)
        except StopIteration:
            return
        raise AssertionError(f"{part.name} has a yield too many")
