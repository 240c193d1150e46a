"""`tcptrace record`: a trace into a file, to be looked at later or elsewhere."""

from __future__ import annotations

import os
import stat
import sys
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import click

from tcptrace.cli import completion
from tcptrace.cli.options import duration_option, filter_options
from tcptrace.cli.params import port as read_port
from tcptrace.errors import OutputFailed
from tcptrace.sinks.recording.layout import MAGIC

if TYPE_CHECKING:
    from collections.abc import Iterator


_FILTERS: Final = ("pid", "cidr", "family")
_FLAGS: Final = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@click.command("record", short_help="Record a trace into a file.")
@click.option(
    "-o",
    "--output",
    required=True,
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where to; an older recording there is overwritten once tracing has begun.",
)
@click.option(
    "--port",
    type=read_port,
    shell_complete=completion.ports,
    metavar="PORT",
    help="Only this port, local or remote.",
)
@click.option("--stacks", is_flag=True, help="With the kernel's call stack of each transition.")
@duration_option
@filter_options
def command(
    output: Path, port: int | None, stacks: bool, duration: float | None, **filters: Any
) -> None:
    """Record what the hooks tell, for `tcptrace replay`.

    Without a filter (but --netns), and without --stacks, also the sockets that are there already,
    and every second the queues and drops of each listener, for `tcptrace serve --replay`.
    """
    from tcptrace.kernel.attaching import begin  # noqa: PLC0415 - --help starts fast
    from tcptrace.kernel.options import TraceOptions  # noqa: PLC0415

    with open_output(output) as file:
        # The ledger knows no filter but a namespace.
        filtered = port is not None or any(filters[name] is not None for name in _FILTERS)
        ledger = not (filtered or stacks)
        wanted = TraceOptions(port=port, stacks=stacks, ledger=ledger, **filters)
        with begin(wanted) as attaching:
            from tcptrace.kernel.live import open_live  # noqa: PLC0415 - while it compiles
            from tcptrace.notes import tracing_line  # noqa: PLC0415
            from tcptrace.recorder import record  # noqa: PLC0415
            from tcptrace.sinks.recording import RecordingWriter  # noqa: PLC0415
            from tcptrace.stopping import Limits  # noqa: PLC0415

            source = open_live(attaching)
        try:
            os.ftruncate(file.fileno(), 0)
            writer = RecordingWriter(file, str(output), source.head, source.symbol)
        except BaseException:
            source.close()
            raise
        record(
            source,
            writer,
            Limits(duration),
            sys.stderr,
            tracing_line(source.head, source.weaknesses),
        )


@contextmanager
def open_output(path: Path) -> Iterator[BinaryIO]:
    """Opens a regular file for writing, without touching yet what is in it.

    A file that this created and nobody wrote to is removed again.

    Raises:
        OutputFailed: it can't be opened, or is no regular file.
    """
    try:
        is_new = not path.exists()
        descriptor = os.open(path, _FLAGS, 0o600)
    except OSError as error:
        raise OutputFailed(f"{path}: {error.strerror}") from error
    with open(descriptor, "wb", buffering=0) as file:  # noqa: PTH123 - it is a descriptor
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise OutputFailed(f"{path}: not a regular file")
            if os.pread(descriptor, len(MAGIC), 0) not in (b"", MAGIC):
                raise OutputFailed(f"{path}: exists and is no recording; name another file")
            yield file
        finally:
            if is_new and os.fstat(descriptor).st_size == 0:
                with suppress(OSError):
                    path.unlink()
