"""A connection to a listener that it shares with others: what becomes of it is up to the queues."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tcptrace.lifecycle.connection import How, Outcome, Side
from tcptrace.tcp import State
from tcptrace.wire.events import Flag, Kind, Stage
from unit import samples
from unit.lifecycle.model.closings import Closings
from unit.lifecycle.model.openings import FORGOTTEN, Openings
from unit.lifecycle.model.plan import POSSIBLE_WHILE_QUEUED, Closing, Opening, TimeWaitEnd
from unit.lifecycle.model.shop import Answer, Shop, throw_out

if TYPE_CHECKING:
    from unit.lifecycle.model.end import Host
    from unit.lifecycle.model.plan import Chain
    from unit.lifecycle.model.scene import Steps

S = State
_NO_ANSWER = (Opening.EXPIRED, Opening.HALF_OPEN_RESET, Opening.COOKIE_UNANSWERED)
"""The client's SYN-ACK is lost; by anything else it answers."""


class Guest(Openings, Closings):
    """Plays one chain of connections to a shop."""

    def __init__(self, host: Host, chain: Chain, shop: Shop) -> None:
        super().__init__(host, chain)
        self.shop = shop
        self.generation = 0
        self.knocked_ns = 0
        """When its last SYN was dropped, or answered with a cookie."""
        self.steps = self.play()

    def play(self) -> Steps:
        for use in self.chain.uses:
            yield self.pause_ns
            self.begin(use)
            self.knocked_ns = 0
            yield from self.come()
            yield from self.leave()

    # The listener.

    def queue_lens(self) -> tuple[int, int]:
        if self.has_lost_listener:
            return 0, 0
        return len(self.shop.syn_queue), len(self.shop.accept_queue)

    def len_with_child(self) -> int:
        return len(self.shop.accept_queue) + 1

    @property
    def has_lost_listener(self) -> bool:
        return not self.shop.is_open or self.generation != self.shop.generation

    def be_thrown_out(self) -> None:
        """The listener closes: the script goes on otherwise."""
        if self.server.state is not S.CLOSE:
            throw_out(self)
            self.steps = self.after_being_thrown_out()

    def after_being_thrown_out(self) -> Steps:
        yield self.pause_ns
        if self.client.state is S.ESTABLISHED:
            self.client.be_reset(S.ESTABLISHED)
        yield from self.leave()
        at = self.chain.uses.index(self.use)
        if at + 1 < len(self.chain.uses):
            yield from Guest(self.host, self.rest_of(at + 1), self.shop).steps

    def rest_of(self, at: int) -> Chain:
        chain = self.chain
        return type(chain)(
            chain.client, chain.server, chain.uses[at:], chain.pauses_ns, chain.begins_after_ns
        )

    def be_accepted(self) -> None:
        server = self.server
        if server.state is S.CLOSE:
            server.tell(Kind.ACCEPTED, new_state=S.CLOSE)
            server.life.moments.pop()
            return
        self.accept()

    # Coming.

    def come(self) -> Steps:
        client = self.client
        client.sock = self.host.allocate()
        before = client.ends if self.use.is_bound else client.ends.portless
        self.call_connect(before)
        yield self.pause_ns
        self.take_ports()
        client.tell(Kind.CONNECT_SENT)
        client.life.syn_at_ns = client.now_ns
        yield self.pause_ns
        yield from self.knock()
        if client.state is S.ESTABLISHED and self.server.state is S.ESTABLISHED:
            yield self.pause_ns
            yield from self.play_closing()

    def knock(self) -> Steps:
        for number in range(self.use.retries + 1):
            if number:
                self.retransmit_syn(number - 1)
            answer = self.shop.judge()
            if answer is Answer.REFUSED:
                yield from self.refused()
                break
            self.meet_listener()
            is_cookie_lost = self.use.opening is Opening.COOKIE_AFTER_DROPS
            if isinstance(answer, Stage):
                self.tell_at_listener(Kind.SYN_DROPPED, 0, answer)
                self.server.life.syn_drops += 1
            elif answer is Answer.QUEUED:
                yield from self.wait_in_queue()
                return
            else:
                self.get_cookie()
                if not is_cookie_lost:
                    yield from self.answer_cookie()
                    return
            self.knocked_ns = self.server.now_ns
            yield samples.S << number
        else:
            self.fail_by_timeout()
        if self.knocked_ns:
            yield from self.be_forgotten()

    def meet_listener(self) -> None:
        """A SYN arrives: the first makes the server's life begin."""
        self.generation = self.shop.generation
        self.listener, self.listener_sock = self.shop.book, self.shop.sock
        if not self.knocked_ns:
            self.take_ports_by_syn()
            self.begin_server()

    def wait_in_queue(self) -> Steps:
        self.shop.syn_queue.append(self)
        self.queue_syn()
        self.server.life.cookie = False
        if self.use.opening in _NO_ANSWER:
            yield from self.fall_silent()
            return
        yield self.pause_ns
        self.client.go(S.ESTABLISHED)
        for number in range(self.use.retries + 1):
            yield self.pause_ns
            if self.has_lost_listener:
                self.lose_request()
            elif not self.shop.is_accept_queue_full:
                self.become_child()
            elif self.shop.manners.aborts:
                yield from self.be_aborted()
            else:
                self.drop_ack()
                yield samples.S << number
                if not self.has_lost_listener:
                    self.retransmit_synack()
                continue
            yield self.pause_ns
            if self.server.state is S.CLOSE and self.client.state is not S.CLOSE:
                self.client.be_reset(S.ESTABLISHED)
            return
        self.expire()
        yield self.pause_ns
        self.client.reset()

    def fall_silent(self) -> Steps:
        yield from self.give_up_waiting()
        yield self.pause_ns
        if self.has_lost_listener:
            self.lose_request()
        elif self.use.opening is Opening.HALF_OPEN_RESET:
            self.leave_queue()
            reset, half_open = How.RST_RECEIVED, Outcome.HALF_OPEN_RESET
            self.drop_request(reset, half_open, Side.REMOTE, Stage.REQUEST_RESET)
        else:
            for number in range(self.use.retries):
                yield samples.S << number
                if not self.has_lost_listener:
                    self.retransmit_synack()
            yield samples.S << self.use.retries
            self.expire()

    def leave_queue(self) -> None:
        if self in self.shop.syn_queue:
            self.shop.syn_queue.remove(self)

    def expire(self) -> None:
        """The SYN-ACK's timer runs out, or finds that the listener is gone."""
        if self.has_lost_listener:
            self.lose_request()
            return
        self.leave_queue()
        self.drop_request(How.EXPIRED, Outcome.EXPIRED, None, Stage.REQUEST_EXPIRED)

    def lose_request(self) -> None:
        lost, never = How.LISTENER_CLOSED, Outcome.NEVER_ACCEPTED
        self.drop_request(lost, never, Side.LOCAL, Stage.LISTENER_CLOSED)

    def be_aborted(self) -> Steps:
        self.drop_ack(Stage.ABORT_ON_OVERFLOW)
        self.tell_at_listener(Kind.RESET_SENT)
        self.leave_queue()
        self.drop_request(How.RST_SENT, Outcome.RESET, Side.LOCAL, Stage.REQUEST_RESET)
        yield self.pause_ns

    def become_child(self, flags: Flag = Flag(0)) -> None:  # noqa: B008 - immutable
        self.make_child(flags=flags)
        self.leave_queue()
        self.shop.queue(self)
        self.server.go(S.ESTABLISHED)

    def get_cookie(self) -> None:
        self.tell_at_listener(Kind.SYN_COOKIE_SENT, 0)
        self.server.life.cookie = True
        self.listener.cookies_sent += 1
        self.knocked_ns = self.server.now_ns

    def answer_cookie(self) -> Steps:
        server = self.server
        yield self.pause_ns
        if self.use.opening in _NO_ANSWER:
            self.client.close(How.GAVE_UP, Outcome.GAVE_UP, Side.LOCAL)
            yield from self.be_forgotten()
            return
        self.client.go(S.ESTABLISHED)
        yield self.pause_ns
        if self.has_lost_listener:
            self.client.be_reset(S.ESTABLISHED)
            yield from self.be_forgotten()
        elif self.shop.is_accept_queue_full:
            self.drop_ack(has_cookie=True)
            server.conclude(How.DROPPED, Outcome.SYN_DROPPED, None)
            yield self.pause_ns
            self.client.reset()
            yield FORGOTTEN
        else:
            self.become_child(Flag.COOKIE)

    def be_forgotten(self) -> Steps:
        """Nothing is told of who got cookies and did not answer, unless a SYN was dropped too."""
        server = self.server
        if server.life.syn_drops:
            server.conclude(How.DROPPED, Outcome.SYN_DROPPED, None)
            server.life.ended_at_ns = self.knocked_ns
        else:
            self.host.lives.remove(server.life)
            self.client.life.peer_id = None
        yield FORGOTTEN

    # Leaving.

    def play_closing(self) -> Steps:
        is_queued = self in self.shop.accept_queue
        closing = self.use.closing
        if closing is Closing.LISTENER_CLOSES or (
            is_queued and closing not in POSSIBLE_WHILE_QUEUED
        ):
            while self in self.shop.accept_queue:
                yield 50 * samples.MS + self.pause_ns
        if closing is not Closing.LISTENER_CLOSES:
            yield from self.close_by(closing)

    def accept_late(self) -> None:
        """Its turn comes."""

    def leave(self) -> Steps:
        """Before the next connection its ports must be free, or in TIME_WAIT."""
        if self.client.state is S.ESTABLISHED:
            self.client.reset()
            yield self.pause_ns
            if self.server.state is S.ESTABLISHED:
                self.server.be_reset(S.ESTABLISHED)
        while self in self.shop.accept_queue:
            yield 50 * samples.MS + self.pause_ns
        for end in list(self.lingering):
            if self.use.timewait_end is not TimeWaitEnd.REUSED:
                is_timer = self.use.timewait_end is TimeWaitEnd.TIMER
                yield 60 * samples.S if is_timer else self.pause_ns
                end.leave_timewait("timer" if is_timer else "killed")
                self.lingering.remove(end)
        yield samples.S
