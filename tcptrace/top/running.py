"""Runs the application in this thread and what it shows in another, until somebody ends it."""

from __future__ import annotations

import asyncio
import signal
from importlib import import_module
from threading import Thread
from typing import TYPE_CHECKING, Final, TextIO

from rich.cells import cell_len

from tcptrace.notes import Troubles, note
from tcptrace.stopping import Limits, Stop
from tcptrace.top.app import Top

if TYPE_CHECKING:
    from tcptrace.lifecycle.recent import Recent
    from tcptrace.watching import Watch

_READY_S: Final = 10.0
_LATE: Final = (
    *("textual.drivers.headless_driver", "textual.drivers._writer_thread", "textual.pilot"),
    *("textual.layouts.factory", "textual.layouts.horizontal", "textual.layouts.stream"),
    "textual.scrollbar",
)
"""What Textual imports when it runs: once privileges are dropped, files may be out of reach."""
for _module in _LATE:
    import_module(_module)
cell_len("…")  # has Rich load its table of widths


def new_loop() -> asyncio.AbstractEventLoop:
    """What the application runs in. It has sockets, which must be there before the filter is."""
    return asyncio.new_event_loop()


def show(  # noqa: PLR0913, PLR0917 - what there is to know
    watch: Watch,
    recent: Recent,
    loop: asyncio.AbstractEventLoop,
    what: str,
    notes: TextIO,
    opening: str,
) -> None:
    """Shows a host until somebody quits, or a signal.

    Args:
        watch: of a source with a ledger; its source is closed at the end.
        recent: its.
        loop: new_loop()'s.
        what: is traced or replayed.
        notes: where the opening line goes: stderr.
        opening: said before the screen is taken; it is there again afterwards.

    Raises:
        BadRecording: the source is a damaged recording; what it gave before was shown.
    """
    stop = Stop(Limits())
    app = Top(watch, recent, what)
    keeper = _Keeper(watch, stop, app, loop)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # nohup or not, nothing is left of it to be seen
    try:
        with stop.on_signals():
            note(notes, opening)
            keeper.start()
            app.run(loop=loop)
    finally:
        stop.asked = True
        keeper.join()
        Troubles(watch.source, notes).tell()  # what the screen told is gone
        watch.source.close()
        loop.close()
    for fault in (keeper.fault, app.fault, watch.fault):
        if fault is not None:
            raise fault


class _Keeper(Thread):
    """Keeps the watch up to date; has the application end when it is time, or when it can't.

    Attributes:
        fault: why it couldn't.
    """

    def __init__(self, watch: Watch, stop: Stop, app: Top, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(name="watch", daemon=True)
        self._watch = watch
        self._stop_at = stop
        self._app = app
        self._loop = loop
        self.fault: Exception | None = None

    def run(self) -> None:
        """Runs in its own thread."""
        try:
            self._watch.run(self._stop_at, lambda: None)
        except Exception as fault:  # noqa: BLE001 - told by the thread that it would have ended
            self.fault = fault
        if self._app.is_ready.wait(_READY_S) and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._app.exit)
