"""A tracer under measurement: started, awaited, ended."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_LOOK_S = 0.2
_END_S = 120


class ToolError(Exception):
    """The tool ended early; its last line of standard error."""


class Tracer(NamedTuple):
    """One that traces.

    Attributes:
        process: its own.
        output: what it prints, also once it has ended.
        errors: its standard error.
    """

    process: subprocess.Popen[bytes]
    output: IO[bytes]
    errors: IO[bytes]

    def end(self) -> None:
        """Has it end tidily."""
        self.process.send_signal(signal.SIGINT)
        self.process.wait(_END_S)


@contextmanager
def tracing(
    command: Sequence[str],
    ready: bytes,
    within_s: float,
    meanwhile: Callable[[], object] = lambda: None,
) -> Iterator[Tracer]:
    """Starts a tool, waits until it traces, and ends it in any case.

    Args:
        command: its command line.
        ready: what its output or its errors have when it traces.
        within_s: how long that may take.
        meanwhile: done again and again until then: bcc's tools write nothing to a file before some
            connections have filled Python's buffer.

    Raises:
        ToolError: it does not trace.
    """
    # As a person has it who writes to a file: what is printed goes through Python's buffer.
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"}
    if shutil.which(command[0]) is None:
        raise ToolError(f"no {command[0]}")
    with (
        tempfile.TemporaryFile() as output,
        tempfile.TemporaryFile() as errors,
        subprocess.Popen(command, stdout=output, stderr=errors, env=environment) as process,
    ):
        tracer = Tracer(process, output, errors)
        deadline_s = time.monotonic() + within_s
        while ready not in read(output) + read(errors):
            if process.poll() is not None or time.monotonic() > deadline_s:
                process.kill()
                raise ToolError((read(errors).decode().splitlines() or ["no line"])[-1])
            meanwhile()
            time.sleep(_LOOK_S)
        try:
            yield tracer
        finally:
            if process.poll() is None:
                tracer.end()


def lost_by(tracer: Tracer) -> int:
    """What a tool says, when it has ended, that it lost: the peers' samples, our records."""
    said = read(tracer.errors)
    samples = re.findall(rb"lost (\d+) (?:samples|events)", said)
    records = re.findall(rb"([\d,]+) records? lost", said)
    return sum(int(found.replace(b",", b"")) for found in (*samples, *records))


def read(file: IO[bytes]) -> bytes:
    """All that is in a file, wherever it is being written."""
    return os.pread(file.fileno(), os.fstat(file.fileno()).st_size, 0)


def resident_kb(pid: int) -> int:
    """What the kernel says is resident of a process."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1])
