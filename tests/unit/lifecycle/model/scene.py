"""The scene of a chain: its listener, and the two ends of its present connection."""

from __future__ import annotations

from collections.abc import Generator
from itertools import cycle
from typing import TYPE_CHECKING, Final, TypeAlias

from tcptrace.lifecycle.connection import Listener, Role
from tcptrace.tcp import State
from tcptrace.wire.events import Flag, Kind, Stage
from unit.lifecycle.model.end import End, Host, Object
from unit.lifecycle.stream import LISTENING, NGINX

if TYPE_CHECKING:
    from unit.lifecycle.model.plan import Chain, Use

S = State
Steps: TypeAlias = Generator[int, None, None]
"""A script; it yields how many nanoseconds pass until its next step."""


NO_FLAGS: Final = Flag(0)
_OF_THE_REQUEST_ALONE: Final = (Kind.SYNACK_RETRANSMITTED, Kind.RESET_SENT)
"""These carry the listener's queues too, but say nothing of it."""


class Scene:
    """Where openings and closings are played."""

    def __init__(self, host: Host, chain: Chain) -> None:
        self.host = host
        self.chain = chain
        self.pauses_ns = cycle(chain.pauses_ns)
        self.queue_lengths = cycle(range(4))
        self.lingering: list[End] = []
        """Ends in TIME_WAIT whose ports the next connection takes."""
        self.listener = Listener(chain.server.netns, LISTENING.local)
        self.listener_sock = 0
        self.request = 0
        self.begin(chain.uses[0])

    def begin(self, use: Use) -> None:
        """Sets the stage for the next connection."""
        self.use = use
        self.client = End(self.host, self.chain.client, Role.CLIENT, use.client_is_seen)
        self.server = End(self.host, self.chain.server, Role.SERVER, use.server_is_seen)

    @property
    def pause_ns(self) -> int:
        return next(self.pauses_ns)

    def queue_lens(self) -> tuple[int, int]:
        """The listener's queues now: SYN queue, accept queue. Here nothing depends on them."""
        return next(self.queue_lengths), next(self.queue_lengths)

    def len_with_child(self) -> int:
        """The accept queue with one more child."""
        return 1

    def open_listener(self) -> None:
        self.listener_sock = self.host.allocate()
        stream = self.host.stream
        ends = LISTENING._replace(netns=self.chain.server.netns)
        stream.goes(
            self.listener_sock, ends, S.CLOSE, S.LISTEN, process=NGINX, accept_queue_limit=9
        )
        self.listener = Listener(ends.netns, ends.local, NGINX, stream.now_ns, None, 9)
        self.host.listeners.append(self.listener)
        self.host.kernel[self.listener_sock] = Object(ends, S.LISTEN)

    def close_listener(self) -> None:
        """While one connection waits in its accept queue."""
        queued = int(self.server.is_seen)
        if queued:
            self.listener.drops[Stage.LISTENER_CLOSED] = 1
        ends = LISTENING._replace(netns=self.chain.server.netns)
        self.host.stream.goes(
            self.listener_sock,
            ends,
            S.LISTEN,
            S.CLOSE,
            accept_queue_limit=9,
            accept_queue_len=queued,
        )
        self.host.kernel.pop(self.listener_sock)
        self.listener.closed_at_ns = self.host.stream.now_ns

    def tell_at_listener(
        self,
        kind: Kind,
        sock: int | None = None,
        stage: Stage = Stage.NONE,
        origin: int = 0,
        flags: Flag = NO_FLAGS,
    ) -> None:
        """Sends a record that carries the listener's queues."""
        syn_queue_len, accept_queue_len = self.queue_lens()
        self.server.tell(
            kind,
            sock,
            stage=stage,
            origin=origin or self.listener_sock,
            accept_queue_len=accept_queue_len,
            accept_queue_limit=self.listener.accept_queue_limit,
            syn_queue_len=syn_queue_len,
            flags=flags,
        )
        is_listeners = stage is not Stage.REQUEST_RESET and kind not in _OF_THE_REQUEST_ALONE
        if self.server.is_seen and is_listeners:
            listener = self.listener
            listener.accept_queue_peak = max(listener.accept_queue_peak, accept_queue_len)
            listener.syn_queue_peak = max(listener.syn_queue_peak, syn_queue_len)
            if stage:
                listener.drops[stage] = listener.drops.get(stage, 0) + 1

    def accept(self) -> None:
        self.server.tell(Kind.ACCEPTED, new_state=self.server.state)
        self.server.life.process = NGINX
        self.server.life.accepted_at_ns = self.server.now_ns
        self.host.free(self.request)
