"""`tcptrace port`: the connections of one port, live."""

from __future__ import annotations

import sys
from typing import Any

import click

from tcptrace.cli import completion
from tcptrace.cli.options import (
    check_output,
    connections_option,
    duration_option,
    filter_options,
    output_options,
    printer_maker,
)
from tcptrace.cli.params import port as read_port


@click.command("port", short_help="Trace the connections of one port.")
@click.argument("port", type=read_port, metavar="PORT", shell_complete=completion.ports)
@output_options
@click.option("--stacks", is_flag=True, help="The kernel's call stack of each transition.")
@duration_option
@click.option(
    "--count", type=click.IntRange(min=1), metavar="N", help="End after this many connections."
)
@connections_option
@filter_options
def command(
    port: int,
    timeline: bool,
    as_json: bool,
    stacks: bool,
    duration: float | None,
    count: int | None,
    max_connections: int,
    **filters: Any,
) -> None:
    """Trace the connections whose local or remote port is PORT: a number or a service's name.

    Prints a line when a connection ends or fails to begin, and a summary at the end.
    """
    check_output(timeline=timeline, as_json=as_json, stacks=stacks)
    from tcptrace.kernel.attaching import begin  # noqa: PLC0415 - --help starts fast
    from tcptrace.kernel.options import TraceOptions  # noqa: PLC0415

    with begin(TraceOptions(port=port, stacks=stacks, **filters)) as attaching:
        from tcptrace.kernel.live import open_live  # noqa: PLC0415 - while it compiles
        from tcptrace.notes import tracing_line  # noqa: PLC0415
        from tcptrace.session import run  # noqa: PLC0415
        from tcptrace.stopping import Limits  # noqa: PLC0415

        at_once = not stacks and count is None
        make_printer = printer_maker(timeline=timeline, as_json=as_json, at_once=at_once)
        limits = Limits(duration, count, max_connections)
        source = open_live(attaching)
    opening = tracing_line(source.head, source.weaknesses)
    run(source, make_printer(source), limits, sys.stderr, opening)
