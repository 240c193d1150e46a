"""What was seen of a listener, or of a remote end, within some time: sums, bounded."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Final, TypeVar

from tcptrace.wire.ledger import COUNTS

if TYPE_CHECKING:
    from tcptrace.lifecycle.connection import Process
    from tcptrace.tcp import Endpoint

MOST_NAMES: Final = 256
"""How many different processes, peers or delays are told apart in one place."""

_Name = TypeVar("_Name")


def note(counter: Counter[_Name], name: _Name, number: int = 1) -> None:
    """Counts a name, unless there are too many others."""
    if name in counter or len(counter) < MOST_NAMES:
        counter[name] += number


def most(counter: Counter[_Name]) -> _Name | None:
    """The name that was counted most often, if any was."""
    return max(counter, key=counter.__getitem__, default=None)


@dataclass(slots=True)
class Resets:
    """Connections that a RST ended after they were established.

    Attributes:
        sent: by this end's.
        received: by the other end's.
        paired: those of both whose other end is known here too.
        peers: the other ends' addresses.
        processes: whose sockets they were.
        last_at_ns: when the last one came or went.
    """

    sent: int = 0
    received: int = 0
    paired: int = 0
    peers: Counter[bytes] = field(default_factory=Counter)
    processes: Counter[Process | None] = field(default_factory=Counter)
    last_at_ns: int = 0


@dataclass(slots=True)
class ListenerFacts:
    """A listener.

    Attributes:
        counts: by Stage and Count, as in a ledger's slot.
        accept_full: in how many readings of the ledger the accept queue had been full.
        syn_full: the same of the SYN queue.
        accept_lengths: the accept queue's length at each reading, added up.
        accept_peak: its greatest length.
        syn_peak: the SYN queue's.
        drops_peak: the most drops for a full accept queue between two readings.
        accepts: connections that accept() took.
        wait_ns: how long they had waited for it, added up.
        lives: connections that came to be, where all are seen one by one; else 0.
        hurt: those of which a SYN or a final ACK was dropped.
        unborn: those of the hurt that never came to be.
        late: those whose SYN-ACK had to be sent again, while nothing was dropped.
        delays: how long hurt and late ones took, in whole seconds.
        resets: those that RSTs ended.
        last_at_ns: when any trouble was seen last.
    """

    counts: list[int] = field(default_factory=lambda: [0] * COUNTS)
    accept_full: int = 0
    syn_full: int = 0
    accept_lengths: int = 0
    accept_peak: int = 0
    syn_peak: int = 0
    drops_peak: int = 0
    accepts: int = 0
    wait_ns: int = 0
    lives: int = 0
    hurt: int = 0
    unborn: int = 0
    late: int = 0
    delays: Counter[int] = field(default_factory=Counter)
    resets: Resets = field(default_factory=Resets)
    last_at_ns: int = 0


@dataclass(slots=True)
class RemoteFacts:
    """A remote end, as clients of one namespace see it.

    Attributes:
        silent: connect() calls that were never answered, though the SYN was sent again.
        refused: those that a RST answered.
        late: those that were answered after the SYN was sent again.
        failed: those that found no local port.
        waiting: those of the silent that wait still.
        given_up: the others, by how long they waited, in tenths of a second, and how often the SYN
            was sent again.
        delays: how long late ones took, in whole seconds.
        hurt_ends: the local ends of silent and late ones.
        processes: who called connect(), of those that were hurt.
        cgroups: where they were hurt.
        resets: connections that RSTs ended.
        last_at_ns: when any trouble was seen last.
    """

    silent: int = 0
    refused: int = 0
    late: int = 0
    failed: int = 0
    waiting: int = 0
    given_up: Counter[tuple[int, int]] = field(default_factory=Counter)
    delays: Counter[int] = field(default_factory=Counter)
    hurt_ends: Counter[Endpoint] = field(default_factory=Counter)
    processes: Counter[Process | None] = field(default_factory=Counter)
    cgroups: Counter[int] = field(default_factory=Counter)
    resets: Resets = field(default_factory=Resets)
    last_at_ns: int = 0


_Facts = TypeVar("_Facts", Resets, ListenerFacts, RemoteFacts)


def absorb(facts: _Facts, more: _Facts) -> None:
    """Adds what other facts have; of peaks and times, the greatest counts."""
    for one in fields(facts):
        mine, other = getattr(facts, one.name), getattr(more, one.name)
        if isinstance(mine, Counter):
            for name, number in other.items():
                note(mine, name, number)
        elif isinstance(mine, Resets):
            absorb(mine, other)
        elif isinstance(mine, list):
            mine[:] = map(sum, zip(mine, other, strict=True))
        elif one.name.endswith(("_peak", "_at_ns")):
            setattr(facts, one.name, max(mine, other))
        else:
            setattr(facts, one.name, mine + other)
