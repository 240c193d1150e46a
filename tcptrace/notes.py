"""What a trace says to people besides its output: on stderr, a line at a time.

And what becomes of either when nobody takes it.
"""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Protocol

from tcptrace.errors import OutputFailed
from tcptrace.sinks.terminal import safe_text
from tcptrace.sinks.units import plural

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import TextIO

    from tcptrace.wire.head import TraceHead


class Troubled(Protocol):
    """What something can go wrong with."""

    @property
    def trouble(self) -> str:
        """What has; "" while all is well."""


def tracing_line(head: TraceHead, weaknesses: Iterable[str] = ()) -> str:
    """Says in one line that tracing has begun, and how.

    Args:
        head: what is traced.
        weaknesses: what is not as it should be.
    """
    hooks = plural(len(head.hooks), "hook")
    carrier = head.carrier
    by_kprobe = sum(hook.carrier in ("kprobe", "kretprobe") for hook in head.hooks)
    if carrier != "kprobe" and by_kprobe:
        carrier += f", {by_kprobe} of them by kprobe"
    untold = f"; this kernel can't tell {', '.join(head.untold)}" if head.untold else ""
    weak = "".join(f"; {weakness}" for weakness in weaknesses)
    return safe_text(
        f"tracing {head.what}: {hooks}, {carrier}, kernel {head.kernel}{untold}{weak}; Ctrl-C ends"
    )


def note(notes: TextIO, text: str) -> None:
    """Writes whole lines to stderr; nobody there to read them is no reason to end a trace."""
    with suppress(OSError):
        notes.write(f"{text}\n")
        notes.flush()


class Troubles:
    """Tells what goes wrong with a source, once, and again if it is another or had passed."""

    def __init__(self, source: Troubled, notes: TextIO) -> None:
        self._source = source
        self._notes = notes
        self._told = ""

    def tell(self) -> None:
        """Writes a line if something has gone wrong since the last time."""
        trouble = self._source.trouble
        if trouble and trouble != self._told:
            note(self._notes, safe_text(f"tcptrace: {trouble}"))
        self._told = trouble


@contextmanager
def output_errors() -> Iterator[None]:
    """Turns a failed write to the output into its error; a reader that went away passes."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputFailed(f"can't write the output: {error.strerror}") from error


@contextmanager
def last_output() -> Iterator[None]:
    """The same for the last that a command writes to stdout.

    A reader that goes away before it has all of it changes nothing of how the command ends.
    """
    try:
        with output_errors():
            yield
            sys.stdout.flush()
    except BrokenPipeError:
        forget(sys.stdout)


def settle(stream: TextIO | None) -> None:
    """Leaves nothing in a stream that the interpreter would fail to write at its end."""
    if stream is None:
        return
    try:
        stream.flush()
    except OSError:
        forget(stream)


def forget(stream: TextIO) -> None:
    """Lets what a stream still holds, and gets from now on, go nowhere: nobody takes it."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
