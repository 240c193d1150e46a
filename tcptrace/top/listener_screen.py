"""One listener: its queues, what it drops, its connections."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, ClassVar, Final

from textual.binding import Binding, BindingType

from tcptrace.lifecycle.connection import Role
from tcptrace.lifecycle.local_lives import LocalLives, is_at
from tcptrace.top import words
from tcptrace.top.lines import Lines, Words
from tcptrace.top.lives import DropLines, LifeLines
from tcptrace.top.screens import NOTHING, FrameScreen

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from textual.app import ComposeResult

    from tcptrace.lifecycle.connection import Connection
    from tcptrace.lifecycle.ledger import Address
    from tcptrace.lifecycle.recent import Drop
    from tcptrace.top.cells import Line
    from tcptrace.top.frame import Frame
    from tcptrace.top.lines import Content

_LIST_WORDS: Final = {"trouble": "slow or failed", "open": "open now", "drops": "last drops"}


class ListenerScreen(FrameScreen):
    """One listener: queues, drops, its connections.

    Args:
        address: which.
    """

    LISTS: ClassVar = (("trouble", "t"), ("open", "o"), ("drops", "d"))
    KEYS = (
        *(("↵", "timeline"), ("t", "trouble"), ("o", "open"), ("d", "drops")),
        *(("esc", "back"), ("q", "quit")),
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,backspace,left,h", "app.pop_screen", "Back"),
        *(Binding(key, f"list('{name}')", name) for name, key in LISTS),
    ]

    def __init__(self, address: Address) -> None:
        super().__init__()
        self._address = address
        self._list: str | None = None
        self._open: tuple[int, Sequence[Connection]] = (0, ())
        self._looked: Frame | None = None

    def compose(self) -> ComposeResult:
        """The widgets, from top to bottom."""
        yield Words(name="head")
        yield Words(name="lists")
        yield Lines(NOTHING, name="list")
        yield Words(name="detail")
        yield Words(name="keys")

    def action_list(self, name: str) -> None:
        """Shows another list."""
        self._list = name
        self.top.show()

    def fill(self, frame: Frame) -> None:
        """Fills all."""
        if frame is not self._looked:
            self._looked = frame
            self.run_worker(self._look(), exclusive=True)
        names = self.top.watch_of.source.names
        width = self.size.width
        row = frame.row_of(self._address)
        head: list[Line] = [[("this listener is gone", "warn")]]
        if row is not None:
            fills = frame.fills_of(self._address)
            head = words.head_of(row, names, fills, frame.span_ns, width)
            mine = [one for one in frame.verdicts if one.where == self._address]
            head[1:1] = [words.verdict_line(one, names, width) for one in mine]
            head = head[: max(1, (self.size.height - 6) // 2)]
        self.say("head", head)
        drops = [one for one in frame.drops if self._is_here(one)]
        bad = self._trouble(frame)
        number, lives = self._open
        self._list = self._list or ("trouble" if bad else "open")
        counts = {"trouble": f"{len(bad):,}", "open": f"{number:,}", "drops": f"{len(drops):,}"}
        self.say("lists", [_lists_line(self._list, counts)])
        contents: dict[str, Content] = {
            "trouble": LifeLines(bad, self.top.clock, frame.at_ns, is_of_one=True),
            "open": LifeLines(lives, self.top.clock, frame.at_ns, is_of_one=True),
            "drops": DropLines(drops, self.top.clock, is_of_one=True),
        }
        lines = self.lines("list")
        lines.show(contents[self._list])
        self.tell_of(lines, (*bad, *lives))

    def on_lines_moved(self, event: Lines.Moved) -> None:
        """Another life is under the cursor."""
        self.tell_of(event.lines, (*self._trouble(self.top.frame), *self._open[1]))

    def _is_here(self, drop: Drop) -> bool:
        local = drop.listener.local
        return is_at(self._address, drop.record.netns, local.address, local.port)

    def _trouble(self, frame: Frame) -> list[Connection]:
        """Its slow and failed lives, the latest first."""
        lives = {life.id: life for life in (*frame.slow, *frame.failed)}
        mine = [life for life in lives.values() if is_of(life, self._address)]
        return sorted(mine, key=lambda life: -(life.began_ns or 0))

    async def _look(self) -> None:
        """Finds its open lives, a slice at a time, so that nothing waits."""
        watch = self.top.watch_of
        with watch.lock:
            lives = LocalLives(watch.tracker.registry.objects, self._address)
        is_more = True
        while is_more:
            with watch.lock:
                is_more = lives.look()
            await asyncio.sleep(0)
        self._open = lives.count, lives.found
        self.top.show()

    def on_lines_opened(self, event: Lines.Opened) -> None:
        """Opens a life."""
        frame = self.top.frame
        lives = (*self._trouble(frame), *self._open[1])
        found = next((life for life in lives if life.id == event.key), None)
        if found is not None:
            self.open_life(found)


def listener_of(drop: Drop, frame: Frame) -> Address | None:
    """The listener that dropped something, as the ledger has it."""
    local = drop.listener.local
    for row in frame.rows:
        if is_at(row.listening.address, drop.record.netns, local.address, local.port):
            return row.listening.address
    return None


def is_of(life: Connection, address: Address) -> bool:
    """Whether a life is one of a listener's."""
    local = life.local
    return life.role is not Role.CLIENT and is_at(address, life.netns, local.address, local.port)


def _lists_line(chosen: str, counts: Mapping[str, str]) -> Line:
    """Which list is shown, and the keys of the others."""
    line: Line = []
    for name, key in ListenerScreen.LISTS:
        text = f" {key} {_LIST_WORDS[name]} {counts[name]} "
        line += [(text, "mark" if name == chosen else ""), (" ", "")]
    return line
