"""`tcptrace top`: a host in full screen, live."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import click

from tcptrace.cli.options import connections_option, host_options
from tcptrace.cli.params import speed as read_speed
from tcptrace.errors import BadArgument

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from tcptrace.kernel.attaching import Attaching
    from tcptrace.reading import Source

_MOST: Final = 10_000
"""Listeners told apart: more than the kernel side keeps."""


@click.command("top", short_help="A full screen: listeners, states, drops, verdicts.")
@click.option(
    "--replay",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Show a recording instead of this host; its end stays in view. Needs no root.",
)
@click.option(
    "--speed",
    type=read_speed,
    default="1",
    show_default=True,
    metavar="max|FACTOR",
    help="How fast to replay.",
)
@connections_option
@host_options
def command(max_connections: int, replay: Path | None, speed: float, **host: Any) -> None:
    """Show this host in full screen: listeners with both queues, the state diagram with counts and
    rates, slow and failed connections, drops as they come, verdicts. Enter goes from a listener to
    its connections, and to the timeline of each. ? lists the keys.
    """  # noqa: D205 - it is the help's text
    from tcptrace.terminals import require_full_screen  # noqa: PLC0415 - --help starts fast

    with ExitStack() as stack:
        attaching = None if replay else stack.enter_context(_begun(host))
        require_full_screen()
        # While it compiles.
        from tcptrace.lifecycle.recent import Recent  # noqa: PLC0415
        from tcptrace.lifecycle.tally import Bounds, Tally  # noqa: PLC0415
        from tcptrace.top.running import new_loop, show  # noqa: PLC0415
        from tcptrace.watching import Watch  # noqa: PLC0415

        loop = new_loop()
        if attaching is not None:
            source, what, opening = _live(attaching)
        elif replay is not None:
            file = stack.enter_context(_opened(replay))
            source, what, opening = _recorded(file, str(replay), speed)
        recent = Recent()
        tally = Tally(Bounds((), (), (), ()))
        watch = Watch(source, tally, _MOST, max_connections, recent=recent)
        show(watch, recent, loop, what, sys.stderr, opening)


def _begun(host: dict[str, Any]) -> AbstractContextManager[Attaching]:
    from tcptrace.kernel.attaching import begin  # noqa: PLC0415
    from tcptrace.kernel.options import TraceOptions  # noqa: PLC0415

    return begin(TraceOptions(ledger=True, terminal=True, **host))


def _live(attaching: Attaching) -> tuple[Source, str, str]:
    from tcptrace.kernel.live import open_live  # noqa: PLC0415
    from tcptrace.notes import tracing_line  # noqa: PLC0415

    source = open_live(attaching)
    head = source.head
    what = f"{head.what} on {head.hostname}"
    return source, what, tracing_line(head, source.weaknesses)


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise BadArgument(f"{path}: {error.strerror}") from error


def _recorded(file: BinaryIO, name: str, speed: float) -> tuple[Source, str, str]:
    from tcptrace.replay import ReplaySource, replaying_line  # noqa: PLC0415
    from tcptrace.sinks.recording import RecordingReader  # noqa: PLC0415

    reader = RecordingReader(file, name)
    return ReplaySource(reader, speed), f"replay of {Path(name).name}", replaying_line(reader, name)
