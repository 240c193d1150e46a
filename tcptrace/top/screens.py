"""What every screen is: it shows frames. And the simple ones: one life's timeline, help."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final, cast

from textual.binding import Binding, BindingType
from textual.screen import Screen

from tcptrace.terminals import LEAST
from tcptrace.top import words
from tcptrace.top.lines import Lines, Words
from tcptrace.top.lives import Text, remarks_of, timeline

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from textual import events
    from textual.app import ComposeResult

    from tcptrace.lifecycle.connection import Connection
    from tcptrace.top.app import Top
    from tcptrace.top.cells import Line
    from tcptrace.top.frame import Frame

NOTHING: Final = Text(())


class FrameScreen(Screen[None]):
    """A screen that shows frames; its last line tells the keys."""

    KEYS: ClassVar[words.Keys] = ()

    @property
    def keys(self) -> words.Keys:
        """What its last line tells."""
        return self.KEYS

    @property
    def top(self) -> Top:
        """The application."""
        return cast("Top", self.app)

    def show_frame(self, frame: Frame) -> None:
        """Shows one, once there is something to show it in."""
        if not self.query("#keys"):
            return
        is_small = self.size.width < LEAST[0] or self.size.height < LEAST[1]
        for widget in self.children:
            widget.visible = widget.id == "keys" or not is_small
        if is_small:
            text = f"too small: needs {LEAST[0]} × {LEAST[1]}"
            self.say("keys", [[(text, "bad")]])
            return
        self.say("keys", [words.keys_line(self.keys, self.size.width)])
        self.fill(frame)

    def fill(self, frame: Frame) -> None:
        """Fills the widgets; there is room for all of them."""
        raise NotImplementedError

    def on_screen_resume(self) -> None:
        """It is in front now."""
        self.top.call_after_refresh(self.top.show)

    def on_resize(self, _event: events.Resize) -> None:
        """It has another size now."""
        self.top.call_after_refresh(self.top.show)

    def say(self, name: str, lines: Sequence[Line]) -> None:
        """Has the words of that name say something else."""
        self.query_one(f"#{name}", Words).say(lines)

    def lines(self, name: str) -> Lines:
        """The list of that name."""
        return self.query_one(f"#{name}", Lines)

    def tell_of(self, lines: Lines | None, lives: Iterable[Connection]) -> None:
        """Tells all of the life that the cursor is on."""
        number = lines.cursor if lines is not None else None
        told: Line = []
        for life in lives:
            if life.id == number:
                now_ns = self.top.frame.at_ns
                told = words.told(remarks_of(life, now_ns), self.size.width)
                break
        self.say("detail", [told])

    def open_life(self, life: Connection) -> None:
        """Shows a life's timeline."""
        self.top.push_screen(LifeScreen(life))


class LifeScreen(FrameScreen):
    """One life's timeline.

    Args:
        life: which.
    """

    KEYS = (("↑↓", "scroll"), ("esc", "back"), ("q", "quit"))
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,backspace,left,h", "app.pop_screen", "Back"),
    ]

    def __init__(self, life: Connection) -> None:
        super().__init__()
        self._life = life

    def compose(self) -> ComposeResult:
        """The widgets, from top to bottom."""
        yield Lines(NOTHING, name="timeline", has_cursor=False)
        yield Words(name="keys")

    def fill(self, frame: Frame) -> None:
        """Tells the story until now."""
        watch, life = self.top.watch_of, self._life
        source = watch.source
        with watch.lock:
            lines = timeline(
                life, frame.at_ns, self.top.clock, source.names, source.symbol, self.size.width
            )
        self.lines("timeline").show(Text(lines))


class HelpScreen(FrameScreen):
    """What is shown, and the keys."""

    KEYS = (("↑↓", "scroll"), ("esc", "back"), ("q", "quit"))
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,question_mark,enter,backspace", "app.pop_screen", "Back", priority=True),
    ]

    def compose(self) -> ComposeResult:
        """The widgets, from top to bottom."""
        yield Lines(NOTHING, name="help", has_cursor=False)
        yield Words(name="keys")

    def fill(self, frame: Frame) -> None:  # noqa: ARG002 - as every screen
        """Shows the text."""
        lines: list[Line] = [[(text, "")] for text in words.HELP.split("\n")]
        self.lines("help").show(Text(lines))
