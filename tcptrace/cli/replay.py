"""`tcptrace replay`: a recording, shown as if it were live."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from tcptrace.cli.options import (
    check_output,
    connections_option,
    output_options,
    printer_maker,
)
from tcptrace.cli.sources import opened, recorded, speed_option


@click.command("replay", short_help="Show a recording.")
@click.argument("file", type=click.Path(path_type=Path), metavar="FILE")
@output_options
@speed_option("How fast: as it was recorded, some times faster, or at once.")
@connections_option
def command(file: Path, timeline: bool, as_json: bool, speed: float, max_connections: int) -> None:
    """Show what `tcptrace record` recorded in FILE, with the outputs of a live trace."""
    check_output(timeline=timeline, as_json=as_json)
    from tcptrace.session import run  # noqa: PLC0415 - as in port
    from tcptrace.stopping import Limits  # noqa: PLC0415

    with opened(file) as recording:
        source, opening = recorded(recording, str(file), speed)
        printer = printer_maker(timeline=timeline, as_json=as_json)(source)
        limits = Limits(connections=max_connections)
        run(source, printer, limits, sys.stderr, opening)
