"""What looks like a fault, and is none yet: no verdict, however many look at it at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .plays import API, REFUSING, SILENT, Play, accept_queue_near_limit, healthy, set_port_range
from .stage import WEB

if TYPE_CHECKING:
    from .plays import Script
    from .stage import Stage


def slow_but_empty_accept_loop(stage: Stage) -> Script:
    """accept() takes one every 0.6 s; a client comes every 2 s."""
    stage.serve(backlog=8, pause_s=0.6, most=1)
    visitors = stage.clients()
    yield
    stage.loop.every(2, lambda: visitors.connect(stage.here))


def one_syn_ack_lost(stage: Stage) -> Script:
    """The first SYN-ACK, and no other."""
    flags = "tcp flags & (syn | ack) == (syn | ack)"
    stage.drop(stage.client, f"{flags} numgen inc mod 1000 0")
    stage.serve()
    visitors = stage.clients()
    yield
    stage.loop.every(0.5, lambda: visitors.connect(stage.here))


def short_close_wait(stage: Stage) -> Script:
    """40 connections are in CLOSE_WAIT for 4 s, again and again."""
    stage.serve(late_s=4)
    visitors = stage.clients()
    yield
    stage.loop.every(6, lambda: visitors.connect(stage.here, 40))


def time_waits_of_a_server(stage: Stage) -> Script:
    """150 connections that the server closed first, where it has 100 ephemeral ports."""
    with stage.server.inside():
        set_port_range(40_000, 40_099)
    stage.serve(at_once=True)
    visitors = stage.clients(stay_s=1)
    yield
    stage.loop.every(2, lambda: visitors.connect(stage.here, 15))


def time_waits_to_several_remotes(stage: Stage) -> Script:
    """90 connections that this host closed first to three remotes, where it has 100 ports."""
    with stage.server.inside():
        set_port_range(40_000, 40_099)
    for port in range(API + 100, API + 103):
        stage.serve_elsewhere(port)
    callers = stage.local_clients()
    yield
    for burst in range(6):
        end = (stage.there, API + 100 + burst % 3)
        stage.loop.after(0.5 * burst, lambda end=end: callers.connect(end, 15))  # type: ignore[misc]


def time_waits_on_loopback(stage: Stage) -> Script:
    """36 of 40 ports at once, and more later: tcp_tw_reuse=2, the default, lends them again."""
    with stage.server.inside():
        set_port_range(40_000, 40_039)
    stage.serve(API)
    callers = stage.local_clients()
    yield
    stage.loop.after(1, lambda: callers.connect(("127.0.0.1", API), 36))
    stage.loop.every(5, lambda: callers.connect(("127.0.0.1", API), 4), 5)


def refused_now_and_then(stage: Stage) -> Script:
    """A health check of something that is not there, and another that hangs, among other calls."""
    stage.serve_elsewhere(API)
    stage.drop(stage.client, f"tcp dport {SILENT}")
    callers, impatient = stage.local_clients(), stage.local_clients(patience_s=1.5)
    yield
    stage.loop.every(0.4, lambda: callers.connect((stage.there, API)))
    stage.loop.every(8, lambda: callers.connect((stage.there, REFUSING)))
    stage.loop.every(20, lambda: impatient.connect((stage.there, SILENT)), 5)


def localhost_by_v6_first(stage: Stage) -> Script:
    """Whoever wants localhost tries ::1, is refused, and gets in by 127.0.0.1 at once."""
    stage.serve()
    callers = stage.local_clients()
    yield
    stage.loop.every(0.8, lambda: callers.connect(("::1", WEB)))
    stage.loop.every(0.8, lambda: callers.connect(("127.0.0.1", WEB)), 0.01)


def silent_clients_of_a_deferring_listener(stage: Stage) -> Script:
    """TCP_DEFER_ACCEPT: who sends nothing for 8 s is in the SYN queue all the while."""
    stage.serve(defer_s=30)
    visitors = stage.clients(stay_s=8)
    yield
    stage.loop.every(0.7, lambda: visitors.connect(stage.here))


def cookies_always(stage: Stage) -> Script:
    """tcp_syncookies=2: every SYN gets a cookie, and every cookie is answered."""
    stage.server.sysctl("ipv4.tcp_syncookies", 2)
    stage.serve()
    visitors = stage.clients()
    yield
    stage.loop.every(0.5, lambda: visitors.connect(stage.here))


def resets_now_and_then(stage: Stage) -> Script:
    """Every tenth client ends by a RST, as health checks do."""
    stage.serve()
    visitors, checks = stage.clients(), stage.clients(is_abrupt=True)
    yield
    stage.loop.every(0.4, lambda: visitors.connect(stage.here))
    stage.loop.every(4, lambda: checks.connect(stage.here))


def one_burst(stage: Stage) -> Script:
    """22 clients at once where 21 fit in, and nobody after that for long."""
    stage.serve(backlog=20, pause_s=1)
    visitors = stage.clients()
    yield
    stage.loop.after(3, lambda: visitors.connect(stage.here, 22))
    stage.loop.every(0.5, lambda: visitors.connect(stage.here), 6)


def room_below_somaxconn(stage: Stage) -> Script:
    """Bursts that fit into listen(64), though net.core.somaxconn would not let it be longer."""
    stage.server.sysctl("core.somaxconn", 64)
    stage.serve(backlog=64, pause_s=0.2)
    stage.serve(WEB + 1, backlog=64)
    visitors = stage.clients()
    yield
    stage.loop.every(3, lambda: visitors.connect(stage.here, 30))


NEAR: Final = {
    "healthy": Play(healthy, 50),
    "a-burst-that-fits": Play(accept_queue_near_limit, 30),
    "one-burst": Play(one_burst, 30),
    "room-below-somaxconn": Play(room_below_somaxconn, 30),
    "slow-but-empty": Play(slow_but_empty_accept_loop, 30),
    "one-syn-ack-lost": Play(one_syn_ack_lost, 30),
    "short-close-wait": Play(short_close_wait, 30),
    "time-waits-of-a-server": Play(time_waits_of_a_server, 30),
    "time-waits-to-several": Play(time_waits_to_several_remotes, 30),
    "time-waits-on-loopback": Play(time_waits_on_loopback, 30),
    "refused-now-and-then": Play(refused_now_and_then, 30),
    "localhost-by-v6-first": Play(localhost_by_v6_first, 30),
    "silent-clients-deferred": Play(silent_clients_of_a_deferring_listener, 30),
    "cookies-always": Play(cookies_always, 30),
    "resets-now-and-then": Play(resets_now_and_then, 30),
}
