"""A listener with both its queues, their limits, and somebody who calls accept(), or is slow to."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from itertools import cycle
from typing import TYPE_CHECKING

from tcptrace.lifecycle.connection import How, Listener, Outcome, Side
from tcptrace.tcp import Endpoint, State
from tcptrace.wire.events import Kind, Stage
from unit.lifecycle.model.end import Object
from unit.lifecycle.stream import LISTENING, NGINX

if TYPE_CHECKING:
    from collections.abc import Callable

    from unit.lifecycle.model.end import Host
    from unit.lifecycle.model.guest import Guest
    from unit.lifecycle.model.scene import Steps

S = State


class Answer(Enum):
    """What becomes of a SYN."""

    QUEUED = auto()
    COOKIE = auto()
    REFUSED = auto()


@dataclass(frozen=True)
class Manners:
    """How a listener is set up, and used.

    Attributes:
        limit: both queues are full when longer than this.
        max_syn_backlog: net.ipv4.tcp_max_syn_backlog.
        has_cookies: net.ipv4.tcp_syncookies.
        aborts: net.ipv4.tcp_abort_on_overflow.
        pauses_ns: between two calls of accept(), over and over.
        open_ns: how long it is open before it closes, and opens again; None: it stays.
    """

    limit: int
    max_syn_backlog: int
    has_cookies: bool
    aborts: bool
    pauses_ns: tuple[int, ...]
    open_ns: int | None


class Shop:
    """The listener's socket, as the kernel has it."""

    def __init__(self, host: Host, port: int, netns: int, manners: Manners) -> None:
        self.host = host
        self.manners = manners
        self.ends = LISTENING._replace(local=Endpoint(LISTENING.local.address, port), netns=netns)
        self.syn_queue: list[Guest] = []
        self.accept_queue: list[Guest] = []
        self.is_open = False
        self.generation = 0
        self.start: Callable[[Steps], None] = lambda _steps: None
        """Has steps played beside the others."""
        self._pauses_ns = cycle(manners.pauses_ns)
        self._is_serving = False
        self.open()

    def open(self) -> None:
        self.generation += 1
        self.is_open = True
        self.sock = self.host.allocate()
        stream, limit = self.host.stream, self.manners.limit
        stream.goes(
            self.sock, self.ends, S.CLOSE, S.LISTEN, process=NGINX, accept_queue_limit=limit
        )
        ends = self.ends
        self.book = Listener(ends.netns, ends.local, NGINX, stream.now_ns, None, limit)
        self.host.listeners.append(self.book)
        self.host.kernel[self.sock] = Object(ends, S.LISTEN)

    def close(self) -> None:
        """What waits for accept() is reset; requests stay until something happens to them."""
        self.is_open = False
        queued, self.accept_queue = self.accept_queue, []
        stream = self.host.stream
        stream.goes(
            self.sock,
            self.ends,
            S.LISTEN,
            S.CLOSE,
            accept_queue_limit=self.manners.limit,
            accept_queue_len=len(queued),
        )
        self.host.kernel.pop(self.sock)
        self.book.closed_at_ns = stream.now_ns
        if queued:
            self.book.drops[Stage.LISTENER_CLOSED] = len(queued)
        for guest in queued:
            guest.be_thrown_out()
        self.syn_queue = []

    def judge(self) -> Answer | Stage:
        """In the kernel's order; Source: net/ipv4/tcp_input.c, tcp_conn_request."""
        manners = self.manners
        if not self.is_open:
            return Answer.REFUSED
        is_syn_queue_full = len(self.syn_queue) > manners.limit
        if is_syn_queue_full and not manners.has_cookies:
            return Stage.SYN_SYN_QUEUE_FULL
        if self.is_accept_queue_full:
            return Stage.SYN_ACCEPT_QUEUE_FULL
        spare = manners.max_syn_backlog - len(self.syn_queue)
        if not manners.has_cookies and spare < manners.max_syn_backlog >> 2:
            return Stage.SYN_LAST_QUARTER
        return Answer.COOKIE if is_syn_queue_full else Answer.QUEUED

    @property
    def is_accept_queue_full(self) -> bool:
        return len(self.accept_queue) > self.manners.limit

    def queue(self, guest: Guest) -> None:
        """Its child waits for accept()."""
        self.accept_queue.append(guest)
        if not self._is_serving:
            self._is_serving = True
            self.start(self._serve())

    def _serve(self) -> Steps:
        """Calls accept() as long as somebody waits."""
        while self.accept_queue:
            yield next(self._pauses_ns)
            if self.accept_queue:
                self.accept_queue.pop(0).be_accepted()
        self._is_serving = False

    def close_for_a_while(self) -> Steps:
        if self.manners.open_ns is None:
            return
        yield self.manners.open_ns
        self.close()
        yield self.manners.pauses_ns[0]
        self.open()


def throw_out(guest: Guest) -> None:
    """The child of a listener that closes."""
    server = guest.server
    server.go(S.CLOSE)
    server.conclude(How.LISTENER_CLOSED, Outcome.NEVER_ACCEPTED, Side.LOCAL)
    server.tell(Kind.RESET_SENT, old_state=S.CLOSE)
    guest.host.free(server.sock)
    guest.host.free(guest.request)
