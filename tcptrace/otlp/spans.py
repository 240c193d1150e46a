"""A life as spans: itself, and in it handshake, SYN queue, accept queue, established, close.

Pure. What is told is plain text and numbers, for the child that knows OpenTelemetry's messages. A
trace is one end's life; the other end, if it is on this host, is linked. Ids are made of the life's
number and a secret of this run, so that each end knows the other's without having met it.

Source: OpenTelemetry's semantic conventions: network, client, server, process, container, k8s.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final

from tcptrace.lifecycle.connection import Outcome, Role
from tcptrace.lifecycle.slow import SLOW_NS, slowness_ns
from tcptrace.sinks.story import with_reason
from tcptrace.sinks.terminal import comm_text, safe_text
from tcptrace.sinks.words import end_words, troubles
from tcptrace.tcp import State, address_text

if TYPE_CHECKING:
    from tcptrace.lifecycle.connection import Connection, Moment
    from tcptrace.lifecycle.names import Names

INTERNAL: Final = 1
SERVER: Final = 2
CLIENT: Final = 3
"""SpanKind, by OpenTelemetry's numbers."""
_KINDS: Final = {Role.SERVER: SERVER, Role.CLIENT: CLIENT}
_WELL: Final = (Outcome.CLOSED, Outcome.OPEN, Outcome.UNKNOWN)
_CLOSING: Final = frozenset(
    {State.FIN_WAIT1, State.FIN_WAIT2, State.CLOSING, State.CLOSE_WAIT, State.LAST_ACK}
)
_MOST_TEXT: Final = 256
_TRACE_BYTES: Final = 16
_SPAN_BYTES: Final = 8
_LAST_NS: Final = 2**63 - 1


def is_telling(connection: Connection) -> bool:
    """Whether a life failed, was slow, or came through only by sending again."""
    return (
        connection.outcome not in _WELL
        or slowness_ns(connection) >= SLOW_NS
        or bool(connection.syn_drops or connection.ack_drops)
        or bool(connection.syn_retransmits or connection.synack_retransmits)
    )


class Spans:
    """Makes spans of lives.

    Args:
        secret: of this run, so that ids are no other run's.
        shift_ns: from the records' clock to the time since 1970.
        names: of cgroups and network namespaces.
    """

    def __init__(self, secret: bytes, shift_ns: int, names: Names) -> None:
        self._secret = secret
        self._shift_ns = shift_ns
        self._names = names

    def of(self, connection: Connection) -> dict[str, Any] | None:
        """The life's trace; None if no time of it is known.

        Args:
            connection: its full socket is gone.
        """
        began_ns, ended_ns = connection.began_ns, connection.gone_at_ns
        if began_ns is None or ended_ns is None:
            return None
        trace, root = self._ids(connection.id)
        spans = [self._root(connection, root, began_ns, ended_ns)]
        for number, (name, start_ns, end_ns) in enumerate(_stages(connection, ended_ns), 1):
            span = self._span(_sibling(root, number), name, start_ns, end_ns)
            spans.append(span | {"parent": root.hex()})
        return {"trace": trace.hex(), "spans": spans}

    def _ids(self, number: int) -> tuple[bytes, bytes]:
        """The ids of a life's trace and of its root span."""
        size = _TRACE_BYTES + _SPAN_BYTES
        told = blake2b(number.to_bytes(8, "big"), digest_size=size, key=self._secret).digest()
        return told[:_TRACE_BYTES], told[_TRACE_BYTES:]

    def _span(self, identity: bytes, name: str, start_ns: int, end_ns: int) -> dict[str, Any]:
        return {
            "id": identity.hex(),
            "name": name,
            "kind": INTERNAL,
            "start": self._time(start_ns),
            "end": self._time(max(start_ns, end_ns)),
        }

    def _time(self, at_ns: int) -> int:
        """As OTLP can have it, whatever a recording says."""
        return min(max(0, at_ns + self._shift_ns), _LAST_NS)

    def _root(
        self, connection: Connection, identity: bytes, began_ns: int, ended_ns: int
    ) -> dict[str, Any]:
        span = self._span(identity, f"TCP {connection.role} connection", began_ns, ended_ns)
        span["kind"] = _KINDS.get(connection.role, INTERNAL)
        span["attributes"] = _attributes(connection, self._names)
        span["events"] = [self._event(moment) for moment in connection.moments]
        span["dropped_events"] = connection.moments_left_out
        if connection.peer_id is not None:
            trace, root = self._ids(connection.peer_id)
            span["links"] = [{"trace": trace.hex(), "span": root.hex()}]
        if connection.outcome not in _WELL:
            span["error"] = _bounded(what_failed(connection))
        return span

    def _event(self, moment: Moment) -> dict[str, Any]:
        told: dict[str, Any] = {}
        if moment.accept_queue_limit or moment.accept_queue_len or moment.syn_queue_len:
            told = {
                "tcptrace.accept_queue.length": moment.accept_queue_len,
                "tcptrace.accept_queue.limit": moment.accept_queue_limit,
                "tcptrace.syn_queue.length": moment.syn_queue_len,
            }
        if moment.stage:
            told["tcptrace.stage"] = moment.stage.name.lower()
        if moment.retransmits:
            told["tcptrace.retransmits"] = moment.retransmits
        name = moment.kind.name.lower()
        return {"name": name, "at": self._time(moment.at_ns), "attributes": told}


def what_failed(connection: Connection) -> str:
    """Says how it ended, and what went wrong before that."""
    return " · ".join([with_reason(end_words(connection).text, connection), *troubles(connection)])


def _sibling(root: bytes, number: int) -> bytes:
    return (int.from_bytes(root, "big") ^ number).to_bytes(_SPAN_BYTES, "big")


def _stages(connection: Connection, ended_ns: int) -> list[tuple[str, int, int]]:
    """Its parts as name, begin and end; one that was not reached is not there."""
    stages: list[tuple[str, int, int]] = []

    def add(name: str, start_ns: int | None, end_ns: int | None) -> None:
        if start_ns is not None:
            stages.append((name, start_ns, ended_ns if end_ns is None else end_ns))

    established_ns = connection.established_at_ns
    closing_ns = _closing_ns(connection)
    add("handshake", connection.syn_at_ns, established_ns)
    add("SYN queue", connection.request_at_ns, connection.queued_at_ns)
    add("accept queue", connection.queued_at_ns, connection.accepted_at_ns)
    add("established", established_ns, closing_ns)
    if closing_ns is not None:
        add("close", closing_ns, ended_ns)
    return stages


def _closing_ns(connection: Connection) -> int | None:
    """When the first FIN went or came; None if none did."""
    times = [span.at_ns for span in connection.spans if span.state in _CLOSING]
    return min((at for at in times if at is not None), default=None)


def _attributes(connection: Connection, names: Names) -> dict[str, Any]:
    local, remote = connection.local, connection.remote
    told: dict[str, Any] = {
        "network.transport": "tcp",
        "network.type": connection.family_name,
        "network.local.address": address_text(local.address),
        "network.local.port": local.port,
        "network.peer.address": address_text(remote.address),
        "network.peer.port": remote.port,
    }
    ends = {Role.CLIENT: (local, remote), Role.SERVER: (remote, local)}.get(connection.role, ())
    for word, end in zip(("client", "server"), ends, strict=False):
        told |= {f"{word}.address": address_text(end.address), f"{word}.port": end.port}
    process = connection.process or connection.listening_process
    if process is not None:
        told["process.pid"] = process.pid
        told["process.executable.name"] = _bounded(comm_text(process.comm))
    if connection.outcome not in _WELL:
        told["error.type"] = connection.outcome.value
    return told | _place(connection, names) | _facts(connection)


def _place(connection: Connection, names: Names) -> dict[str, Any]:
    workload = names.workload(connection.cgroup)
    pod = names.pod_names(workload)
    told = {"tcptrace.netns.name": names.namespaces.get(connection.netns, "")}
    if workload is not None:
        told |= {
            "container.id": workload.container,
            "container.runtime.name": workload.runtime,
            "k8s.pod.uid": workload.pod_uid,
            "tcptrace.systemd.unit": workload.unit,
        }
    if pod is not None:
        told |= {
            "k8s.container.name": pod.container,
            "k8s.pod.name": pod.pod,
            "k8s.namespace.name": pod.namespace,
        }
    return {"tcptrace.netns.inode": connection.netns} | {
        key: _bounded(value) for key, value in told.items() if value
    }


def _facts(connection: Connection) -> dict[str, Any]:
    """What no convention has a name for; what is nothing is left out."""
    told: dict[str, Any] = {
        "tcptrace.connection.id": connection.id,
        "tcptrace.outcome": connection.outcome.value,
        "tcptrace.closed.by": connection.closed_by,
        "tcptrace.closed.how": connection.closed_how,
        "tcptrace.syn.drops": connection.syn_drops,
        "tcptrace.final_ack.drops": connection.ack_drops,
        "tcptrace.syn.retransmits": connection.syn_retransmits,
        "tcptrace.syn_ack.retransmits": connection.synack_retransmits,
        "tcptrace.segment.retransmits": connection.data_retransmits,
        "tcptrace.syn_cookie": connection.cookie,
        "tcptrace.fast_open": connection.fastopen,
        "tcptrace.partial": ",".join(sorted(map(str, connection.partial))),
    }
    return {
        key: str(value) if isinstance(value, str) else value for key, value in told.items() if value
    }


def _bounded(text: str) -> str:
    return safe_text(text)[:_MOST_TEXT]
