"""A list of lines as a Textual widget: renders only what is visible, and has a cursor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final, Protocol

from rich.segment import Segment
from rich.style import Style
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from tcptrace.top import cells

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from textual import events

    from tcptrace.top.cells import Line

LOOKS: Final = {
    "": Style(),
    "good": Style(color="green"),
    "warn": Style(color="yellow"),
    "bad": Style(color="red"),
    "dim": Style(dim=True),
    "strong": Style(bold=True),
    "title": Style(bold=True, underline=True),
    "mark": Style(reverse=True, bold=True),
    "key": Style(bold=True),
}
_CURSOR: Final = Style(reverse=True)
_WHEEL_LINES: Final = 3


class Content(Protocol):
    """What a list shows: some lines, of which each is made when it is seen."""

    def __len__(self) -> int:
        """How many lines there are."""

    def heading(self, width: int) -> Line | None:
        """The line above them; None for none."""

    def line(self, index: int, width: int) -> Line:
        """One of them."""

    def key(self, index: int) -> Hashable | None:
        """What it is about, whatever its place; None if there is nothing to choose."""


def strip_of(line: Line, width: int, *, is_marked: bool = False) -> Strip:
    """A line as Textual has it, exactly so wide; the cursor's is reversed, but for its bars."""
    segments = [
        Segment(text, _CURSOR if is_marked and text[0] not in cells.BLOCKS else LOOKS[look])
        for text, look in line
        if text
    ]
    return Strip(segments).adjust_cell_length(width, _CURSOR if is_marked else None)


class Words(Widget):
    """A few lines that stay where they are."""

    DEFAULT_CSS = "Words { height: 1; width: 1fr; }"

    def __init__(self, *, name: str) -> None:
        super().__init__(id=name)
        self._lines: Sequence[Line] = ()
        self.display = False

    def say(self, lines: Sequence[Line]) -> None:
        """Shows other lines, and takes as many rows."""
        if len(lines) != len(self._lines):
            self.styles.height = len(lines)
            self.display = bool(lines)
        self._lines = lines
        self.refresh()

    def render_line(self, y: int) -> Strip:
        """One line of the screen."""
        line = self._lines[y] if y < len(self._lines) else []
        return strip_of(line, self.size.width)


class Lines(Widget, can_focus=True):
    """Some lines of text.

    Once it was moved the cursor stays on what it is on, wherever that goes; before, on the first.
    """

    DEFAULT_CSS = "Lines { height: 1fr; width: 1fr; }"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "Up", show=False),
        Binding("down,j", "move(1)", "Down", show=False),
        Binding("pageup,ctrl+b", "page(-1)", "Page up", show=False),
        Binding("pagedown,ctrl+f", "page(1)", "Page down", show=False),
        Binding("home,g", "edge(-1)", "First", show=False),
        Binding("end,G", "edge(1)", "Last", show=False),
        Binding("enter", "open", "Open", show=False),
    ]

    class Opened(Message):
        """A line was chosen.

        Args:
            lines: whose it is.
            key: what it is about.
        """

        def __init__(self, lines: Lines, key: Any) -> None:
            super().__init__()
            self.lines = lines
            self.key = key

        @property
        def control(self) -> Lines:
            """Whose it is."""
            return self.lines

    class Moved(Opened):
        """The cursor went to another line."""

    def __init__(self, content: Content, *, name: str, has_cursor: bool = True) -> None:
        super().__init__(id=name)
        self._content = content
        self._has_cursor = has_cursor
        self._index = 0
        self._key: Hashable | None = None
        self._was_moved = False
        self._first = 0

    @property
    def content(self) -> Content:
        """What it shows."""
        return self._content

    @property
    def cursor(self) -> Hashable | None:
        """What the cursor is on."""
        return self._content.key(self._index) if len(self._content) > self._index else None

    @property
    def showing(self) -> tuple[int, int]:
        """The first line that is seen, and the one after the last."""
        return self._first, min(len(self._content), self._first + self._room)

    def show(self, content: Content) -> None:
        """Shows other lines, the cursor where it was."""
        count = len(content)
        if self._key is not None and self._was_moved:
            is_same = self._index < count and content.key(self._index) == self._key
            if not is_same:
                places = (index for index in range(count) if content.key(index) == self._key)
                self._index = next(places, self._index)
        self._content = content
        self._place(self._index)

    @property
    def _room(self) -> int:
        """How many lines are seen."""
        has_heading = self._content.heading(max(1, self.size.width)) is not None
        return max(0, self.size.height - has_heading)

    def _place(self, index: int) -> None:
        count, room = len(self._content), self._room
        last_first = max(0, count - room)
        if self._has_cursor:
            before = self._key
            self._index = max(0, min(index, count - 1))
            self._key = self.cursor
            if self._index < self._first:
                self._first = self._index
            elif self._index >= self._first + room:
                self._first = self._index - room + 1
            if self._key != before:
                self.post_message(self.Moved(self, self._key))
        self._first = max(0, min(self._first, last_first))
        self.refresh()

    def on_resize(self, _event: events.Resize) -> None:
        """What the cursor is on stays in sight."""
        self._place(self._index)

    def action_move(self, by: int) -> None:
        """Moves the cursor, or all lines if there is none."""
        if self._has_cursor:
            self._was_moved = self._index + by > 0
            self._place(self._index + by)
        else:
            self._scroll(by)

    def action_page(self, by: int) -> None:
        """A screenful on or back."""
        self.action_move(by * max(1, self._room - 1))

    def action_edge(self, to: int) -> None:
        """The first line, or the last."""
        self.action_move(to * len(self._content))

    def action_open(self) -> None:
        """Tells that the line under the cursor was chosen."""
        if self._has_cursor and self.cursor is not None:
            self.post_message(self.Opened(self, self.cursor))

    def _scroll(self, by: int) -> None:
        self._first += by
        self._place(self._index)

    def on_mouse_scroll_down(self, _event: events.MouseScrollDown) -> None:
        """The wheel moves like the keys."""
        self.action_move(_WHEEL_LINES)

    def on_mouse_scroll_up(self, _event: events.MouseScrollUp) -> None:
        """The wheel moves like the keys."""
        self.action_move(-_WHEEL_LINES)

    def on_click(self, event: events.Click) -> None:
        """A click moves the cursor, a second one opens."""
        row = event.y - (self.size.height - self._room)
        index = self._first + row
        if not self._has_cursor or row < 0 or index >= len(self._content):
            return
        if event.chain > 1:
            self.action_open()
        else:
            self._was_moved = True
            self._place(index)

    def render_line(self, y: int) -> Strip:
        """One line of the screen."""
        width = self.size.width
        heading = self._content.heading(width)
        if heading is not None:
            if y == 0:
                return strip_of(heading, width)
            y -= 1
        index = self._first + y
        if index >= len(self._content):
            return Strip.blank(width)
        is_marked = self._has_cursor and self.has_focus and index == self._index
        return strip_of(self._content.line(index, width), width, is_marked=is_marked)
