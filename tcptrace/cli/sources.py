"""Where the records of a command that shows a host come from: the host now, or a recording."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final, TypeVar

import click
from click.core import ParameterSource

from tcptrace.cli.params import speed as read_speed
from tcptrace.errors import BadArgument

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from tcptrace.kernel.attaching import Attaching
    from tcptrace.reading import Source
    from tcptrace.replay import ReplaySource

_Command = TypeVar("_Command", bound="Callable[..., Any]")

_OF_A_HOST: Final = ("duration", "netns", "attach", "user", "ring_pages", "cri_socket")
"""Parameters that a recording has no use for."""


def speed_option(told: str) -> Callable[[_Command], _Command]:
    """Adds --speed, with this help."""
    return click.option(
        "--speed",
        type=read_speed,
        default="1",
        show_default=True,
        metavar="max|FACTOR",
        help=told,
    )


def replay_options(verb: str) -> Callable[[_Command], _Command]:
    """Adds --replay and --speed.

    Args:
        verb: what the command does with a recording.
    """
    add_replay = click.option(
        "--replay",
        type=click.Path(dir_okay=False, path_type=Path),
        metavar="FILE",
        help=f"{verb} a recording instead of this host; its end stays in view. Needs no root.",
    )

    def add(command: _Command) -> _Command:
        return add_replay(speed_option("How fast to replay.")(command))

    return add


def check_source(replay: Path | None, *used: str) -> None:
    """Refuses options that would do nothing: a host's with --replay, --speed without.

    Args:
        replay: a recording, if it is to be one.
        used: parameters of the host's that are of use all the same.

    Raises:
        BadArgument: the line names the option.
    """
    context = click.get_current_context()
    idle = ("speed",) if replay is None else _OF_A_HOST
    for parameter in context.command.params:
        name = parameter.name or ""
        if name not in idle or name in used:
            continue
        if context.get_parameter_source(name) is not ParameterSource.DEFAULT:
            where = "without" if replay is None else "with"
            raise BadArgument(f"{parameter.opts[0]} has no use {where} --replay")


def begun(host: dict[str, Any], *, terminal: bool = False) -> AbstractContextManager[Attaching]:
    """Begins to trace the whole host; what is imported after it is so while it compiles.

    Args:
        host: what host_options gave.
        terminal: whether the trace will take the whole terminal.
    """
    from tcptrace.kernel.attaching import begin  # noqa: PLC0415 - --help starts fast
    from tcptrace.kernel.options import TraceOptions  # noqa: PLC0415

    return begin(TraceOptions(ledger=True, terminal=terminal, **host))


def traced(attaching: Attaching) -> tuple[Source, str]:
    """The host as a source, once all is attached, and the line that says what is traced.

    Privileges are dropped: what is imported later may be out of reach.
    """
    from tcptrace.kernel.live import open_live  # noqa: PLC0415 - while it compiles
    from tcptrace.notes import tracing_line  # noqa: PLC0415

    source = open_live(attaching)
    return source, tracing_line(source.head, source.weaknesses)


def opened(path: Path) -> BinaryIO:
    """Opens a recording.

    Raises:
        BadArgument: it can't be.
    """
    try:
        return path.open("rb")
    except OSError as error:
        raise BadArgument(f"{path}: {error.strerror}") from error


def recorded(file: BinaryIO, name: str, speed: float) -> tuple[ReplaySource, str]:
    """An open recording as a source, and the line that says what is replayed."""
    from tcptrace.replay import ReplaySource, replaying_line  # noqa: PLC0415 - as in begun
    from tcptrace.sinks.recording import RecordingReader  # noqa: PLC0415

    reader = RecordingReader(file, name)
    return ReplaySource(reader, speed), replaying_line(reader, name)
