"""TCP's state machine as Linux runs it: tables only.

A life passes through the states of three kernel objects in a row: the request socket's
NEW_SYN_RECV, the full socket's states, and the TIME_WAIT socket's. The tables join them.

Source: RFC 9293 figure 5; net/ipv4/tcp_input.c (tcp_rcv_state_process, tcp_fin), net/ipv4/tcp.c
(tcp_close, new_state[]), net/ipv4/tcp_minisocks.c (tcp_timewait_state_process).
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Final

from tcptrace.lifecycle.connection import How, Side
from tcptrace.tcp import State

if TYPE_CHECKING:
    from collections.abc import Mapping

S = State

NEXT: Final[Mapping[State, frozenset[State]]] = {
    # The request socket: the final ACK makes the child.
    S.NEW_SYN_RECV: frozenset({S.SYN_RECV, S.CLOSE}),
    # The full socket.
    S.CLOSE: frozenset({S.LISTEN, S.SYN_SENT}),
    S.LISTEN: frozenset({S.CLOSE}),
    S.SYN_SENT: frozenset({S.ESTABLISHED, S.SYN_RECV, S.CLOSE}),
    S.SYN_RECV: frozenset({S.ESTABLISHED, S.FIN_WAIT1, S.CLOSE_WAIT, S.CLOSE}),
    S.ESTABLISHED: frozenset({S.FIN_WAIT1, S.CLOSE_WAIT, S.CLOSE}),
    S.FIN_WAIT1: frozenset({S.FIN_WAIT2, S.CLOSING, S.TIME_WAIT, S.CLOSE}),
    S.FIN_WAIT2: frozenset({S.TIME_WAIT, S.CLOSE}),
    S.CLOSING: frozenset({S.TIME_WAIT, S.CLOSE}),
    S.CLOSE_WAIT: frozenset({S.LAST_ACK, S.CLOSE}),
    S.LAST_ACK: frozenset({S.CLOSE}),
    # The TIME_WAIT socket.
    S.TIME_WAIT: frozenset({S.CLOSE}),
}
"""Which states may follow which within one life."""

BORN_FROM: Final[Mapping[State, State]] = {S.NEW_SYN_RECV: S.LISTEN, S.SYN_RECV: S.LISTEN}
"""In what state of another socket a life begins that does not begin in CLOSE: a request is made in
the name of its listener; the child is its clone."""

FIRST_CLOSER: Final[Mapping[tuple[State, State], Side]] = {
    (S.ESTABLISHED, S.FIN_WAIT1): Side.LOCAL,
    (S.SYN_RECV, S.FIN_WAIT1): Side.LOCAL,
    (S.ESTABLISHED, S.CLOSE_WAIT): Side.REMOTE,
    (S.SYN_RECV, S.CLOSE_WAIT): Side.REMOTE,
    # Both had sent their FIN before either saw the other's.
    (S.FIN_WAIT1, S.CLOSING): Side.BOTH,
}
"""Which transitions tell who closed first."""

ENDED_BY_FIN: Final = frozenset({S.LAST_ACK, S.CLOSING, S.TIME_WAIT})
"""States that CLOSE ends in good order: both FINs have been exchanged."""

ENDED_BY_ERROR: Final[Mapping[int, How]] = {
    errno.ETIMEDOUT: How.TIMEOUT,
    errno.ECONNREFUSED: How.REFUSED,
    errno.ECONNRESET: How.RST_RECEIVED,
    errno.EPIPE: How.RST_RECEIVED,
    errno.ECONNABORTED: How.ABORT,
    errno.EHOSTUNREACH: How.UNREACHABLE,
    errno.ENETUNREACH: How.UNREACHABLE,
    errno.ENOPROTOOPT: How.UNREACHABLE,
    errno.EACCES: How.UNREACHABLE,
    errno.EHOSTDOWN: How.UNREACHABLE,
}
"""What sk_err means at CLOSE; tcp_reset, tcp_write_err, tcp_abort and tcp_v4_err set it before.

EPIPE is a RST in CLOSE_WAIT (tcp_reset); the last four are ICMP errors (icmp_err_convert).
"""
