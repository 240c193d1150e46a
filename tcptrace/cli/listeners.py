"""`tcptrace listeners`: every listener's two queues and what they drop, live."""

from __future__ import annotations

import sys
from typing import Any, Final

import click

from tcptrace.cli.options import connections_option, duration_option, host_options
from tcptrace.cli.params import seconds
from tcptrace.cli.sources import begun, traced

_SORTS: Final = ("drops", "accept", "syn", "rate", "port")


@click.command("listeners", short_help="Every listener's two queues and drops, live.")
@click.argument("what", required=False, metavar="[PORT|ADDRESS|PROCESS]")
@click.option("--once", is_flag=True, help="One table, after one interval, and end.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a listener and interval.")
@click.option(
    "--sort",
    type=click.Choice(_SORTS),
    default="drops",
    show_default=True,
    help="By drop rate, by how full a queue was, by accept rate or by port.",
)
@click.option(
    "--interval",
    type=seconds,
    default="1s",
    show_default=True,
    metavar="TIME",
    help="Between two tables.",
)
@duration_option
@connections_option
@host_options
def command(
    what: str | None,
    once: bool,
    as_json: bool,
    sort: str,
    interval: float,
    duration: float | None,
    max_connections: int,
    **host: Any,
) -> None:
    """Show every listener: both queues as length/limit with their peak in the last minute, drops by
    stage, how often accept() is called and how long connections wait for it.

    Colours and a table that refreshes on a terminal; elsewhere one table after the other.
    """  # noqa: D205 - it is the help's text
    with begun(host) as attaching:
        from tcptrace.lifecycle.tally import Tally  # noqa: PLC0415 - while it compiles
        from tcptrace.listing import Listing, show  # noqa: PLC0415
        from tcptrace.stopping import Limits  # noqa: PLC0415
        from tcptrace.watching import Watch  # noqa: PLC0415

        source, opening = traced(attaching)
    watch = Watch(source, Tally(), most_connections=max_connections)
    listing = Listing(sys.stdout, what, sort, interval, once=once, as_json=as_json)
    show(watch, listing, Limits(duration), sys.stderr, opening)
