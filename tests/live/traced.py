"""`tcptrace` as a subprocess, the way a person runs it: started, waited for, ended, read."""

from __future__ import annotations

import itertools
import json
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final, Self

from jsonschema import Draft202012Validator

from .lives import Life, Lives
from .waiting import DEADLINE_S, until

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

TCPTRACE: Final = str(Path(sys.executable).with_name("tcptrace"))
"""The console script of the environment that runs the tests."""
START_DEADLINE_S: Final = 420.0
"""Where there is no BTF, bcc takes 110 s for the headers of 6.12, in a guest that is alone."""
_LIVES_DEADLINE_S: Final = 240.0
_SCHEMA_CHECKS: Final = 50
"""Lives of one scenario that are held against the schema: it takes 10 ms each in a guest."""
_SCHEMA: Final = Draft202012Validator(
    json.loads(Path(__file__).parents[2].joinpath("docs/schema/connection-v1.json").read_bytes())
)


class _Lines:
    """Collects a pipe's lines in a thread, so that the traced command never blocks on us."""

    def __init__(self, pipe: IO[str]) -> None:
        self._pipe = pipe
        self._lines: list[str] = []
        self._thread = threading.Thread(target=self._collect, daemon=True)
        self._thread.start()

    def _collect(self) -> None:
        for line in self._pipe:
            self._lines.append(line.rstrip("\n"))

    def so_far(self) -> list[str]:
        return self._lines[:]

    def all(self) -> list[str]:
        """Every line, once the writer has closed its end."""
        self._thread.join(DEADLINE_S)
        assert not self._thread.is_alive(), "the command has ended but its output has not"
        self._pipe.close()  # once more does nothing
        return self._lines


class Trace:
    """One run of `tcptrace` that traces until it is ended."""

    ready = "tracing "
    """How the line begins that says that it traces."""

    def __init__(self, *arguments: str) -> None:
        self.began_ns = time.monotonic_ns()
        self.ended_ns: int | None = None
        self.process = subprocess.Popen(
            [TCPTRACE, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self._stdout = _Lines(self.process.stdout)
        self._stderr = _Lines(self.process.stderr)
        self._arguments = arguments

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._stdout.all()
        self._stderr.all()

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def stderr(self) -> str:
        """What it has said to people so far."""
        return "\n".join(self._stderr.so_far())

    def stdout_so_far(self) -> list[str]:
        """The lines that it has printed."""
        return self._stdout.so_far()

    def wait_until_tracing(self, deadline_s: float = START_DEADLINE_S) -> Self:
        """Waits for the line that says that tracing has begun."""
        until(
            lambda: self._tracing_line() or self.process.poll() is not None,
            "tracing to begin",
            deadline_s,
        )
        assert self._tracing_line(), f"{self._arguments} ended before it traced: {self.stderr}"
        return self

    def _tracing_line(self) -> str | None:
        lines = self._stderr.so_far()
        return next((line for line in lines if line.startswith(self.ready)), None)

    @property
    def tracing_line(self) -> str:
        """The line that said that tracing had begun, and how."""
        line = self._tracing_line()
        assert line is not None
        return line

    def lives_so_far(self) -> Lives:
        """The lives that are over."""
        return Lives.parse(self._stdout.so_far())

    def wait_for(self, enough: Callable[[Lives], bool], what: str) -> Lives:
        """Waits until the lives that are over are enough, and returns them."""

        def found() -> Lives | None:
            assert self.process.poll() is None, f"{self._arguments} ended: {self.stderr}"
            lives = self.lives_so_far()
            return lives if enough(lives) else None

        lives = until(found, what, _LIVES_DEADLINE_S)
        assert lives is not None
        return lives

    def end(self) -> Lives:
        """Ends the trace as Ctrl-C does, and returns all lives, those still open too."""
        self.process.send_signal(signal.SIGINT)
        status = self.wait()
        assert status == 0, f"{self._arguments} exited {status}: {self.stderr}"
        return Lives.parse(self._stdout.all())

    def wait(self, deadline_s: float = DEADLINE_S) -> int:
        """Waits for the command's own end and returns its exit status."""
        status = self.process.wait(deadline_s)
        self.ended_ns = time.monotonic_ns()
        self._stderr.all()  # waits for the last line
        return status

    def check(self, lives: Lives) -> None:
        """Checks what holds for every life: the schema, and the times if it is whole."""
        ended_ns = self.ended_ns or time.monotonic_ns()
        for life in itertools.islice(lives, _SCHEMA_CHECKS):
            _SCHEMA.validate(life.told)
        for life in lives:
            if not life.partial:
                life.check_times(self.began_ns, ended_ns)


def run(*arguments: str, user: int | None = None) -> subprocess.CompletedProcess[str]:
    """Runs a `tcptrace` command that ends by itself."""
    return subprocess.run(
        [TCPTRACE, *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=START_DEADLINE_S,
        user=user,
        group=user,
        extra_groups=None if user is None else [],
    )


def replayed(recording: Path, *arguments: str) -> Lives:
    """The lives of a recording, by `tcptrace replay --json`."""
    done = run("replay", str(recording), "--json", "--speed", "max", *arguments)
    assert done.returncode == 0, done.stderr
    return Lives([Life(json.loads(line)) for line in done.stdout.splitlines()])
