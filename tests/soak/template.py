"""A stretch of churn as records, to be played again and again under other names.

What the model of TCP plays (tests/unit/lifecycle/model): connections of every shape, side by side.
"""

from __future__ import annotations

import socket
import struct
from collections import Counter
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Final

import numpy as np
from unit import samples
from unit.lifecycle.model.plan import Acceptance, Chain, Closing, Opening, TimeWaitEnd, Use
from unit.lifecycle.model.world import World
from unit.lifecycle.seen import Count, findings, played
from unit.lifecycle.stream import HERE, Ends, Stream

from tcptrace.tcp import State
from tcptrace.wire.decode import decode_batch
from tcptrace.wire.events import Kind, Record, Stage
from tcptrace.wire.layout import FIELDS, RECORD_FORMAT

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

CHAINS: Final = 1500
USES: Final = 4
NAMESPACES: Final = 20
"""New ones in each round; a third of the listeners is in one of them."""
_FIRST_NEW: Final = 100
_PACK: Final = struct.Struct("<" + RECORD_FORMAT)
_ADDRESSES: Final = (
    (samples.endpoint("10.0.0.2", 0), samples.endpoint("10.0.0.1", 0), socket.AF_INET),
    (samples.endpoint("10.0.0.2", 0), samples.endpoint("10.0.0.1", 0), socket.AF_INET6),
    (samples.endpoint("fd00::2", 0), samples.endpoint("fd00::1", 0), socket.AF_INET6),
)
_NUMPY_CODES: Final = {"B": "u1", "H": "<u2", "I": "<u4", "Q": "<u8"}
_RECORD: Final = np.dtype(
    [
        (field.name, _NUMPY_CODES.get(field.code, ">u4"), shape)
        for field in FIELDS
        for shape in [() if field.code in _NUMPY_CODES else (field.size // 4,)]
    ]
)


class _Churn(World):
    """Keeps no history: there is too much of it."""

    def remember(self) -> None: ...


class Block:
    """Records that are made anew for each round, with names of its own.

    Args:
        records: as the model tells them.
    """

    def __init__(self, records: Sequence[Record]) -> None:
        packed = b"".join(_PACK.pack(*record) for record in records)
        self._plain = np.frombuffer(packed, _RECORD)
        self._ours = self._plain.copy()
        self._has_sock = self._plain["sock"] != 0
        self._has_origin = self._plain["origin"] != 0
        self._is_new = self._plain["netns"] != HERE
        self._named = {
            end: self._plain[end][:, 3] != 0  # not that of a listener on every address
            for end in ("local", "remote")
        }

    def __len__(self) -> int:
        return len(self._plain)

    def named(self, number: int, reuse: int) -> npt.NDArray[np.void]:
        """The records of a round: valid until the next call.

        Args:
            number: of the round; gives addresses and namespaces.
            reuse: gives the objects; comes again once all of an earlier round have ended.
        """
        plain, ours = self._plain, self._ours
        ours["sock"] = plain["sock"] + self._has_sock * np.uint64(reuse << 32)
        ours["origin"] = plain["origin"] + self._has_origin * np.uint64(reuse << 32)
        ours["netns"] = plain["netns"] + self._is_new * np.uint32(number * NAMESPACES)
        for end, is_named in self._named.items():
            ours[end][:, 3] = plain[end][:, 3] + is_named * np.uint32(number << 8)
        return ours

    def at(self, number: int, reuse: int, later_ns: int) -> npt.NDArray[np.void]:
        """The same, later by so much."""
        ours = self.named(number, reuse)
        ours["at_ns"] = self._plain["at_ns"] + np.uint64(later_ns)
        return ours


@dataclass(frozen=True)
class Template:
    """A round's records.

    Attributes:
        churn: what happens.
        endings: ends everything that is left after it.
        findings: what a snapshot finds then.
        left: how many sockets that are, by place and state.
        duration_ns: how long it lasts.
    """

    churn: Block
    endings: Block
    findings: Block
    left: Count
    duration_ns: int


def make_template(seed: int) -> Template:
    """Plays a round."""
    world = _Churn(
        _chains(Random(seed))  # noqa: S311 - the same each time
    )
    duration_ns = world.stream.now_ns - samples.START + samples.S
    ending = Stream(0)
    for sock, found in world.kernel.items():
        if found.is_timewait:
            ending.tell(Kind.TIMEWAIT_KILLED, sock, found.ends, new_state=found.state)
        elif found.state is State.NEW_SYN_RECV:
            ending.tell(
                Kind.REQUEST_DROPPED,
                sock,
                found.ends,
                origin=found.origin,
                stage=Stage.REQUEST_EXPIRED,
            )
        else:
            ending.goes(sock, found.ends, found.state, State.CLOSE)
    return Template(
        Block(world.stream.records),
        Block(ending.records),
        Block(findings(world.kernel, 0)),
        played(world.kernel),
        duration_ns,
    )


def counts_of(template: Template, number: int) -> Count:
    """What is left of a round, as it is named there."""
    return Counter(
        {
            (netns if netns == HERE else netns + number * NAMESPACES, family, state): count
            for (netns, family, state), count in template.left.items()
        }
    )


def _chains(chance: Random) -> list[Chain]:
    chains = []
    for number in range(CHAINS):
        local, remote, family = chance.choice(_ADDRESSES)
        client = Ends(
            local._replace(port=20_000 + number), remote._replace(port=2000 + number), family
        )
        server = client.other_side
        if number % 3 == 0:
            server = server._replace(netns=_FIRST_NEW + number % NAMESPACES)
        pauses = tuple(chance.randrange(1, 50 * samples.MS) for _ in range(8))
        uses = tuple(_use(chance) for _ in range(USES))
        chains.append(Chain(client, server, uses, pauses, chance.randrange(10 * samples.S)))
    return chains


def _use(chance: Random) -> Use:
    return Use(
        opening=chance.choice(list(Opening)),
        closing=chance.choice(list(Closing)),
        acceptance=chance.choice(list(Acceptance)),
        timewait_end=chance.choice(list(TimeWaitEnd)),
        is_orphan=chance.random() < 0.5,
        is_bound=chance.random() < 0.5,
        retries=chance.randrange(1, 4),
        client_is_seen=chance.random() < 0.8,
        server_is_seen=chance.random() < 0.8,
    )


def check_layout() -> None:
    """The arrays must lie as the wire does."""
    fields = next(decode_batch(np.zeros(1, _RECORD).tobytes()))
    assert len(fields) == len(_RECORD.names or ())
    assert _RECORD.itemsize == _PACK.size
