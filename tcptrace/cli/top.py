"""`tcptrace top`: a host in full screen, live."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import click

from tcptrace.cli.options import connections_option, host_options
from tcptrace.cli.sources import begun, check_source, opened, recorded, replay_options, traced

if TYPE_CHECKING:
    from pathlib import Path


@click.command("top", short_help="A full screen: listeners, states, drops, verdicts.")
@replay_options("Show")
@connections_option
@host_options
def command(max_connections: int, replay: Path | None, speed: float, **host: Any) -> None:
    """Show this host in full screen: listeners with both queues, the state diagram with counts and
    rates, slow and failed connections, drops as they come, verdicts. Enter goes from a listener to
    its connections, and to the timeline of each. ? lists the keys.
    """  # noqa: D205 - it is the help's text
    from tcptrace.terminals import require_full_screen  # noqa: PLC0415 - --help starts fast

    check_source(replay)
    with ExitStack() as stack:
        attaching = None if replay else stack.enter_context(begun(host, terminal=True))
        require_full_screen()
        # While it compiles.
        from tcptrace.lifecycle.recent import Recent  # noqa: PLC0415
        from tcptrace.lifecycle.tally import Tally  # noqa: PLC0415
        from tcptrace.replay import origin  # noqa: PLC0415
        from tcptrace.top.running import new_loop, show  # noqa: PLC0415
        from tcptrace.verdicts.window import WINDOW_NS  # noqa: PLC0415
        from tcptrace.watching import Watch  # noqa: PLC0415

        loop = new_loop()
        if attaching is not None:
            source, opening = traced(attaching)
            what = f"{source.head.what} on {source.head.hostname}"
        elif replay is not None:
            file = stack.enter_context(opened(replay))
            source, opening = recorded(file, str(replay), speed)
            what = f"replay of {replay.name}, {origin(source.head)}"
        recent = Recent()
        watch = Watch(
            source, Tally(), most_connections=max_connections, verdicts_ns=WINDOW_NS, recent=recent
        )
        show(watch, recent, loop, what, sys.stderr, opening)
