"""Alerts: one fault, one alert. Where a fault also shows another's signs, the expression says so.

Order of blame: a full accept queue also makes request sockets expire (their final ACKs are not
taken) and leaves CLOSE_WAIT sockets in it; a full SYN queue makes request sockets wait. So what
is nearer to the application is asked first, and excluded from what it causes.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

RUNBOOK: Final = "docs/runbook.md"

_ACCEPT_DROPS: Final = "listener:tcptrace_accept_queue_drops:rate5m"
_SYN_DROPS: Final = "listener:tcptrace_syn_queue_drops:rate5m"
_EXPIRED: Final = "listener:tcptrace_requests_expired:rate5m"
_SENT: Final = "listener:tcptrace_syn_cookies_sent:rate5m"
_VALID: Final = "listener:tcptrace_syn_cookies_valid:rate5m"
_SYNS: Final = "listener:tcptrace_listener_syns:rate5m"
_FULLEST: Final = "tcptrace_listener_accept_queue_fullest_ratio"
_OLD: Final = "netns:tcptrace_close_wait_older_than_300s:sum"
_RETRANSMITS: Final = "netns:tcptrace_syn_retransmits:rate5m"
_CONNECTS: Final = "netns:tcptrace_connects:rate5m"
_REFUSED: Final = 'sum without (outcome) (rate(tcptrace_connects_total{outcome="refused"}[5m]))'
_SYNACKS: Final = "sum without (family) (rate(tcptrace_synack_retransmits_total[5m]))"
_OPENED: Final = "established|fin_wait1|fin_wait2|close_wait|closing|last_ack|close"
"""States of sockets that were connected."""
_RESETS: Final = (
    f'sum without (direction, state) (rate(tcptrace_resets_total{{state=~"{_OPENED}"}}[5m]))'
)


def _of_netns(expr: str) -> str:
    """The sum over the listeners of a network namespace."""
    return f"sum without (address, port) ({expr})"


_ACCEPTS: Final = _of_netns("listener:tcptrace_listener_accepts:rate5m")

_WHERE: Final = "{{ $labels.address }} port {{ $labels.port }} on {{ $labels.instance }}"
_NETNS: Final = "network namespace {{ $labels.netns }} of {{ $labels.instance }}"


class Alert(NamedTuple):
    """One alerting rule."""

    name: str
    wait: str
    """For how long the expression must hold."""
    severity: str
    expr: str
    summary: str
    description: str

    @property
    def runbook_url(self) -> str:
        """The alert's section of the runbook, relative to the repository."""
        return f"{RUNBOOK}#{self.name.lower()}"

    @property
    def annotations(self) -> dict[str, str]:
        """What the rule file carries: summary, description and runbook_url."""
        return {
            "summary": self.summary,
            "description": self.description,
            "runbook_url": self.runbook_url,
        }


def _indented(expr: str) -> str:
    return "\n".join(f"  {line}" for line in expr.splitlines())


_SLOW: Final = f"""\
{_FULLEST} >= 1
and (
  listener:tcptrace_accept_wait_seconds:mean5m > 0.5
  or
  listener:tcptrace_listener_accepts:rate5m == 0
)"""
"""Full, and accept() takes what has waited for long, or nothing: more room would not help."""

_FLOOD: Final = f"""\
(
  {_SENT} > 10
  and {_VALID} < 0.5 * {_SENT}
)
or
(
  {_SYN_DROPS} > 1
  and {_EXPIRED} > 0.5 * {_SYNS}
  unless {_ACCEPT_DROPS} > 0
)"""
"""Most cookies are never answered; or without cookies, most request sockets never are."""

ACCEPT_QUEUE_OVERFLOW: Final = Alert(
    name="TcptraceAcceptQueueOverflow",
    wait="5m",
    severity="critical",
    expr=f"{_ACCEPT_DROPS} > 0\nunless (\n{_indented(_SLOW)}\n)\n",
    summary=f"The accept queue of {_WHERE} overflows in bursts.",
    description=(
        f"{_WHERE} (network namespace {{{{ $labels.netns }}}}) refuses "
        '{{ printf "%.2f" $value }} connections/s, its accept queue being full, though accept() '
        "soon takes what is in it: the limit is too small for the bursts. Each refused client "
        "waits 1 s or longer, or is reset."
    ),
)

ACCEPT_LOOP_SLOW: Final = Alert(
    name="TcptraceAcceptLoopSlow",
    wait="2m",
    severity="critical",
    expr=f"{_SLOW}\n",
    summary=f"The process behind {_WHERE} does not keep up with accept().",
    description=(
        f"The accept queue of {_WHERE} (network namespace {{{{ $labels.netns }}}}) is full, and "
        "connections wait in it for more than 0.5 s on average, or accept() takes none at all. A "
        "higher limit would only make them wait longer."
    ),
)

ACCEPT_QUEUE_NEAR_LIMIT: Final = Alert(
    name="TcptraceAcceptQueueNearLimit",
    wait="10m",
    severity="warning",
    expr=(
        f"{_FULLEST} > 0.8\nand tcptrace_listener_accept_queue_limit >= 16\n"
        f"unless {_ACCEPT_DROPS} > 0\nunless (\n{_indented(_SLOW)}\n)\n"
    ),
    summary=f"The accept queue of {_WHERE} is nearly full.",
    description=(
        f"The accept queue of {_WHERE} (network namespace {{{{ $labels.netns }}}}) has been filled "
        "to {{ $value | humanizePercentage }} in the last minute. Nothing is refused yet."
    ),
)

SYN_FLOOD: Final = Alert(
    name="TcptraceSynFlood",
    wait="2m",
    severity="critical",
    expr=f"{_FLOOD}\n",
    summary=f"{_WHERE} is under a SYN flood.",
    description=(
        f"Most of the SYNs to {_WHERE} (network namespace {{{{ $labels.netns }}}}) are never "
        "followed by a final ACK, and they fill its SYN queue. With SYN cookies real clients still "
        "connect; without, they don't."
    ),
)

SYN_QUEUE_FULL: Final = Alert(
    name="TcptraceSynQueueFull",
    wait="10m",
    severity="warning",
    expr=f"""\
(
  {_SYN_DROPS} > 0
  or
  (
    {_SENT} > 0
    and tcptrace_listener_syn_queue_peak >= tcptrace_listener_syn_queue_limit
  )
)
unless (
{_indented(_FLOOD)}
)
unless {_ACCEPT_DROPS} > 0
""",
    summary=f"The SYN queue of {_WHERE} is too small for its clients.",
    description=(
        f"Clients of {_WHERE} (network namespace {{{{ $labels.netns }}}}) do answer, but their "
        "SYNs find the SYN queue full: they get cookies, which lose TCP options without "
        "timestamps, or are dropped."
    ),
)

REQUESTS_EXPIRING: Final = Alert(
    name="TcptraceRequestsExpiring",
    wait="15m",
    severity="warning",
    expr=f"""\
{_EXPIRED} > 0.1
and {_EXPIRED} > 0.05 * {_SYNS}
unless {_SYN_DROPS} > 0
unless {_SENT} > 0
unless {_ACCEPT_DROPS} > 0
""",
    summary=f"Handshakes with {_WHERE} stay half-open.",
    description=(
        '{{ printf "%.2f" $value }} request sockets/s of '
        f"{_WHERE} (network namespace {{{{ $labels.netns }}}}) expire, more than 5 % of those that "
        "its SYNs make, and neither a flood nor a full accept queue explains it: SYN-ACKs, or the "
        "final ACKs, get lost."
    ),
)

CLOSE_WAIT_LEAK: Final = Alert(
    name="TcptraceCloseWaitLeak",
    wait="15m",
    severity="warning",
    expr=f"""\
{_OLD} > 50
and delta({_OLD}[1h]) > 0
unless {_OLD} <= netns:tcptrace_accept_queue_length:sum
""",
    summary=f"CLOSE_WAIT sockets pile up in {_NETNS}.",
    description=(
        "{{ $value }} sockets of "
        f"{_NETNS} have been in CLOSE_WAIT for more than 5 minutes, and they get more: a process "
        "does not close connections that its peers have closed."
    ),
)

TIME_WAIT_NEAR_PORT_EXHAUSTION: Final = Alert(
    name="TcptraceTimeWaitNearPortExhaustion",
    wait="10m",
    severity="warning",
    expr="netns:tcptrace_client_time_wait_per_port:ratio > 0.8\n",
    summary=f"connect() runs out of ports in {_NETNS}.",
    description=(
        f"The clients' TIME_WAIT sockets in {_NETNS} are {{{{ $value | humanizePercentage }}}} of "
        "the ports that ip_local_port_range gives. If they go to one destination, connect() to it "
        "soon fails with EADDRNOTAVAIL."
    ),
)

SYN_RETRANSMITS: Final = Alert(
    name="TcptraceSynRetransmits",
    wait="10m",
    severity="warning",
    expr=f"{_RETRANSMITS} > 0.1\nand {_RETRANSMITS} > 0.05 * {_CONNECTS}\n",
    summary=f"Clients send SYNs again in {_NETNS}.",
    description=(
        '{{ printf "%.2f" $value }} SYNs/s are sent again in '
        f"{_NETNS}, more than one per 20 connects: SYNs or SYN-ACKs get lost, or a server drops "
        "them. Each makes its connect() 1 s slower, the second 3 s, the third 7 s."
    ),
)

SYN_ACK_RETRANSMITS: Final = Alert(
    name="TcptraceSynAckRetransmits",
    wait="10m",
    severity="warning",
    expr=f"""\
{_SYNACKS} > 0.1
and {_SYNACKS} > 0.05 * {_of_netns(_SYNS)}
unless {_of_netns(_EXPIRED)} > 0.05 * {_of_netns(_SYNS)}
unless {_of_netns(_SYN_DROPS)} > 0
unless {_of_netns(_SENT)} > 0
unless {_of_netns(_ACCEPT_DROPS)} > 0
""",
    summary=f"Listeners send SYN-ACKs again in {_NETNS}.",
    description=(
        '{{ printf "%.2f" $value }} SYN-ACKs/s are sent again in '
        f"{_NETNS}, more than one per 20 SYNs, and no full queue explains it: SYN-ACKs, or the "
        "final ACKs, get lost on the way. Each makes its client 1 s slower, the second 3 s."
    ),
)

CONNECTS_REFUSED: Final = Alert(
    name="TcptraceConnectsRefused",
    wait="10m",
    severity="warning",
    expr=f"{_REFUSED} > 0.1\nand {_REFUSED} > 0.2 * {_CONNECTS}\n",
    summary=f"Remotes refuse clients in {_NETNS}.",
    description=(
        '{{ printf "%.2f" $value }} connects/s are answered with a RST in '
        f"{_NETNS}, more than one in five: nobody listens there, or a firewall rejects them."
    ),
)

RESETS: Final = Alert(
    name="TcptraceResets",
    wait="10m",
    severity="warning",
    expr=f"""\
{_RESETS} > 0.5
and {_RESETS} > 0.2 * (
  ({_CONNECTS} + {_ACCEPTS})
  or {_CONNECTS}
  or {_ACCEPTS}
)
""",
    summary=f"Connections are reset in {_NETNS}.",
    description=(
        '{{ printf "%.2f" $value }} connections/s that were established end with a RST in '
        f"{_NETNS}, more than one in five: what was still on the way is lost."
    ),
)

EVENTS_LOST: Final = Alert(
    name="TcptraceEventsLost",
    wait="5m",
    severity="warning",
    expr="rate(tcptrace_events_lost_total[5m]) > 0\n",
    summary="tcptrace on {{ $labels.instance }} loses records.",
    description=(
        '{{ printf "%.2f" $value }} records/s find the ring full on {{ $labels.instance }}: '
        "sockets by state, durations, connects and accepts are incomplete. Drops, cookies, SYNs "
        "and the lengths of SYN and accept queues are not affected; they are counted in the kernel."
    ),
)

LEDGER_DISAGREES: Final = Alert(
    name="TcptraceLedgerDisagrees",
    wait="10m",
    severity="warning",
    expr="tcptrace_reconciliation_difference != 0\n",
    summary="tcptrace on {{ $labels.instance }} and the kernel disagree about "
    "{{ $labels.counter }}.",
    description=(
        "The ledger of {{ $labels.instance }} differs from the kernel's {{ $labels.counter }} in "
        "network namespace {{ $labels.netns }} by {{ $value }} since the start. Below 0: a probe "
        "missed something. Above 0: something was counted twice."
    ),
)

DOWN: Final = Alert(
    name="TcptraceDown",
    wait="5m",
    severity="warning",
    expr='up{job="tcptrace"} == 0\nor\nabsent(up{job="tcptrace"})\n',
    summary="tcptrace{{ with $labels.instance }} on {{ . }}{{ end }} does not answer.",
    description=(
        "Prometheus cannot scrape job {{ $labels.job }}"
        "{{ with $labels.instance }}, instance {{ . }}{{ end }}. No other alert of tcptrace can "
        "fire for it meanwhile."
    ),
)

GROUPS: Final = {
    "tcptrace-accept-queue": (ACCEPT_QUEUE_OVERFLOW, ACCEPT_LOOP_SLOW, ACCEPT_QUEUE_NEAR_LIMIT),
    "tcptrace-syn-queue": (SYN_FLOOD, SYN_QUEUE_FULL, REQUESTS_EXPIRING),
    "tcptrace-sockets": (
        CLOSE_WAIT_LEAK,
        TIME_WAIT_NEAR_PORT_EXHAUSTION,
        SYN_RETRANSMITS,
        SYN_ACK_RETRANSMITS,
        CONNECTS_REFUSED,
        RESETS,
    ),
    "tcptrace-health": (EVENTS_LOST, LEDGER_DISAGREES, DOWN),
}
ALERTS: Final = tuple(alert for group in GROUPS.values() for alert in group)


def document() -> dict[str, Any]:
    """The rule file, as Prometheus reads it."""
    return {
        "groups": [
            {
                "name": name,
                "rules": [
                    {
                        "alert": alert.name,
                        "expr": alert.expr,
                        "for": alert.wait,
                        "labels": {"severity": alert.severity},
                        "annotations": alert.annotations,
                    }
                    for alert in group
                ],
            }
            for name, group in GROUPS.items()
        ]
    }
