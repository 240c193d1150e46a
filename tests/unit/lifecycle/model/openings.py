"""How connections begin, or fail to."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Final

from tcptrace.lifecycle.connection import How, Outcome, Side
from tcptrace.tcp import State
from tcptrace.wire.events import Kind, Stage
from unit import samples
from unit.lifecycle.model.handshakes import Handshakes
from unit.lifecycle.model.plan import Opening
from unit.lifecycle.stream import CURL, Ends

if TYPE_CHECKING:
    from unit.lifecycle.model.scene import Steps

S = State
FORGOTTEN: Final = 1000 * samples.S
"""After so long nobody waits for a peer that has stopped knocking."""


class Openings(Handshakes):
    """Plays a connection from connect() to ESTABLISHED on both ends, or to its failure."""

    def play_opening(self) -> Steps:
        use, client = self.use, self.client
        client.sock = self.host.allocate()
        before = client.ends if use.is_bound else client.ends.portless
        self.call_connect(before)
        yield self.pause_ns
        if use.opening is Opening.LOCAL_ERROR:
            self.fail_connect(before)
            return
        self.take_ports()
        client.tell(Kind.CONNECT_SENT)
        client.life.syn_at_ns = client.now_ns
        yield self.pause_ns
        yield from {
            Opening.REFUSED: self.refused,
            Opening.TIMEOUT: self.times_out,
            Opening.UNREACHABLE: self.unreachable,
            Opening.GAVE_UP: self.gives_up,
            Opening.SYN_DROPPED_FOR_EVER: self.dropped_for_ever,
            Opening.EXPIRED: self.expired,
            Opening.HALF_OPEN_RESET: self.half_open_reset,
            Opening.ABORT_ON_OVERFLOW: self.aborted_on_overflow,
            Opening.COOKIE_UNANSWERED: self.cookie_unanswered,
            Opening.COOKIE_REFUSED: self.cookie_refused,
            Opening.BOTH_AT_ONCE: self.open_both_at_once,
        }.get(use.opening, self.shake_hands)()

    def call_connect(self, ends: Ends) -> None:
        client = self.client
        client.be_born()
        if client.is_seen:
            self.host.stream.goes(client.sock, ends, S.CLOSE, S.SYN_SENT, process=CURL)
        client.enter(S.SYN_SENT)
        client.life.process = CURL
        client.life.syn_at_ns = client.now_ns

    def fail_connect(self, ends: Ends) -> None:
        client = self.client
        client.life.local = ends.local
        client.ends = ends
        client.close(How.LOCAL_ERROR, Outcome.FAILED, Side.LOCAL)

    def take_ports(self) -> None:
        """connect() takes the ports of the client's TIME_WAIT socket."""
        for end in [end for end in self.lingering if end.ends == self.chain.client]:
            end.leave_timewait("reused" if self.client.is_seen else "killed")
            self.lingering.remove(end)

    def refused(self) -> Steps:
        self.client.tell(Kind.RESET_RECEIVED, old_state=S.SYN_SENT)
        self.client.close(How.REFUSED, Outcome.REFUSED, Side.REMOTE, errno.ECONNREFUSED)
        yield self.pause_ns

    def times_out(self) -> Steps:
        for number in range(self.use.retries):
            yield samples.S << number
            self.retransmit_syn(number)
        yield samples.S << self.use.retries
        self.fail_by_timeout()

    def fail_by_timeout(self) -> None:
        retransmits = self.client.life.syn_retransmits
        self.client.close(How.TIMEOUT, Outcome.TIMEOUT, None, errno.ETIMEDOUT, retransmits)

    def unreachable(self) -> Steps:
        self.client.close(How.UNREACHABLE, Outcome.UNREACHABLE, None, errno.EHOSTUNREACH)
        yield self.pause_ns

    def gives_up(self) -> Steps:
        self.client.close(How.GAVE_UP, Outcome.GAVE_UP, Side.LOCAL)
        yield self.pause_ns

    def dropped_for_ever(self) -> Steps:
        self.take_ports_by_syn()
        self.begin_server()
        yield from self.drop_syns()
        self.drop_syn()
        self.server.conclude(How.DROPPED, Outcome.SYN_DROPPED, None)
        yield samples.S << self.use.retries
        self.fail_by_timeout()
        yield FORGOTTEN

    def drop_request(self, how: How, outcome: Outcome, by: Side | None, stage: Stage) -> None:
        self.tell_at_listener(Kind.REQUEST_DROPPED, stage=stage)
        self.server.enter(S.CLOSE)
        self.server.conclude(how, outcome, by)
        self.host.free(self.request)

    def expired(self) -> Steps:
        yield from self.begin_request()
        yield from self.give_up_waiting()
        for number in range(self.use.retries):
            yield samples.S << number
            self.retransmit_synack()
        yield samples.S << self.use.retries
        self.drop_request(How.EXPIRED, Outcome.EXPIRED, None, Stage.REQUEST_EXPIRED)

    def give_up_waiting(self) -> Steps:
        """The SYN-ACK never reaches the client, and its process has no patience."""
        yield self.pause_ns
        self.client.close(How.GAVE_UP, Outcome.GAVE_UP, Side.LOCAL)

    def half_open_reset(self) -> Steps:
        yield from self.begin_request()
        yield from self.give_up_waiting()
        yield self.pause_ns
        self.drop_request(
            How.RST_RECEIVED, Outcome.HALF_OPEN_RESET, Side.REMOTE, Stage.REQUEST_RESET
        )

    def aborted_on_overflow(self) -> Steps:
        yield from self.begin_request()
        yield self.pause_ns
        self.client.go(S.ESTABLISHED)
        yield self.pause_ns
        self.drop_ack(Stage.ABORT_ON_OVERFLOW)
        self.tell_at_listener(Kind.RESET_SENT)
        self.drop_request(How.RST_SENT, Outcome.RESET, Side.LOCAL, Stage.REQUEST_RESET)
        yield self.pause_ns
        self.client.be_reset(S.ESTABLISHED)

    def cookie_unanswered(self) -> Steps:
        """The client has gone away: nothing is told of the server."""
        yield from self.send_cookie()
        if self.server.is_seen:
            self.host.lives.remove(self.server.life)
        self.client.life.peer_id = None
        yield from self.give_up_waiting()
        yield FORGOTTEN

    def cookie_refused(self) -> Steps:
        """The client's ACKs with the cookie are all dropped, until it gives up."""
        yield from self.send_cookie()
        yield self.pause_ns
        self.client.go(S.ESTABLISHED)
        for number in range(self.use.retries):
            self.drop_ack(has_cookie=True)
            yield samples.S << number
        self.drop_ack(has_cookie=True)
        self.server.conclude(How.DROPPED, Outcome.SYN_DROPPED, None)
        yield samples.S
        self.client.reset()
        yield FORGOTTEN
