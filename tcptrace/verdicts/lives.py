"""What one life tells: who was hurt, by what, for how long. Plain lives tell nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tcptrace.lifecycle.connection import How, Outcome, Role
from tcptrace.lifecycle.ledger import Address
from tcptrace.tcp import State, address_text
from tcptrace.verdicts.facts import note
from tcptrace.verdicts.window import keep_pair
from tcptrace.wire.events import Kind

if TYPE_CHECKING:
    from collections import Counter

    from tcptrace.lifecycle.connection import Connection
    from tcptrace.verdicts.facts import RemoteFacts, Resets
    from tcptrace.verdicts.window import Slice

_SECOND: Final = 1_000_000_000
_PATIENCE: Final = 2
"""So often is the SYN sent again, after 2 s or 3 s, before one that waits still is unanswered."""
_CLOSED: Final = Outcome.CLOSED
_RESETS: Final = frozenset({How.RST_SENT, How.RST_RECEIVED})
_REFUSALS: Final = (Kind.SYN_DROPPED, Kind.ACK_DROPPED)


def tells(connection: Connection) -> bool:
    """Whether a life tells anything: most don't, and are asked this alone."""
    return (
        connection.outcome is not _CLOSED
        or connection.syn_retransmits > 0
        or connection.synack_retransmits > 0
        or connection.syn_drops > 0
        or connection.ack_drops > 0
    )


def take(facts: Slice, connection: Connection, at_ns: int, since_ns: int) -> None:
    """Adds what a life tells.

    Args:
        facts: to add to.
        connection: over, or still open.
        at_ns: its end, or now.
        since_ns: how it came to be before that is told no more.
    """
    role = connection.role
    if role is Role.SERVER:
        _take_server(facts, connection, at_ns, since_ns)
    elif role is Role.CLIENT:
        _take_client(facts, connection, at_ns, since_ns)


def count(facts: Slice, connection: Connection) -> None:
    """Counts a life, where nobody else counts the plain ones."""
    if connection.role is Role.CLIENT:
        facts.call(connection.netns, connection.remote)
    elif connection.queued_at_ns is not None:
        plain = facts.plain_of(connection.netns, connection.local)
        if plain is not None:
            plain.lives += 1
            if connection.accepted_at_ns is not None:
                plain.accepts += 1
                plain.wait_ns += max(0, connection.accepted_at_ns - connection.queued_at_ns)


def _take_server(facts: Slice, connection: Connection, at_ns: int, since_ns: int) -> None:
    local = connection.local
    is_new = _is_since(connection.queued_at_ns, since_ns)
    is_hurt = is_new and bool(connection.syn_drops or connection.ack_drops)
    is_late = is_new and bool(connection.synack_retransmits) and not is_hurt
    is_reset = _is_reset(connection)
    if not (is_hurt or is_late or is_reset):
        return
    listener = facts.listener(Address(connection.netns, address_text(local.address), local.port))
    if listener is None:
        return
    pair = (connection.remote, local) if connection.peer_id is not None else None
    listener.last_at_ns = max(listener.last_at_ns, at_ns)
    if is_hurt:
        keep_pair(facts.dropped, pair, connection.netns)
        listener.hurt += 1
        listener.unborn += connection.queued_at_ns is None
        _note_delay(listener.delays, connection.syn_at_ns, _hurt_until(connection))
    elif is_late:
        keep_pair(facts.answered, pair, connection.netns)
        listener.late += connection.queued_at_ns is not None
        _note_delay(listener.delays, connection.syn_at_ns, connection.queued_at_ns)
    if is_reset:
        _note_reset(listener.resets, connection, at_ns)


def _take_client(facts: Slice, connection: Connection, at_ns: int, since_ns: int) -> None:
    is_established = connection.established_at_ns is not None
    is_new = _is_since(connection.established_at_ns, since_ns)
    outcome, resent = connection.outcome, connection.syn_retransmits if is_new else 0
    is_reset = _is_reset(connection)
    if is_established and not (resent or is_reset):
        return
    remote = facts.remote(connection.netns, connection.remote)
    if remote is None:
        return
    if is_reset:
        _note_reset(remote.resets, connection, at_ns)
        remote.last_at_ns = max(remote.last_at_ns, at_ns)
    if not (is_new and _note_connect(remote, connection, at_ns)):
        return
    remote.last_at_ns = max(remote.last_at_ns, at_ns)
    note(remote.processes, connection.process)
    note(remote.cgroups, connection.cgroup)
    if resent and outcome is not Outcome.REFUSED:
        note(remote.hurt_ends, connection.local)


def _note_connect(remote: RemoteFacts, connection: Connection, at_ns: int) -> bool:
    """Counts how a connect() went, if it hurt."""
    outcome, resent = connection.outcome, connection.syn_retransmits
    if connection.established_at_ns is not None:
        if not resent:
            return False
        remote.late += 1
        _note_delay(remote.delays, connection.syn_at_ns, connection.established_at_ns)
    elif outcome is Outcome.REFUSED:
        remote.refused += 1
    elif outcome is Outcome.FAILED:
        remote.failed += 1
    elif resent and _is_unanswered(connection):
        remote.silent += 1
        _note_silence(remote, connection, at_ns)
    else:
        return False
    return True


def _note_silence(remote: RemoteFacts, connection: Connection, at_ns: int) -> None:
    """How long an unanswered call took is no timer's doing: the caller's patience, or the end."""
    if connection.state is State.SYN_SENT:
        remote.waiting += 1
    elif connection.syn_at_ns is not None:
        tenths = (at_ns - connection.syn_at_ns) * 10 // _SECOND
        note(remote.given_up, (tenths, connection.syn_retransmits))


def _is_unanswered(connection: Connection) -> bool:
    """Whether nobody has answered, and it isn't a slow path alone on which the answer comes."""
    if connection.state is State.SYN_SENT:
        return connection.syn_retransmits >= _PATIENCE
    states = {span.state for span in connection.spans}
    return connection.state is State.CLOSE and states <= {State.SYN_SENT, State.CLOSE}


def _is_since(came_to_be_ns: int | None, since_ns: int) -> bool:
    """Whether a connection came to be since then, if it ever did."""
    return came_to_be_ns is None or came_to_be_ns >= since_ns


def _is_reset(connection: Connection) -> bool:
    return (
        connection.closed_how in _RESETS
        and connection.outcome is Outcome.RESET
        and connection.established_at_ns is not None
    )


def _note_reset(resets: Resets, connection: Connection, at_ns: int) -> None:
    if connection.closed_how is How.RST_SENT:
        resets.sent += 1
    else:
        resets.received += 1
    resets.last_at_ns = max(resets.last_at_ns, at_ns)
    resets.paired += connection.peer_id is not None
    note(resets.peers, connection.remote.address)
    note(resets.processes, connection.process)


def _hurt_until(connection: Connection) -> int | None:
    """When it got in at last, or when the last of its packets was dropped."""
    if connection.queued_at_ns is not None:
        return connection.queued_at_ns
    drops = [moment.at_ns for moment in connection.moments if moment.kind in _REFUSALS]
    return max(drops, default=None)


def _note_delay(delays: Counter[int], from_ns: int | None, until_ns: int | None) -> None:
    """Timers run for whole seconds; what is shorter was no timer's doing."""
    if from_ns is None or until_ns is None:
        return
    seconds = (until_ns - from_ns + _SECOND // 2) // _SECOND
    if seconds > 0:
        note(delays, seconds)
