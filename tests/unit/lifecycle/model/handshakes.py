"""How connections are established: by a request socket, a cookie, Fast Open, or two SYNs."""

from __future__ import annotations

from tcptrace.lifecycle.connection import Role
from tcptrace.tcp import State
from tcptrace.wire.events import Flag, Kind, Stage
from unit import samples
from unit.lifecycle.model.end import link
from unit.lifecycle.model.plan import Opening
from unit.lifecycle.model.scene import NO_FLAGS, Scene, Steps
from unit.lifecycle.stream import CURL, NGINX

S = State


class Handshakes(Scene):
    """Plays a connection from its SYN to ESTABLISHED on both ends."""

    def take_ports_by_syn(self) -> None:
        """A SYN takes the ports of the server's TIME_WAIT socket."""
        for end in self.lingering:
            end.leave_timewait("reused" if self.server.is_seen else "killed")
        self.lingering.clear()

    def retransmit_syn(self, number: int) -> None:
        self.client.tell(Kind.SYN_RETRANSMITTED, new_state=S.SYN_SENT, retransmits=number + 1)
        self.client.life.syn_retransmits += 1

    def drop_syn(self) -> None:
        self.tell_at_listener(Kind.SYN_DROPPED, 0, Stage.SYN_ACCEPT_QUEUE_FULL)
        self.server.life.syn_drops += 1

    def begin_server(self) -> None:
        """The first SYN arrives, or what stands for it: the next record is the life's first."""
        self.server.be_born()
        self.server.life.listening_process = NGINX
        self.server.life.syn_at_ns = self.server.now_ns + samples.US
        if self.client.is_seen and self.server.is_seen:
            link(self.client, self.server)

    def queue_syn(self) -> None:
        server = self.server
        server.sock = self.request = self.host.allocate()
        self.tell_at_listener(Kind.SYN_QUEUED)
        server.enter(S.NEW_SYN_RECV)
        server.be_in(S.NEW_SYN_RECV, origin=self.listener_sock)
        server.life.request_at_ns = server.now_ns

    def begin_request(self) -> Steps:
        self.take_ports_by_syn()
        self.begin_server()
        if self.use.opening is Opening.SYN_DROPPED:
            yield from self.drop_syns()
        self.queue_syn()

    def drop_syns(self) -> Steps:
        """The client tries again until one is let in."""
        for number in range(self.use.retries):
            self.drop_syn()
            yield samples.S << number
            self.retransmit_syn(number)

    def retransmit_synack(self) -> None:
        self.tell_at_listener(Kind.SYNACK_RETRANSMITTED)
        self.server.life.synack_retransmits += 1

    def drop_ack(
        self, stage: Stage = Stage.ACK_ACCEPT_QUEUE_FULL, *, has_cookie: bool = False
    ) -> None:
        """A cookie's request is made for its ACK, and goes with it."""
        sock = self.host.allocate() if has_cookie else self.server.sock
        flags = Flag.COOKIE if has_cookie else NO_FLAGS
        self.tell_at_listener(Kind.ACK_DROPPED, sock, stage, flags=flags)
        if has_cookie:
            self.host.free(sock)
        self.server.life.ack_drops += 1

    def send_cookie(self) -> Steps:
        self.take_ports_by_syn()
        self.begin_server()
        if self.use.opening is Opening.COOKIE_AFTER_DROPS:
            yield from self.drop_syns()
        self.tell_at_listener(Kind.SYN_COOKIE_SENT, 0)
        self.server.life.cookie = True
        self.listener.cookies_sent += self.server.is_seen

    def shake_hands(self) -> Steps:
        opening = self.use.opening
        if opening in (Opening.COOKIE, Opening.COOKIE_AFTER_DROPS):
            yield from self.send_cookie()
            yield self.pause_ns
            self.client.go(S.ESTABLISHED)
            yield self.pause_ns
            self.make_child(flags=Flag.COOKIE)
        elif opening is Opening.FAST_OPEN:
            self.take_ports_by_syn()
            self.begin_server()
            self.make_child(flags=Flag.FASTOPEN)
            self.server.life.fastopen = True
            yield self.pause_ns
            self.tell_at_listener(Kind.SYNACK_RETRANSMITTED, self.request, origin=self.server.sock)
            self.server.life.synack_retransmits += 1
            yield self.pause_ns
            self.client.go(S.ESTABLISHED)
            yield self.pause_ns
        else:
            yield from self.begin_request()
            yield self.pause_ns
            self.client.go(S.ESTABLISHED)
            yield self.pause_ns
            yield from self.take_ack()
        self.server.go(S.ESTABLISHED)

    def take_ack(self) -> Steps:
        """The final ACK makes a child, perhaps not at once, perhaps twice."""
        opening, loser = self.use.opening, self.host.allocate()
        if opening is Opening.ACK_DROPPED:
            for number in range(self.use.retries):
                self.drop_ack()
                yield samples.S << number
                self.retransmit_synack()
        elif opening is Opening.CHILD_FAILS:
            self.server.tell(Kind.STATE_CHANGED, loser, old_state=S.SYN_RECV, new_state=S.CLOSE)
            self.tell_at_listener(Kind.ACK_DROPPED, stage=Stage.OTHER)
            self.server.life.ack_drops += 1
            yield self.pause_ns
        elif opening in (Opening.LOSER_FIRST, Opening.LOSER_DROPPED_FIRST):
            # The life is the request's: it is the loser's record that tells of the child.
            self.host.unsettled += 1
            self.make_child(sock=loser)
            yield self.pause_ns
        if opening is Opening.LOSER_DROPPED_FIRST:
            self.server.tell(Kind.CHILD_DROPPED, loser)
            yield self.pause_ns
            self.make_child(again=True)
            self.host.unsettled -= 1
        elif opening is Opening.LOSER_FIRST:
            self.server.sock = self.host.allocate()
            self.tell_twin(self.server.sock)
            self.host.kernel.pop(loser, None)
            self.server.be_in(S.SYN_RECV)
            self.host.unsettled -= 1
        else:
            self.make_child()
        if opening is Opening.WINNER_FIRST:
            yield self.pause_ns
            self.tell_twin(loser)
        if opening in (Opening.WINNER_FIRST, Opening.LOSER_FIRST):
            yield self.pause_ns
            self.server.tell(Kind.CHILD_DROPPED, loser)
        self.host.free(loser)

    def make_child(
        self, *, flags: Flag = NO_FLAGS, sock: int | None = None, again: bool = False
    ) -> None:
        server = self.server
        if flags:
            self.request = self.host.allocate()
        server.sock = self.host.allocate() if sock is None else sock
        server.tell(
            Kind.CHILD_CREATED,
            origin=self.listener_sock if flags else self.request,
            accept_queue_len=self.len_with_child(),
            accept_queue_limit=self.listener.accept_queue_limit,
            flags=flags,
        )
        if server.is_seen:
            peak = max(self.listener.accept_queue_peak, self.len_with_child())
            self.listener.accept_queue_peak = peak
        self.host.kernel.pop(self.request, None)
        server.be_in(S.SYN_RECV)
        if not again:
            server.enter(S.SYN_RECV)
            server.life.queued_at_ns = server.now_ns
            if flags is Flag.FASTOPEN:
                server.life.syn_at_ns = server.now_ns

    def tell_twin(self, sock: int) -> None:
        """Another child of the same request: no news of the life itself."""
        if self.server.is_seen:
            self.host.stream.tell(Kind.CHILD_CREATED, sock, self.server.ends, origin=self.request)

    def open_both_at_once(self) -> Steps:
        """Each calls connect(), and the SYNs cross."""
        self.server.role = self.server.life.role = Role.CLIENT
        client, server = self.client, self.server
        server.sock = self.host.allocate()
        server.be_born()
        if server.is_seen:
            self.host.stream.goes(
                server.sock, server.ends.portless, S.CLOSE, S.SYN_SENT, process=CURL
            )
        server.enter(S.SYN_SENT)
        server.life.process = CURL
        yield self.pause_ns
        self.take_ports_by_syn()
        server.tell(Kind.CONNECT_SENT)
        server.life.syn_at_ns = server.now_ns
        if client.is_seen and server.is_seen:
            link(client, server)
        for end in (client, server):
            yield self.pause_ns
            end.go(S.SYN_RECV)
        for end in (server, client):
            yield self.pause_ns
            end.go(S.ESTABLISHED)
