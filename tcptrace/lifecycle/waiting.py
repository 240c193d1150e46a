"""Peers that knock at a listener which keeps nothing of them: SYNs dropped, or cookies sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tcptrace.lifecycle.life import Life
    from tcptrace.wire.events import Record

MOST_WAITING: Final = 65_536
"""The oldest is given up beyond it: a SYN flood comes from as many addresses as it likes."""

_SECOND: Final = 1_000_000_000
_PATIENCE: Final = 2.5
"""A SYN's timer doubles: the next one comes after twice the last gap; this leaves some spare."""

_Key = tuple[int, bytes, int, bytes, int]


class Waiting:
    """Lives without an object, by tuple, the longest silent first."""

    def __init__(self) -> None:
        self._lives: dict[_Key, Life] = {}

    def find(self, record: Record) -> Life | None:
        """The life of the peer that a record names."""
        return self._lives.get(_key(record))

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
        return [self._lives.pop(next(iter(self._lives)))]

    def take(self, record: Record) -> Life | None:
        """The peer was let in: its life goes on elsewhere."""
        return self._lives.pop(_key(record), None)

    def given_up(self, now_ns: int) -> list[Life]:
        """Takes those that are silent for longer than a SYN's timer would be.

        Only from the longest silent on, until one that may still come: cheap, and late at worst.
        """
        gone = []
        for key, life in list(self._lives.items()) if self._is_due(now_ns) else ():
            if now_ns - life.last_syn_ns < _limit_ns(life):
                continue
            gone.append(self._lives.pop(key))
        return gone

    def take_all(self) -> list[Life]:
        """Takes every life."""
        lives = list(self._lives.values())
        self._lives.clear()
        return lives

    def _is_due(self, now_ns: int) -> bool:
        first = next(iter(self._lives.values()), None)
        return first is not None and now_ns - first.last_syn_ns >= _limit_ns(first)


def _limit_ns(life: Life) -> float:
    return _PATIENCE * max(life.last_gap_ns, _SECOND) + _PATIENCE * _SECOND


def _key(record: Record) -> _Key:
    return (record.netns, record.local, record.local_port, record.remote, record.remote_port)
