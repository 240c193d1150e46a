"""The figures that kernel and trace both know: what each counts, and who counts it here. Pure.

Only what is the same by the kernel's own source is here. Left out, since the records don't tell it
exactly: OutRsts (RSTs that belong to no socket), RetransSegs (data that is sent again),
AttemptFails (a connect() that its process gives up counts nowhere), EmbryonicRsts and TCPAbort*
(the kernel counts by the reason, which no hook tells), sockstat's orphan and alloc (of the whole
host, whatever the namespace).
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple

from tcptrace.tcp import State
from tcptrace.wire.events import Flag, Kind, Stage
from tcptrace.wire.ledger import Count

if TYPE_CHECKING:
    from collections.abc import Mapping


class Origin(StrEnum):
    """Who counts a figure on the side of the trace."""

    LEDGER = "ledger"
    """The probes: exact whatever the ring loses."""
    RECORDS = "records"
    """The records that came through the ring."""
    SOCKETS = "sockets"
    """The states of the sockets that are known: right again after the snapshot that follows a
    loss."""


class Figure(NamedTuple):
    """One figure."""

    name: str
    """As the kernel's counter: a label."""
    origin: Origin
    kernel: tuple[str, ...]
    """The kernel's counters, added up."""
    counts: str
    """What, in words."""
    hooks: tuple[str, ...]
    """By which it is counted here; () for all of them."""
    uncertain: tuple[str, ...] = ()
    """Kernel counters of events that may be in `kernel` without having come about."""


_SYN_HOOKS: Final = (
    "tcp_conn_request",
    "tcp_make_synack",
    "tcp_v4_syn_recv_sock",
    "tcp_v6_syn_recv_sock",
    "tcp_req_err",
)
_CHILD_HOOKS: Final = ("tcp_v4_syn_recv_sock", "tcp_v6_syn_recv_sock")
_COOKIE_HOOKS: Final = (
    *("__cookie_v4_check", "cookie_v4_check"),
    *("__cookie_v6_check", "cookie_v6_check"),
)


def _by_ledger(name: str, counts: str, hooks: tuple[str, ...] = _SYN_HOOKS) -> Figure:
    return Figure(name, Origin.LEDGER, (name,), counts, hooks)


_COUNTED: Final = (
    _by_ledger("ListenOverflows", "SYNs and final ACKs dropped: accept queue full"),
    _by_ledger("ListenDrops", "SYNs and final ACKs dropped by a listener, for whatever reason"),
    _by_ledger("TCPReqQFullDoCookies", "SYNs that were to get a cookie, dropped after that or not"),
    _by_ledger("TCPReqQFullDrop", "SYNs dropped: SYN queue full, and no cookies"),
    _by_ledger("SyncookiesSent", "SYNs answered with a cookie"),
    _by_ledger("SyncookiesRecv", "final ACKs with a valid cookie", _COOKIE_HOOKS),
    _by_ledger("SyncookiesFailed", "final ACKs with a wrong cookie", _COOKIE_HOOKS),
    _by_ledger(
        "PassiveOpens",
        "children made of a SYN or a final ACK, those thrown away again too",
        _CHILD_HOOKS,
    ),
    Figure(
        "ActiveOpens",
        Origin.RECORDS,
        ("ActiveOpens",),
        "connect() calls whose SYN left",
        ("tcp_connect",),
    ),
    Figure(
        "EstabResets",
        Origin.RECORDS,
        ("EstabResets",),
        "ESTABLISHED or CLOSE_WAIT to CLOSE: reset, aborted or timed out",
        ("inet_sock_set_state", "tcp_set_state"),
    ),
    Figure(
        "TW+TWKilled",
        Origin.RECORDS,
        ("TW", "TWKilled"),
        "TIME_WAIT sockets made, those that stand in for FIN_WAIT2 too",
        # The last one in recordings from before.
        ("inet_twsk_hashdance_schedule", "inet_twsk_hashdance", "inet_twsk_alloc"),
    ),
    Figure(
        "TCPSynRetrans",
        Origin.RECORDS,
        ("TCPSynRetrans",),
        "SYNs and SYN-ACKs sent again; one that could not leave may be missing",
        ("tcp_retransmit_skb", "tcp_retransmit_synack", "tcp_rtx_synack"),
        uncertain=("TCPRetransFail",),
    ),
    Figure(
        "TCPFastOpenPassive",
        Origin.RECORDS,
        ("TCPFastOpenPassive", "TCPFastOpenPassiveAltKey"),
        "children made by the SYN itself, by a cookie of either key",
        (*_CHILD_HOOKS, "tcp_conn_request"),
    ),
)
COUNTED: Final = {figure.name: figure for figure in _COUNTED}
"""What only grows, by name: compared since the first reading."""

CURR_ESTAB: Final = Figure(
    "CurrEstab",
    Origin.SOCKETS,
    ("CurrEstab",),
    "sockets in ESTABLISHED and CLOSE_WAIT",
    (),
)
SOCKSTAT: Final = Figure(
    "sockstat inuse+tw",
    Origin.SOCKETS,
    ("TCP inuse", "TCP tw", "TCP6 inuse"),
    "sockets in any state but NEW_SYN_RECV",
    (),
)
_DIAG_STATES: Final = {
    **{
        state.name.lower(): (state,)
        for state in State
        if state not in (State.CLOSE, State.SYN_RECV, State.NEW_SYN_RECV)
    },
    "syn_recv": (State.SYN_RECV, State.NEW_SYN_RECV),
}
"""sock_diag tells a request socket as SYN_RECV, and a TIME_WAIT socket as what it stands for."""
BY_STATE: Final = {
    f"sock_diag {name}": Figure(
        f"sock_diag {name}",
        Origin.SOCKETS,
        tuple(state.name for state in states),
        f"sockets in {' and '.join(state.name for state in states)}",
        (),
    )
    for name, states in _DIAG_STATES.items()
}
STATES_OF: Final = {f"sock_diag {name}": states for name, states in _DIAG_STATES.items()}
"""The states that each figure of BY_STATE adds up."""
FIGURES: Final = {
    **COUNTED,
    **{figure.name: figure for figure in (CURR_ESTAB, SOCKSTAT)},
    **BY_STATE,
}
"""Every figure by name."""

_OPEN: Final = (State.ESTABLISHED, State.CLOSE_WAIT)


def figure_of(kind: int, old: int, new: int, flags: int) -> str | None:
    """The figure of COUNTED that a record counts in, if any.

    All arguments are a record's.
    """
    if kind == Kind.STATE_CHANGED:
        return "EstabResets" if new == State.CLOSE and old in _OPEN else None
    if kind == Kind.CHILD_CREATED:
        return "TCPFastOpenPassive" if flags & Flag.FASTOPEN else None
    return _BY_KIND.get(kind)


_BY_KIND: Final = {
    int(Kind.CONNECT_SENT): "ActiveOpens",
    int(Kind.TIMEWAIT_ENTERED): "TW+TWKilled",
    int(Kind.SYN_RETRANSMITTED): "TCPSynRetrans",
    int(Kind.SYNACK_RETRANSMITTED): "TCPSynRetrans",
}


def from_ledger(counts: tuple[int, ...]) -> Mapping[str, int]:
    """What the kernel must have counted too, by the ledger's counts."""
    overflows = (
        counts[Stage.SYN_ACCEPT_QUEUE_FULL]
        + counts[Stage.ACK_ACCEPT_QUEUE_FULL]
        + counts[Stage.ABORT_ON_OVERFLOW]
    )
    return {
        "ListenOverflows": overflows,
        "ListenDrops": overflows
        + counts[Stage.SYN_SYN_QUEUE_FULL]
        + counts[Stage.SYN_LAST_QUARTER]
        + counts[Stage.OTHER],
        "TCPReqQFullDoCookies": counts[Count.COOKIE_SENT] + counts[Count.COOKIE_WANTED_DROPPED],
        "TCPReqQFullDrop": counts[Stage.SYN_SYN_QUEUE_FULL],
        "SyncookiesSent": counts[Count.COOKIE_SENT],
        "SyncookiesRecv": counts[Count.COOKIE_VALID],
        "SyncookiesFailed": counts[Count.COOKIE_INVALID],
        "PassiveOpens": counts[Count.CHILD_CREATED] + counts[Count.CHILD_REPEATED],
    }
