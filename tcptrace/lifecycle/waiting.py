"""Peers that knock at a listener which keeps nothing of them: SYNs dropped, or cookies sent."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tcptrace.lifecycle.life import Life
    from tcptrace.wire.events import Record

MOST_WAITING: Final = 16_384
"""25 MiB. The oldest is given up beyond it: a SYN flood has as many addresses as it likes."""

_SECOND: Final = 1_000_000_000
_PATIENCE: Final = 2.5
"""A SYN's timer doubles: the next one comes after twice the last gap; this leaves some spare."""

_Key = tuple[int, bytes, int, bytes, int]


class Waiting:
    """Lives without an object, by tuple, the longest silent first."""

    def __init__(self) -> None:
        self._lives: OrderedDict[_Key, Life] = OrderedDict()
        self._next_look_ns = 0

    def __len__(self) -> int:
        """How many knock."""
        return len(self._lives)

    def find(self, record: Record) -> Life | None:
        """The life of the peer that a record names."""
        return self._lives.get(_key(record))

    def has(self, record: Record) -> bool:
        """Whether the peer that a record names knocks."""
        return _key(record) in self._lives

    def put(self, record: Record, life: Life) -> list[Life]:
        """Notes that the peer knocked (again); returns those that had to make room."""
        key = _key(record)
        self._lives.pop(key, None)
        self._lives[key] = life
        if life.last_syn_ns:
            life.last_gap_ns = max(0, record.at_ns - life.last_syn_ns)
        life.last_syn_ns = record.at_ns
        if len(self._lives) <= MOST_WAITING:
            return []
        return [self._lives.popitem(last=False)[1]]

    def remove(self, record: Record) -> None:
        """The peer was let in, and its life goes on elsewhere; or it was silent for too long."""
        self._lives.pop(_key(record), None)

    def given_up(self, now_ns: int) -> list[Life]:
        """Takes those that are silent for longer than a SYN's timer would be.

        Looks once a second: cheap in a SYN flood, and late by no more than that.
        """
        if now_ns < self._next_look_ns:
            return []
        self._next_look_ns = now_ns + _SECOND
        gone = [key for key, life in self._lives.items() if is_silent(life, now_ns)]
        return [self._lives.pop(key) for key in gone]

    @property
    def all(self) -> list[Life]:
        """Every life that waits."""
        return list(self._lives.values())

    def take_all(self) -> list[Life]:
        """Takes every life."""
        lives = list(self._lives.values())
        self._lives.clear()
        return lives


def is_silent(life: Life, now_ns: int) -> bool:
    """Whether a peer would have sent its SYN again by now, if it still wanted to."""
    patience_ns = _PATIENCE * (max(life.last_gap_ns, _SECOND) + _SECOND)
    return now_ns - life.last_syn_ns >= patience_ns


def _key(record: Record) -> _Key:
    return (record.netns, record.local, record.local_port, record.remote, record.remote_port)
