"""A command that takes the whole terminal: what stands on it, keys, sizes."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import signal
import struct
import sys
import termios
import time
from typing import TYPE_CHECKING, Final, Self

import pyte

from .screen import Screen

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

PATIENCE_S: Final = 60.0


class FullScreen:
    """Runs `tcptrace` on a pseudo-terminal; ends with it.

    Args:
        arguments: tcptrace's.
        columns: of the terminal.
        rows: of the terminal.
        environment: besides the usual one.
        command: tcptrace.
        patience_s: how long anything may take.

    Attributes:
        got: every byte that the terminal got, with the time since the begin.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - what a terminal and a command have
        self,
        arguments: Sequence[str],
        columns: int = 80,
        rows: int = 24,
        environment: Mapping[str, str] | None = None,
        command: Sequence[str] = (sys.executable, "-m", "tcptrace.cli.main"),
        patience_s: float = PATIENCE_S,
    ) -> None:
        self._patience_s = patience_s
        self.screen = Screen(columns, rows)
        self._stream = pyte.ByteStream(self.screen)
        self.got: list[tuple[float, bytes]] = []
        self._began_s = time.monotonic()
        self.pid, self.descriptor = pty.fork()
        if self.pid == 0:
            fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
            variables = {**os.environ, "TERM": "xterm-256color", **(environment or {})}
            if "NO_COLOR" not in (environment or {}):
                variables.pop("NO_COLOR", None)
            for name in ("COLUMNS", "LINES"):
                variables.pop(name, None)
            os.execve(command[0], [*command, *arguments], variables)  # noqa: S606 - a pty, and no shell
        self.before = termios.tcgetattr(self.descriptor)
        """What the terminal was like."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, 0)
        os.close(self.descriptor)

    @property
    def lines(self) -> list[str]:
        """What stands on the screen."""
        return [line.rstrip() for line in self.screen.display]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    def wait_until(self, is_so: Callable[[], bool], what: object = "") -> None:
        """Reads until it is so."""
        deadline = time.monotonic() + self._patience_s
        while not is_so():
            assert time.monotonic() < deadline, f"waited in vain for {what!r}:\n{self.text}"
            self.read(0.1)

    def wait_for(self, *texts: str) -> str:
        """Waits until all of them stand on the screen; returns everything that does."""
        self.wait_until(lambda: all(text in self.text for text in texts), texts)
        return self.text

    def press(self, keys: str) -> None:
        os.write(self.descriptor, keys.encode())

    def resize(self, columns: int, rows: int) -> None:
        self.screen.resize(rows, columns)
        size = struct.pack("HHHH", rows, columns, 0, 0)
        fcntl.ioctl(self.descriptor, termios.TIOCSWINSZ, size)

    def end(self) -> int:
        """Waits for the command's end; returns its exit code, or minus the signal."""
        deadline = time.monotonic() + self._patience_s
        while time.monotonic() < deadline:
            self.read(0.05)
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.read(0.05)
                return os.waitstatus_to_exitcode(status)
        raise AssertionError(f"does not end:\n{self.text}")

    def read(self, timeout_s: float) -> None:
        """Takes what comes within this time."""
        until = time.monotonic() + timeout_s
        while select.select([self.descriptor], [], [], max(0, until - time.monotonic()))[0]:
            try:
                chunk = os.read(self.descriptor, 1 << 16)
            except OSError:  # how a terminal says that the last process on it has ended
                return
            self.got.append((time.monotonic() - self._began_s, chunk))
            self._stream.feed(chunk)
