"""The full-screen application: takes a frame every second and has the screen in front show it."""

from __future__ import annotations

import os
from dataclasses import replace
from threading import Event
from typing import TYPE_CHECKING, ClassVar, Final

from textual.app import App
from textual.binding import Binding, BindingType

from tcptrace.sinks.units import WallClock
from tcptrace.top.driver import HardyDriver
from tcptrace.top.frame import Camera
from tcptrace.top.main_screen import MainScreen
from tcptrace.top.screens import FrameScreen, HelpScreen
from tcptrace.top.selection import Selection

if TYPE_CHECKING:
    from tcptrace.lifecycle.recent import Recent
    from tcptrace.watching import Watch

PERIOD_S: Final = 1.0


class Top(App[None]):
    """`tcptrace top`.

    Args:
        watch: kept up to date by another thread.
        recent: its.
        what: what is traced or replayed; for the second line.

    Attributes:
        frame: what is shown.
        selection: of it.
        is_paused: whether it stays as it is.
        is_ready: set once it can be ended.
    """

    ENABLE_COMMAND_PALETTE = False
    CSS = """
        Screen { layout: vertical; overflow: hidden; }
        Screen { background: ansi_default; color: ansi_default; }
        Input { height: 1; border: none; padding: 0; background: ansi_default; }
        Input:focus { border: none; background-tint: ansi_default 0%; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q,ctrl+c,ctrl+q", "quit", "Quit", priority=False),
        Binding("p,space", "pause", "Pause"),
        Binding("question_mark", "help", "Help"),
    ]

    def __init__(self, watch: Watch, recent: Recent, what: str) -> None:
        if not os.environ.get("NO_COLOR"):
            os.environ.pop("NO_COLOR", None)  # empty it forbids nothing; Textual thinks it does
        super().__init__(driver_class=HardyDriver, ansi_color=True)
        self.watch_of = watch
        self.recent = recent
        self.what = what
        self.clock = WallClock(watch.source.head)
        self.selection = Selection()
        self.is_paused = False
        self.is_ready = Event()
        self._camera = Camera(watch, recent)
        self.frame = self._camera.take()

    @property
    def fault(self) -> Exception | None:
        """What it did not foresee, and ended by."""
        return self._exception

    def _print_error_renderables(self) -> None:
        """Says nothing, where Textual prints pages: `fault` is told like any other error."""
        self._exit_renderables.clear()

    def on_mount(self) -> None:
        """Begins."""
        self.push_screen(MainScreen())
        self.set_interval(PERIOD_S, self.tick)
        self.is_ready.set()

    def tick(self) -> None:
        """Takes the next frame."""
        if not self.is_paused:
            self.frame = self._camera.take()
            self.show()

    def show(self) -> None:
        """Has the screen in front show the frame."""
        if isinstance(self.screen, FrameScreen):
            self.screen.show_frame(self.frame)

    def action_pause(self) -> None:
        """Stops or goes on showing what is new."""
        self.is_paused = not self.is_paused
        if not self.is_paused:
            self.frame = self._camera.take()
        self.show()

    def action_help(self) -> None:
        """Shows the keys."""
        if not isinstance(self.screen, HelpScreen):
            self.push_screen(HelpScreen())

    def select(self, **changes: str) -> None:
        """Changes the selection."""
        self.selection = replace(self.selection, **changes)
        self.show()

    async def action_quit(self) -> None:
        """Ends."""
        self.exit()
