"""Whose records found the ring full: from the probes' counts by kind to the hooks' names.

Each kind of record comes from one hook of a trace, but for a few that two bodies or functions
send: those count apart where the body knows which it is (COUNTER_LOST_TOO in bpf/trace.c), and are
told under both names where it doesn't.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tcptrace.wire.events import Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

LOST_TOO: Final = 32
"""How far the second sender's count lies behind the first one's."""

_STATES: Final = ("inet_sock_set_state", "tcp_set_state")
_SENDERS: Final[Mapping[int, tuple[str, ...]]] = {
    Kind.STATE_CHANGED: _STATES,
    Kind.STATE_CHANGED + LOST_TOO: ("inet_csk_listen_start", *_STATES),
    Kind.CONNECT_SENT: ("tcp_connect",),
    Kind.SYN_QUEUED: ("tcp_make_synack",),
    Kind.SYN_COOKIE_SENT: ("tcp_make_synack",),
    Kind.SYN_DROPPED: ("tcp_conn_request",),
    Kind.CHILD_CREATED: ("tcp_v4_syn_recv_sock",),
    Kind.CHILD_CREATED + LOST_TOO: ("tcp_v6_syn_recv_sock",),
    Kind.CHILD_DROPPED: _STATES,
    Kind.MIGRATED: ("reuseport_migrate_sock",),
    Kind.ACK_DROPPED: ("tcp_v4_syn_recv_sock",),
    Kind.ACK_DROPPED + LOST_TOO: ("tcp_v6_syn_recv_sock",),
    Kind.REQUEST_DROPPED: ("__inet_csk_reqsk_queue_drop",),
    Kind.ACCEPTED: ("inet_csk_accept",),
    Kind.ACCEPTED + LOST_TOO: ("security_sock_graft",),
    Kind.SYN_RETRANSMITTED: ("tcp_retransmit_skb",),
    Kind.SYNACK_RETRANSMITTED: ("tcp_retransmit_synack", "tcp_rtx_synack"),
    Kind.RESET_SENT: ("tcp_send_reset", "tcp_v4_send_reset", "tcp_v6_send_reset"),
    Kind.RESET_SENT + LOST_TOO: ("tcp_send_active_reset", "tcp_send_reset"),
    Kind.RESET_RECEIVED: ("tcp_receive_reset", "tcp_reset"),
    Kind.TIMEWAIT_ENTERED: ("inet_twsk_hashdance_schedule", "inet_twsk_hashdance"),
    Kind.TIMEWAIT_STATE_CHANGED: ("tcp_timewait_state_process", "__inet_twsk_schedule"),
    Kind.TIMEWAIT_RELEASED: ("inet_twsk_deschedule_put",),
    Kind.TIMEWAIT_KILLED: ("inet_twsk_kill",),
    Kind.SEEN: ("sock_diag_save_cookie",),
}
"""By the place of its count: the hooks that may have sent it, of which a trace has some."""


def lost_by_hook(counts: Mapping[int, int], hooks: Iterable[str]) -> dict[str, int]:
    """Names the hooks whose records were lost.

    Args:
        counts: lost records by the place of their count.
        hooks: the trace's.

    Returns:
        Counts by a hook's name; by several names with commas where it may be any of them.
    """
    attached = set(hooks)
    found: dict[str, int] = {}
    for place, count in counts.items():
        if count:
            names = [name for name in _SENDERS.get(place, ()) if name in attached]
            if place == Kind.STATE_CHANGED + LOST_TOO:
                names = names[:1]
            told = ", ".join(names) or f"kind {place % LOST_TOO}"
            found[told] = found.get(told, 0) + count
    return found
