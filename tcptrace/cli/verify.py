"""`tcptrace verify`: what was counted, against what the kernel counted."""

from __future__ import annotations

import sys
from typing import Any

import click

from tcptrace.cli.options import host_options
from tcptrace.cli.params import seconds
from tcptrace.cli.sources import begun, traced
from tcptrace.errors import Disagrees


@click.command("verify", short_help="Compare what is counted with the kernel's own figures.")
@click.option(
    "--duration",
    type=seconds,
    default="10s",
    show_default=True,
    metavar="TIME",
    help="How long to count: 10s, 500ms, 2m, or plain seconds.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@host_options
def command(duration: float, as_json: bool, **host: Any) -> None:
    """Count for a while, and compare with the kernel's own figures in each network namespace.

    Exits with 6 if a figure differs and no counted loss explains it.
    """
    with begun(host) as attaching:
        from tcptrace.lifecycle.tally import Tally  # noqa: PLC0415 - while it compiles
        from tcptrace.notes import last_output  # noqa: PLC0415
        from tcptrace.sinks import verification  # noqa: PLC0415
        from tcptrace.sinks.terminal import Paint, width_of  # noqa: PLC0415
        from tcptrace.sinks.units import WallClock  # noqa: PLC0415
        from tcptrace.stopping import Limits, Stop  # noqa: PLC0415
        from tcptrace.verifying import verify  # noqa: PLC0415
        from tcptrace.watching import Watch  # noqa: PLC0415

        source, opening = traced(attaching)
    watch = Watch(source, Tally())
    stop = Stop(Limits())
    with stop.on_signals():
        report = verify(watch, duration, stop, sys.stderr, opening)
        with last_output():
            if as_json:
                at = WallClock(source.head).utc(source.now_ns())
                click.echo(verification.as_json(report, at))
            else:
                click.echo(verification.render(report, Paint.of(sys.stdout), width_of(sys.stdout)))
    if report.unexplained:
        raise Disagrees(
            f"{report.unexplained} of {len(report.findings)} figures differ from the kernel's, "
            "and no counted loss explains it"
        )
