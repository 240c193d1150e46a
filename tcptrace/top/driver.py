"""Textual's driver, for a terminal that may go away at any time."""

from __future__ import annotations

import signal
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from textual.drivers.linux_driver import LinuxDriver

if TYPE_CHECKING:
    from typing import TextIO


class HardyDriver(LinuxDriver):
    """Writes into the void once the terminal is gone, where Textual's waits for ever.

    The kernel sends a SIGCONT with the SIGHUP then, at which Textual's would take the screen anew.
    Nobody can stop it from the keyboard, so that it needs to notice neither that nor its going on.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._file: Any = _Forgiving(self._file)
        signal.signal(signal.SIGTSTP, signal.SIG_IGN)
        signal.signal(signal.SIGCONT, signal.SIG_DFL)


class _Forgiving:
    """A stream that takes everything."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Writes it if it can."""
        with suppress(OSError):
            return self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """The same."""
        with suppress(OSError):
            self._stream.flush()

    def fileno(self) -> int:
        """The stream's."""
        return self._stream.fileno()
