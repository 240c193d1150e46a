"""A terminal that a command runs on, and everything that it got to show."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import shlex
import signal
import struct
import sys
import termios
import time
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Sequence

ROWS = 200
PATIENCE_S = 240
SETTLED_S = 4.0
CTRL_C = b"\x03"
PROMPT = "\x1b[2m#\x1b[0m "


class Terminal:
    """Runs `tcptrace` on a pseudo-terminal of its own; ends with it.

    Args:
        arguments: tcptrace's.
        width: columns.
        status: with which it should end.
    """

    def __init__(self, arguments: Sequence[str], width: int, status: int = 0) -> None:
        self._status = status
        shown = shlex.join(["tcptrace", *arguments])
        self.got = f"{PROMPT}\x1b[1m{shown}\x1b[0m\r\n".encode()
        command = [sys.executable, "-m", "tcptrace.cli.main", *arguments]
        self._pid, self._descriptor = pty.fork()
        if self._pid == 0:
            fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, width, 0, 0))
            environment = {**os.environ, "TERM": "xterm-256color"}
            environment.pop("COLUMNS", None)
            environment.pop("NO_COLOR", None)
            os.execve(command[0], command, environment)  # noqa: S606 - a pty, and no shell

    def __enter__(self) -> Self:
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        if error is not None:
            os.kill(self._pid, signal.SIGKILL)
        os.close(self._descriptor)
        status = os.waitpid(self._pid, 0)[1]
        code = os.waitstatus_to_exitcode(status)
        if code != self._status and error is None:
            sys.exit(f"screens: the command ended with {code}:\n{self.got.decode()}")

    def wait_for(self, text: str) -> None:
        """Waits until `text` is on the screen."""
        deadline = time.monotonic() + PATIENCE_S
        while text.encode() not in self.got:
            if not self._read(deadline - time.monotonic()):
                sys.exit(f"screens: waited in vain for {text!r}:\n{self.got.decode()}")

    def settle(self) -> bytes:
        """Waits until nothing more comes; returns all that came."""
        while self._read(SETTLED_S):
            pass
        return self.got

    def press_ctrl_c(self) -> bytes:
        """Ends the command; returns what it still says, `^C` included."""
        before = len(self.got)
        os.write(self._descriptor, CTRL_C)
        return self.rest()[before:]

    def rest(self) -> bytes:
        """Waits for the command's end; returns all that came."""
        deadline = time.monotonic() + PATIENCE_S
        while self._read(deadline - time.monotonic()):
            pass
        return self.got

    def _read(self, timeout_s: float) -> bytes:
        """Returns what comes next; nothing at the end, or if nothing comes in time."""
        if not select.select([self._descriptor], [], [], max(0, timeout_s))[0]:
            return b""
        try:
            chunk = os.read(self._descriptor, 1 << 16)
        except OSError:  # how a terminal says that the last process on it has ended
            return b""
        self.got += chunk
        return chunk
