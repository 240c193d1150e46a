"""The first screen: its five views, filter and order."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.widgets import Input

from tcptrace.lifecycle.ledger import Address
from tcptrace.sinks.terminal import Paint
from tcptrace.sinks.units import plural
from tcptrace.sinks.verdicts import render
from tcptrace.tcp import State
from tcptrace.top import words
from tcptrace.top.cells import plain
from tcptrace.top.lines import Lines, Words
from tcptrace.top.listener_screen import ListenerScreen, listener_of
from tcptrace.top.listeners import ListenerLines
from tcptrace.top.lives import DropLines, LifeLines, Text, looked
from tcptrace.top.screens import NOTHING, FrameScreen

if TYPE_CHECKING:
    from textual import events
    from textual.app import ComposeResult

    from tcptrace.lifecycle.recent import Drop
    from tcptrace.top.cells import Line
    from tcptrace.top.frame import Frame

_TALL: Final = 20
"""Rows from which the first view has the last drops too."""
_MOST_HEADLINES: Final = 3
_COLOURS: Final = Paint(enabled=True)


class MainScreen(FrameScreen):
    """The five views."""

    _ALWAYS = (("p", "pause"), ("1-5", "views"), ("?", "help"), ("q", "quit"))
    _LISTS = (("↵", "open"), ("/", "filter"), *_ALWAYS)
    _VIEW_KEYS: ClassVar = (
        (*_LISTS[:2], ("s", "sort"), ("tab", "other list"), *_ALWAYS),
        _ALWAYS,
        (*_LISTS[:2], ("tab", "other list"), *_ALWAYS),
        _LISTS,
        _ALWAYS,
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        *(
            Binding(str(number + 1), f"view({number})", name)
            for number, name in enumerate(words.VIEWS)
        ),
        Binding("slash", "filter", "Filter"),
        Binding("s", "sort", "Sort"),
        Binding("escape", "unfilter", "Clear the filter"),
    ]
    CSS = """
        .view { height: 1fr; display: none; }
        #last-drops { height: 6; }
        #typed { display: none; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._view = 0

    @property
    def keys(self) -> words.Keys:
        """Those of the view."""
        return self._VIEW_KEYS[self._view]

    def compose(self) -> ComposeResult:
        """The widgets, from top to bottom."""
        yield Words(name="tabs")
        yield Words(name="standing")
        with Vertical(id="view-0", classes="view"):
            yield Words(name="headlines")
            yield Lines(NOTHING, name="listeners")
            yield Words(name="summary")
            yield Lines(NOTHING, name="last-drops")
        with Vertical(id="view-1", classes="view"):
            yield Lines(NOTHING, name="states", has_cursor=False)
        with Vertical(id="view-2", classes="view"):
            yield Words(name="slow-title")
            yield Lines(NOTHING, name="slow")
            yield Words(name="failed-title")
            yield Lines(NOTHING, name="failed")
            yield Words(name="detail")
        with Vertical(id="view-3", classes="view"):
            yield Lines(NOTHING, name="drops")
        with Vertical(id="view-4", classes="view"):
            yield Lines(NOTHING, name="verdicts", has_cursor=False)
        yield Input(placeholder="a part of an address, port or process", id="typed", compact=True)
        yield Words(name="keys")

    def on_mount(self) -> None:
        """Shows the first view."""
        self.action_view(0)

    def action_view(self, number: int) -> None:
        """Shows another view."""
        self._view = number
        for view in self.query(".view"):
            view.display = view.id == f"view-{number}"
        self.set_focus(self.query(f"#view-{number} Lines").first(Lines))
        self.top.show()

    def fill(self, frame: Frame) -> None:
        """Fills what is seen."""
        width = self.size.width
        time_of_day = self.top.clock.time_of_day(frame.at_ns)[:8]
        self.say("tabs", [words.tabs(self._view, time_of_day, width)])
        self.say("standing", [self._standing(frame), *self._trouble()])
        fill = (self._listeners, self._states, self._slow, self._drops, self._verdicts)
        fill[self._view](frame)

    def _standing(self, frame: Frame) -> Line:
        top = self.top
        sockets = sum(frame.traffic.counts.values()) - frame.traffic.counts.get(State.LISTEN, 0)
        pieces = [("PAUSED", "warn")] if top.is_paused else []
        if top.selection.wanted:
            pieces.append((f"only “{top.selection.wanted}”", "warn"))
        pieces += [(plural(len(frame.rows), "listener"), ""), (plural(sockets, "socket"), "")]
        if self._view == 0:
            pieces.append((f"by {top.selection.order}", ""))
        agrees, *lost = frame.standing
        pieces.append((agrees, "bad" if agrees.startswith("differs") else "dim"))
        pieces += [(text, "warn") for text in lost]
        return words.told([*pieces, (top.what, "dim")], self.size.width)

    def _trouble(self) -> list[Line]:
        """A line of its own: it is long, and what comes after it is to be read by it."""
        trouble = self.top.watch_of.trouble
        return [words.told([(trouble, "bad")], self.size.width)] if trouble else []

    def _listeners(self, frame: Frame) -> None:
        top = self.top
        names = top.watch_of.source.names
        width, height = self.size
        told = [words.verdict_line(one, names, width) for one in frame.verdicts[:_MOST_HEADLINES]]
        heads: list[Line] = list(told)
        more = len(frame.verdicts) - len(told)
        if more > 0:
            heads.append([(f"  and {more} more: 5", "dim")])
        self.say("headlines", heads)
        rows = top.selection.listeners(frame.rows, names)
        content = ListenerLines(rows, names, frame.fills_of, frame.span_ns)
        if top.is_paused:
            content.keep()
        self.lines("listeners").show(content)
        self._summary(frame)
        lines, drops = self.lines("listeners"), self.lines("last-drops")
        drops.display = height >= _TALL
        is_short = drops.display and len(rows) + 1 < height // 2
        lines.styles.height = len(rows) + 2 if is_short else "1fr"
        drops.styles.height = "1fr" if is_short else max(6, height // 4)
        drops.show(DropLines(top.selection.drops(frame.drops), top.clock))

    def _summary(self, frame: Frame) -> None:
        address = self.lines("listeners").cursor
        row = frame.row_of(address) if isinstance(address, Address) else None
        names = self.top.watch_of.source.names
        width = self.size.width
        self.say("summary", [words.summary_of(row, names, width)] if row else [[]])

    def _states(self, frame: Frame) -> None:
        room = self.size.height - 3 - len(self._trouble())
        self.lines("states").show(Text(words.states(frame.traffic, self.size.width, room)))

    def _slow(self, frame: Frame) -> None:
        top = self.top
        slow, failed = (top.selection.lives(lives) for lives in (frame.slow, frame.failed))
        title = "slowest handshakes and waits for accept(), 15 minutes"
        self.say("slow-title", [words.told([(title, "strong"), (f"{len(slow):,}", "")], 999)])
        self.lines("slow").show(LifeLines(slow, top.clock, frame.at_ns))
        title, count = "never established, or never accepted, the latest first", frame.failed_count
        told = [(title, "strong"), (f"{count:,} since the trace began", "")]
        self.say("failed-title", [words.told(told, 999)])
        self.lines("failed").show(LifeLines(failed, top.clock, frame.at_ns))
        focused = self.focused if isinstance(self.focused, Lines) else None
        self.tell_of(focused, (*slow, *failed))

    def _drops(self, frame: Frame) -> None:
        drops = self.top.selection.drops(frame.drops)
        self.lines("drops").show(DropLines(drops, self.top.clock))

    def _verdicts(self, frame: Frame) -> None:
        names = self.top.watch_of.source.names
        if not frame.verdicts:
            self.lines("verdicts").show(
                Text([[("no fault that the evidence is enough for", "dim")]])
            )
            return
        text = render(frame.verdicts, _COLOURS, names, self.size.width)
        self.lines("verdicts").show(Text([looked(line) for line in text.split("\n")]))

    def on_lines_moved(self, event: Lines.Moved) -> None:
        """Another line is under the cursor."""
        frame = self.top.frame
        if event.lines.id == "listeners":
            self._summary(frame)
        elif event.lines.id in ("slow", "failed") and event.lines.has_focus:
            self.tell_of(event.lines, (*frame.slow, *frame.failed))

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        """The other list has the cursor now."""
        if isinstance(event.widget, Lines) and event.widget.id in ("slow", "failed"):
            self.tell_of(event.widget, (*self.top.frame.slow, *self.top.frame.failed))

    def on_lines_opened(self, event: Lines.Opened) -> None:
        """Opens a listener, or a life."""
        name = event.lines.id
        if name == "listeners":
            self.top.push_screen(ListenerScreen(event.key))
        elif name in ("slow", "failed"):
            lives = (*self.top.frame.slow, *self.top.frame.failed)
            life = next((life for life in lives if life.id == event.key), None)
            if life is not None:
                self.open_life(life)
        elif name in ("drops", "last-drops"):
            self._open_listener_of(event.key)

    def _open_listener_of(self, drop: Drop) -> None:
        address = listener_of(drop, self.top.frame)
        if address is not None:
            self.top.push_screen(ListenerScreen(address))

    def action_filter(self) -> None:
        """Has something typed."""
        typed = self.query_one("#typed", Input)
        typed.display = True
        typed.focus()

    def action_unfilter(self) -> None:
        """Shows everything again."""
        typed = self.query_one("#typed", Input)
        typed.value = ""
        self._leave_filter()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Shows what fits as it is typed."""
        self.top.select(wanted=plain(event.value))

    def on_input_submitted(self, _event: Input.Submitted) -> None:
        """Keeps the filter."""
        self._leave_filter()

    def _leave_filter(self) -> None:
        self.query_one("#typed", Input).display = False
        self.set_focus(self.query(f"#view-{self._view} Lines").first(Lines))

    def action_sort(self) -> None:
        """Takes the next order."""
        self.top.select(order=self.top.selection.next_order)
