"""Options that several commands share, and what they make of them."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, TypeVar

import click

from tcptrace.cli import completion, params
from tcptrace.errors import BadArgument

if TYPE_CHECKING:
    from collections.abc import Callable

    from tcptrace.reading import Source
    from tcptrace.session import Printer

_Command = TypeVar("_Command", bound="Callable[..., Any]")


def host_options(command: _Command) -> _Command:
    """Adds how to trace a whole host: netns, attach, user, ring size."""
    for add in reversed((_NETNS, *_HOW)):
        command = add(command)
    return command


def filter_options(command: _Command) -> _Command:
    """Adds what to trace and how: pid, netns, cidr, family, attach, user, ring size."""
    for add in reversed((_PID, _NETNS, _CIDR, _FAMILY, *_HOW)):
        command = add(command)
    return command


_PID = click.option(
    "--pid",
    type=params.process_id,
    metavar="PID",
    help="Only sockets that this process uses.",
)
_NETNS = click.option(
    "--netns",
    type=params.network_namespace,
    shell_complete=completion.namespaces,
    metavar="NAME|PATH|PID",
    help="Only this network namespace.",
)
_CIDR = click.option(
    "--cidr",
    type=params.network,
    metavar="NETWORK",
    help="Only connections with an end in this network, e.g. 10.0.0.0/8.",
)
_FAMILY = click.option(
    "--family",
    type=params.family,
    metavar="4|6",
    help="Only this family, by the packets: IPv4 on a dual-stack socket is 4.",
)
_RING = click.option(
    "--ring-size",
    "ring_pages",
    type=params.ring_size,
    default="8M",
    show_default=True,
    metavar="SIZE",
    help="Of the ring that holds events until they are read: a power of two.",
)
_HOW = (
    click.option(
        "--attach",
        type=click.Choice(["auto", "kprobe", "fentry"]),
        default="auto",
        show_default=True,
        help="What carries the hooks; auto takes what loses least on this kernel.",
    ),
    click.option(
        "--user",
        default="nobody",
        show_default=True,
        metavar="NAME",
        help="Whom to become once everything is attached.",
    ),
    _RING,
    click.option(
        "--cri-socket",
        metavar="PATH",
        help="A container runtime's: gives pods and containers their names.",
    ),
)


def connections_option(command: _Command) -> _Command:
    """Adds --max-connections."""
    return click.option(
        "--max-connections",
        type=click.IntRange(min=1),
        default=100_000,
        show_default=True,
        metavar="N",
        help="Connections kept in memory, 0.3 KB each; beyond it the oldest idle ones are counted"
        " by state only.",
    )(command)


def duration_option(command: _Command) -> _Command:
    """Adds --duration."""
    return click.option(
        "--duration",
        type=params.seconds,
        metavar="TIME",
        help="End after this long: 10s, 500ms, 2m, or plain seconds.",
    )(command)


def output_options(command: _Command) -> _Command:
    """Adds how to show lives: timeline, json."""
    add_timeline = click.option(
        "--timeline", is_flag=True, help="Each connection as a story: states, queues, drops."
    )
    add_json = click.option(
        "--json",
        "as_json",
        is_flag=True,
        help="One JSON object a line, once TIME_WAIT is over too.",
    )
    return add_timeline(add_json(command))


def printer_maker(
    *, timeline: bool, as_json: bool, at_once: bool = False
) -> Callable[[Source], Printer]:
    """Returns what makes the printer that was asked for, on stdout, once there is a source.

    With `at_once` many lives are printed at once as JSON: it takes a while to load.

    Everything is imported now: once privileges are dropped, our own files may be out of reach.
    """
    from tcptrace.sinks.jsonl import JsonPrinter  # noqa: PLC0415 - --help starts fast
    from tcptrace.sinks.terminal import Paint, width_of  # noqa: PLC0415
    from tcptrace.sinks.text import TextPrinter  # noqa: PLC0415
    from tcptrace.sinks.timeline import TimelinePrinter  # noqa: PLC0415
    from tcptrace.sinks.units import WallClock  # noqa: PLC0415

    stdout = sys.stdout
    if as_json and at_once:
        from tcptrace.lines import Lines  # noqa: PLC0415

    def make(source: Source) -> Printer:
        clock = WallClock(source.head)
        if as_json:
            printer = JsonPrinter(stdout.buffer, clock, source.symbol, source.names)
            return Lines(printer) if at_once else printer
        paint, width = Paint.of(stdout), width_of(stdout)
        if timeline:
            return TimelinePrinter(stdout, clock, paint, width, source.symbol, source.names)
        return TextPrinter(stdout, clock, paint, width, source.names)

    return make


def check_output(*, timeline: bool, as_json: bool, stacks: bool = False) -> None:
    """Refuses outputs that exclude each other.

    Raises:
        BadArgument: the line says which.
    """
    if timeline and as_json:
        raise BadArgument("--timeline and --json exclude each other")
    if stacks and not (timeline or as_json):
        raise BadArgument("--stacks needs --timeline or --json to show them")
