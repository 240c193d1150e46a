"""How established connections end."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from tcptrace.lifecycle.connection import How, Outcome, Role, Side
from tcptrace.tcp import State
from tcptrace.wire.events import Kind
from unit import samples
from unit.lifecycle.model.plan import POSSIBLE_WHILE_QUEUED, Acceptance, Closing
from unit.lifecycle.model.scene import Scene, Steps
from unit.lifecycle.stream import NGINX

if TYPE_CHECKING:
    from unit.lifecycle.model.end import End

S = State


class Closings(Scene):
    """Plays a connection from ESTABLISHED to its end."""

    def play_closing(self) -> Steps:
        server, closing = self.server, self.use.closing
        is_queued = server.role is Role.SERVER and self.use.acceptance is not Acceptance.SOON
        if closing is Closing.LISTENER_CLOSES and is_queued:
            yield from self.close_with_listener()
            return
        if is_queued and closing not in POSSIBLE_WHILE_QUEUED:
            self.accept()
        yield from self.close_by(closing)

    def close_by(self, closing: Closing) -> Steps:
        client, server = self.client, self.server
        yield from {
            Closing.CLIENT_FIRST: lambda: self.close_in_turn(client, server),
            Closing.SERVER_FIRST: lambda: self.close_in_turn(server, client),
            Closing.BOTH_AT_ONCE: self.close_both_at_once,
            Closing.CLIENT_RESETS: lambda: self.reset(client, server),
            Closing.SERVER_RESETS: lambda: self.reset(server, client),
            Closing.CLIENT_IS_ABORTED: self.abort,
            Closing.CLIENT_GETS_DATA_AFTER_CLOSE: self.send_data_after_close,
            Closing.CLIENT_TIMES_OUT: self.time_out,
            Closing.NO_ROOM_FOR_TIME_WAIT: self.close_without_timewait,
            Closing.SERVERS_FIN_NEVER_COMES: self.lose_last_fin,
        }.get(closing, self.leave_open)()

    def accept_late(self) -> None:
        """accept() hands out what is over already: that is no part of its life."""
        server = self.server
        is_queued = server.role is Role.SERVER and server.life.accepted_at_ns is None
        if is_queued and self.use.acceptance is Acceptance.AFTER_THE_END:
            if server.is_seen:
                self.host.stream.tell(
                    Kind.ACCEPTED, server.sock, server.ends, NGINX, new_state=S.CLOSE
                )
            self.host.free(self.request)

    def close_in_turn(self, first: End, second: End) -> Steps:
        first.send_fin(S.FIN_WAIT1)
        yield self.pause_ns
        second.go(S.CLOSE_WAIT)
        second.life.closed_by = Side.REMOTE
        yield self.pause_ns
        first.go(S.FIN_WAIT2)
        if self.use.is_orphan:
            first.enter_timewait(S.FIN_WAIT2)
        yield self.pause_ns
        second.send_fin(S.LAST_ACK)
        yield self.pause_ns
        if self.use.is_orphan:
            first.get_last_fin()
        else:
            first.enter_timewait(S.TIME_WAIT)
        self.lingering.append(first)
        yield self.pause_ns
        second.finish()

    def close_both_at_once(self) -> Steps:
        ends = (self.client, self.server)
        for state in (S.FIN_WAIT1, S.CLOSING):
            for end in ends:
                yield self.pause_ns
                end.send_fin(state)
                if state is S.CLOSING:
                    end.life.closed_by = Side.BOTH
        for end in ends:
            yield self.pause_ns
            end.enter_timewait(S.TIME_WAIT)
            self.lingering.append(end)

    def reset(self, first: End, second: End) -> Steps:
        first.reset()
        yield self.pause_ns
        second.be_reset(S.ESTABLISHED)
        self.accept_late()

    def abort(self) -> Steps:
        self.client.tell(Kind.RESET_SENT, old_state=S.ESTABLISHED)
        self.client.close(How.ABORT, Outcome.ABORTED, Side.LOCAL, errno.ECONNABORTED)
        yield self.pause_ns
        self.server.be_reset(S.ESTABLISHED)
        self.accept_late()

    def send_data_after_close(self) -> Steps:
        client = self.client
        client.send_fin(S.FIN_WAIT1)
        yield self.pause_ns
        self.server.go(S.CLOSE_WAIT)
        self.server.life.closed_by = Side.REMOTE
        client.go(S.FIN_WAIT2)
        yield self.pause_ns
        client.tell(Kind.RESET_RECEIVED, old_state=S.FIN_WAIT2)
        client.close(How.RST_SENT, Outcome.RESET, None, errno.ECONNRESET)
        client.tell(Kind.RESET_SENT, old_state=S.CLOSE)
        yield self.pause_ns
        self.server.be_reset(S.CLOSE_WAIT)

    def time_out(self) -> Steps:
        """The client's data is never acknowledged; the server's keepalive finds nobody."""
        yield 900 * samples.S
        self.client.close(How.TIMEOUT, Outcome.TIMEOUT, None, errno.ETIMEDOUT, retransmits=15)
        yield 7200 * samples.S
        self.server.tell(Kind.RESET_SENT, old_state=S.ESTABLISHED)
        self.server.close(How.TIMEOUT, Outcome.TIMEOUT, None, errno.ETIMEDOUT)

    def close_without_timewait(self) -> Steps:
        self.client.send_fin(S.FIN_WAIT1)
        yield self.pause_ns
        self.server.go(S.CLOSE_WAIT)
        self.server.life.closed_by = Side.REMOTE
        self.client.go(S.FIN_WAIT2)
        self.client.close(How.FIN, Outcome.CLOSED)
        yield self.pause_ns
        self.server.send_fin(S.LAST_ACK)
        self.server.finish()

    def lose_last_fin(self) -> Steps:
        """The server never closes, until its process is gone: a RST that finds nobody."""
        self.client.send_fin(S.FIN_WAIT1)
        yield self.pause_ns
        self.server.go(S.CLOSE_WAIT)
        self.server.life.closed_by = Side.REMOTE
        self.client.go(S.FIN_WAIT2)
        self.client.enter_timewait(S.FIN_WAIT2)
        yield 60 * samples.S
        self.client.leave_timewait("timer")
        yield self.pause_ns
        self.server.reset()

    def close_with_listener(self) -> Steps:
        server = self.server
        self.close_listener()
        self.host.free(self.listener_sock)
        server.go(S.CLOSE)
        server.conclude(How.LISTENER_CLOSED, Outcome.NEVER_ACCEPTED, Side.LOCAL)
        server.tell(Kind.RESET_SENT, old_state=S.CLOSE)
        self.host.free(server.sock)
        self.host.free(self.request)
        yield self.pause_ns
        self.client.be_reset(S.ESTABLISHED)
        yield self.pause_ns
        self.open_listener()

    def leave_open(self) -> Steps:
        """Until another needs the ports: then its process is killed."""
        yield self.pause_ns
