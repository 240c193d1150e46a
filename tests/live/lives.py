"""The lives that a trace told, one JSON object a line, and what a test compares of them."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Self

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

Address = tuple[str, int]
JSON = dict[str, Any]

SERVER_OPENING = ("NEW_SYN_RECV", "SYN_RECV", "ESTABLISHED")
CLIENT_OPENING = ("SYN_SENT", "ESTABLISHED")
CLOSED_FIRST = ("FIN_WAIT1", "FIN_WAIT2", "TIME_WAIT")
CLOSED_SECOND = ("CLOSE_WAIT", "LAST_ACK", "CLOSE")


class Process(NamedTuple):
    """A process as a life names it."""

    pid: int
    comm: str

    @classmethod
    def told(cls, told: JSON | None) -> Self | None:
        return None if told is None else cls(told["pid"], told["comm"])


TIMEWAIT_NS = 60_000_000_000
"""TCP_TIMEWAIT_LEN, include/net/tcp.h."""


@dataclass(frozen=True)
class Account:
    """Everything that a life tells, times apart: what a scenario compares with what it did."""

    role: str
    local: Address
    remote: Address
    netns: int
    states: tuple[str, ...]
    closed: tuple[str | None, str | None]
    outcome: str
    process: Process | None
    listening_process: Process | None = None
    family: str = "ipv4"
    v4_mapped: bool = False
    syn_retransmits: int = 0
    synack_retransmits: int = 0
    drops: tuple[tuple[str, int, int], ...] = ()
    """Stage, accept queue's length, accept queue's limit."""
    time_wait: str | None = None
    """How TIME_WAIT ended; "open" if it hadn't, or not before its 60 s were over."""
    partial: bool = False
    partial_reasons: tuple[str, ...] = ()


class Life:
    """One life: the JSON object of one line."""

    def __init__(self, told: JSON) -> None:
        self.told = told
        self.id: int = told["id"]
        self.peer: int | None = told["peer"]
        self.role: str = told["role"]
        self.local: Address = (told["local"]["address"], told["local"]["port"])
        self.remote: Address = (told["remote"]["address"], told["remote"]["port"])
        self.netns: int = told["netns"]
        self.outcome: str = told["outcome"]
        self.partial: bool = told["partial"]
        self.handshake: JSON = told["handshake"]
        self.process = Process.told(told["process"])

    def __repr__(self) -> str:
        return f"Life({json.dumps(self.told)})"

    @property
    def states(self) -> tuple[str, ...]:
        return tuple(span["state"] for span in self.told["states"])

    def entered_ns(self, state: str) -> int:
        """When the life entered that state, which it must have passed exactly once."""
        return int(self._span(state)["at_ns"])

    def duration_ns(self, state: str) -> int:
        """How long the life was in that state, which must be over."""
        return int(self._span(state)["duration_ns"])

    def _span(self, state: str) -> JSON:
        (span,) = [span for span in self.told["states"] if span["state"] == state]
        return dict(span)

    def account(self) -> Account:
        """What the life tells, times apart."""
        told = self.told
        timewait = told["time_wait"]
        states = self.states
        end = timewait and (timewait["end"] or "open")
        if end == "timer" and timewait["duration_ns"] >= 0.98 * TIMEWAIT_NS:
            # It ran its time while slower scenarios played: what it did is the same.
            states, end = states[:-1], "open"
        return Account(
            role=self.role,
            local=self.local,
            remote=self.remote,
            netns=self.netns,
            states=states,
            closed=(told["closed"]["by"], told["closed"]["how"]),
            outcome=self.outcome,
            process=self.process,
            listening_process=Process.told(told["listening_process"]),
            family=told["family"],
            v4_mapped=told["v4_mapped"],
            syn_retransmits=self.handshake["syn_retransmits"],
            synack_retransmits=self.handshake["synack_retransmits"],
            drops=tuple(
                (drop["stage"], drop["accept_queue_len"], drop["accept_queue_limit"])
                for drop in told["drops"]
            ),
            time_wait=end,
            partial=self.partial,
            partial_reasons=tuple(told["partial_reasons"]),
        )

    def check_times(self, began_ns: int, ended_ns: int) -> None:
        """Checks what holds for every whole life: its times follow each other without a gap."""
        spans = self.told["states"]
        assert spans or self.outcome == "syn_dropped", repr(self)
        for span, after in itertools.pairwise(spans):
            assert span["at_ns"] <= after["at_ns"], repr(self)
            assert span["at_ns"] + span["duration_ns"] == after["at_ns"], repr(self)
        moments = [span["at_ns"] for span in spans]
        moments += [drop["at_ns"] for drop in self.told["drops"]]
        assert all(began_ns <= at <= ended_ns for at in moments), repr(self)
        self._check_handshake()
        self._check_timewait()

    def _check_handshake(self) -> None:
        syn, established = self.handshake["syn_at_ns"], self.handshake["established_at_ns"]
        assert syn is not None, repr(self)
        if "ESTABLISHED" in self.states:
            assert established == self.entered_ns("ESTABLISHED"), repr(self)
            assert self.handshake["duration_ns"] == established - syn, repr(self)
        else:
            assert established is None, repr(self)
            assert self.handshake["duration_ns"] is None, repr(self)

    def _check_timewait(self) -> None:
        timewait = self.told["time_wait"]
        assert (timewait is not None) == ("TIME_WAIT" in self.states), repr(self)
        if timewait is None:
            return
        (span,) = [span for span in self.told["states"] if span["state"] == "TIME_WAIT"]
        assert (timewait["at_ns"], timewait["duration_ns"]) == (
            span["at_ns"],
            span["duration_ns"],
        ), repr(self)
        assert (timewait["end"] is None) == (timewait["duration_ns"] is None), repr(self)


class Lives:
    """All the lives of one trace, in the order of their births."""

    def __init__(self, lives: Iterable[Life]) -> None:
        self._lives = sorted(lives, key=lambda life: life.id)
        self._by_id = {life.id: life for life in self._lives}
        assert len(self._by_id) == len(self._lives), "an id was told twice"

    @classmethod
    def parse(cls, lines: Iterable[str]) -> Self:
        return cls(Life(json.loads(line)) for line in lines)

    def __iter__(self) -> Iterator[Life]:
        return iter(self._lives)

    def __len__(self) -> int:
        return len(self._lives)

    def __repr__(self) -> str:
        return "\n".join(["Lives:", *map(repr, self._lives)])

    def at(self, address: str) -> Lives:
        """The lives that have one end at that address: those of one scenario."""
        return Lives(life for life in self if address in (life.local[0], life.remote[0]))

    def of(self, role: str) -> Lives:
        """The lives of that role."""
        return Lives(life for life in self if life.role == role)

    def with_end(self, end: Address) -> Lives:
        """The lives that have that end, local or remote."""
        return Lives(life for life in self if end in (life.local, life.remote))

    def only(self) -> Life:
        """The one life that there must be."""
        (life,) = self._lives
        return life

    def peer_of(self, life: Life) -> Life | None:
        """The other end, if the life names one."""
        return None if life.peer is None else self._by_id[life.peer]

    def pair(self) -> tuple[Life, Life]:
        """The only two lives: a client and a server that name each other."""
        ((client, server),) = self.pairs()
        return client, server

    def pairs(self) -> list[tuple[Life, Life]]:
        """All lives as pairs of a client and a server that name each other, and nothing else."""
        clients = list(self.of("client"))
        couples = [(client, self.peer_of(client)) for client in clients]
        pairs = [(client, server) for client, server in couples if server is not None]
        assert len(pairs) == len(clients), f"a client without a peer: {self}"
        assert len(pairs) * 2 == len(self), f"lives beside the pairs: {self}"
        for client, server in pairs:
            assert server.role == "server", repr(self)
            assert server.peer == client.id, repr(self)
            assert (server.local, server.remote) == (client.remote, client.local), repr(self)
        return pairs


def ends_of_timewait(clients: Sequence[Life]) -> list[tuple[tuple[str, ...], str]]:
    """What clients that closed first must tell of TIME_WAIT's end: the states after it, and how.

    The kernel gives a port out again once its TIME_WAIT is a second old, and picks at random.
    """
    last_of = {client.local: number for number, client in enumerate(clients)}
    return [
        ((), "open") if last_of[client.local] == number else (("CLOSE",), "reused")
        for number, client in enumerate(clients)
    ]
