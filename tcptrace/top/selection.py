"""Which of all that is known is shown, and in which order: by what somebody typed. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tcptrace.sinks.listeners import SORTS, title_of
from tcptrace.sinks.terminal import comm_text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tcptrace.lifecycle.connection import Connection, Process
    from tcptrace.lifecycle.names import Names
    from tcptrace.lifecycle.overview import Row
    from tcptrace.lifecycle.recent import Drop

ORDERS: Final = tuple(SORTS)


@dataclass(frozen=True)
class Selection:
    """A filter and an order.

    Attributes:
        wanted: a part of an address, port or process's name; "" for all.
        order: one of ORDERS, for listeners.
    """

    wanted: str = ""
    order: str = ORDERS[0]

    @property
    def next_order(self) -> str:
        """The one after this."""
        return ORDERS[(ORDERS.index(self.order) + 1) % len(ORDERS)]

    def listeners(self, rows: Iterable[Row], names: Names) -> list[Row]:
        """Those that are wanted, in order."""
        chosen = rows
        if self.wanted:
            chosen = [
                row
                for row in rows
                if self._is_wanted(title_of(row.listening.address, names), *_owners(row))
            ]
        return sorted(chosen, key=SORTS[self.order])

    def drops(self, drops: Iterable[Drop]) -> list[Drop]:
        """Those that are wanted."""
        return [
            drop
            for drop in drops
            if self._is_wanted(
                str(drop.listener.local), str(drop.peer), _comm(drop.listener.process)
            )
        ]

    def lives(self, lives: Iterable[Connection]) -> list[Connection]:
        """Those that are wanted."""
        return [
            life
            for life in lives
            if self._is_wanted(
                str(life.local),
                str(life.remote),
                _comm(life.process),
                _comm(life.listening_process),
            )
        ]

    def _is_wanted(self, *texts: str) -> bool:
        wanted = self.wanted.casefold()
        return any(wanted in text.casefold() for text in texts)


def _owners(row: Row) -> set[str]:
    listening = row.listening
    owners = {_comm(member.owner) for member in [*listening.members.values()]}
    return {*owners, _comm(listening.owner)}


def _comm(process: Process | None) -> str:
    return f"{comm_text(process.comm)}[{process.pid}]" if process else ""
