"""A child process that is written to and tells lines of JSON, without waiting for either."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from tcptrace.errors import CannotTrace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_START_S: Final = 20.0
_END_S: Final = 1.0
_MOST_LINE: Final = 1 << 14
_MOST_READ: Final = 1 << 16


class Child:
    """One that runs a module.

    Args:
        arguments: the module's name, and arguments for it.
        job: what it is there for: "that asks".
        on_end: called with a reason once it is gone, before the rest of what it told.

    Attributes:
        is_there: whether it can still tell anything.
        process: itself.
    """

    def __init__(self, *arguments: str, job: str, on_end: Callable[[str], None]) -> None:
        self.is_there = True
        self._name = f"the child {job}"
        self._on_end = on_end
        self._buffer = b""
        self.process = subprocess.Popen(
            # -P: root imports nothing from the current directory.
            [sys.executable, "-P", "-m", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None if os.environ.get("TCPTRACE_DEBUG") else subprocess.DEVNULL,
            start_new_session=True,
        )
        assert self.process.stdin is not None  # noqa: S101 - asked for above
        assert self.process.stdout is not None  # noqa: S101
        self._input, self._output = self.process.stdin, self.process.stdout
        os.set_blocking(self._input.fileno(), False)
        os.set_blocking(self._output.fileno(), False)

    def begin(self, what: str) -> dict[str, Any]:
        """Waits for the first line, and returns it.

        Raises:
            CannotTrace: it tells an error, or nothing; its line begins with `what`.
        """
        end_s = time.monotonic() + _START_S
        while self.is_there and self.speaks(end_s):
            for told in self.told():
                if "error" in told:
                    raise CannotTrace(f"{what}: {told['error']}")
                return told
        silent = f"no answer within {_START_S:g} s"
        died = f"{self._name} died (TCPTRACE_DEBUG=1 shows why)"
        raise CannotTrace(f"{what}: {silent if self.is_there else died}")

    def speaks(self, end_s: float) -> bool:
        """Waits until it tells something; False once that time (CLOCK_MONOTONIC) has come."""
        left_s = end_s - time.monotonic()
        answers = select.poll()
        answers.register(self._output, select.POLLIN)
        return left_s > 0 and bool(answers.poll(left_s * 1000))

    def told(self) -> Iterator[dict[str, Any]]:
        """The lines that have come, each if it is an object."""
        try:
            part = os.read(self._output.fileno(), _MOST_READ)
        except BlockingIOError:
            return
        *lines, self._buffer = (self._buffer + part).split(b"\n")
        if not part or len(self._buffer) > _MOST_LINE:
            self.is_there = False
            self._on_end("it answers too much" if part else f"{self._name} has died")
        for line in lines:
            with suppress(ValueError, RecursionError):
                told = json.loads(line)
                if isinstance(told, dict):
                    yield told

    def write(self, data: bytes | memoryview) -> int:
        """Writes what it takes at once; BlockingIOError if that is nothing."""
        return os.write(self._input.fileno(), data)

    def hang_up(self) -> None:
        """Lets it read its end."""
        with suppress(OSError):
            self._input.close()

    def close(self, *, kill: bool = False) -> None:
        """Lets it end by itself, and waits a moment; or kills it, where that is allowed."""
        self.is_there = False
        self.hang_up()
        self._output.close()
        with suppress(OSError, subprocess.TimeoutExpired):
            if kill:
                self.process.kill()
            self.process.wait(_END_S)
