"""`tcptrace why`: what is wrong, and what to change."""

from __future__ import annotations

import json
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tcptrace.cli.options import connections_option, host_options
from tcptrace.cli.params import seconds, subject
from tcptrace.cli.sources import begun, check_source, opened, recorded, traced
from tcptrace.errors import FoundFaults

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tcptrace.answering import Answer
    from tcptrace.lifecycle.names import Names
    from tcptrace.sinks.units import WallClock
    from tcptrace.sinks.wanted import Wanted


@click.command("why", short_help="What is wrong, and what to change.")
@click.argument("what", type=subject, required=False, metavar="[PORT|ADDRESS[:PORT]|PROCESS]")
@click.option(
    "--duration",
    type=seconds,
    default="15s",
    show_default=True,
    metavar="TIME",
    help="How long to look: 15s, 2m, or plain seconds; Ctrl-C ends earlier.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a verdict.")
@click.option(
    "--replay",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Of a recording, all of it, instead of this host now.",
)
@connections_option
@host_options
def command(
    what: Wanted | None,
    duration: float,
    as_json: bool,
    replay: Path | None,
    max_connections: int,
    **host: Any,
) -> None:
    """Look for a while, and say what is wrong: whose fault, the evidence, whom it hurts, what to
    change. Of the whole host, or of a port or service, an address or network with or without a
    port, or a process. A listener at all addresses is at each of them.

    Where nothing is wrong, or the evidence is thin, it says so, and what was dropped all the same.
    Exits with 7 if there is a verdict.
    """  # noqa: D205 - it is the help's text
    check_source(replay)
    with ExitStack() as until_shown:
        if replay is not None:
            answer, names, clock = _of_recording(replay, max_connections, until_shown)
        else:
            answer, names, clock = _of_host(duration, max_connections, host, until_shown)
        _show(answer, what, names, clock, as_json=as_json)


def _of_host(
    duration: float, max_connections: int, host: dict[str, Any], until_shown: ExitStack
) -> tuple[Answer, Names, WallClock]:
    with begun(host) as attaching:
        import tcptrace.sinks.verdicts  # noqa: F401, PLC0415 - privileges are dropped soon
        from tcptrace.answering import of_host  # noqa: PLC0415 - while it compiles
        from tcptrace.lifecycle.tally import Tally  # noqa: PLC0415
        from tcptrace.sinks.units import WallClock  # noqa: PLC0415
        from tcptrace.stopping import Limits, Stop  # noqa: PLC0415
        from tcptrace.verdicts.window import WHOLE_NS  # noqa: PLC0415
        from tcptrace.watching import Watch  # noqa: PLC0415

        source, opening = traced(attaching)
    watch = Watch(source, Tally(), most_connections=max_connections, verdicts_ns=WHOLE_NS)
    opening += f"; else after {duration:g} s"
    stop = Stop(Limits(duration))
    until_shown.enter_context(stop.on_signals())
    answer = of_host(watch, stop, sys.stderr, opening)
    return answer, source.names, WallClock(source.head)


def _of_recording(
    path: Path, max_connections: int, until_shown: ExitStack
) -> tuple[Answer, Names, WallClock]:
    from tcptrace.answering import of_recording  # noqa: PLC0415 - as in _of_host
    from tcptrace.replay import AT_ONCE  # noqa: PLC0415
    from tcptrace.sinks.units import WallClock  # noqa: PLC0415
    from tcptrace.stopping import Limits, Stop  # noqa: PLC0415

    with opened(path) as recording:
        source, opening = recorded(recording, str(path), AT_ONCE)
        stop = Stop(Limits())
        until_shown.enter_context(stop.on_signals())
        answer = of_recording(source, stop, sys.stderr, opening, max_connections)
    return answer, source.names, WallClock(source.head)


def _show(
    answer: Answer, what: Wanted | None, names: Names, clock: WallClock, *, as_json: bool
) -> None:
    from tcptrace.notes import last_output, note  # noqa: PLC0415 - as in _of_host
    from tcptrace.sinks import verdicts as sink  # noqa: PLC0415
    from tcptrace.sinks.terminal import Paint, width_of  # noqa: PLC0415
    from tcptrace.sinks.units import plural  # noqa: PLC0415

    chosen = [one for one in answer.verdicts if what is None or what.is_in(one)]
    others = len(answer.verdicts)
    with last_output():
        if as_json:
            for verdict in chosen:
                click.echo(json.dumps(sink.as_dict(verdict, clock, names)))
        elif chosen:
            click.echo(sink.render(chosen, Paint.of(sys.stdout), names, width_of(sys.stdout)))
        else:
            click.echo(sink.silence(answer.looked, what, others, Paint.of(sys.stdout)))
    if as_json and not chosen:
        note(sys.stderr, sink.silence(answer.looked, what, others, Paint.of(sys.stderr)))
    for doubt in _doubts(answer):
        note(sys.stderr, f"tcptrace: {doubt}: verdicts may lack evidence")
    if answer.fault is not None:
        raise answer.fault
    if chosen:
        raise FoundFaults(plural(len(chosen), "verdict"))


def _doubts(answer: Answer) -> Iterator[str]:
    """Why there may be more to say."""
    from tcptrace.sinks.units import plural  # noqa: PLC0415 - as in _of_host

    if answer.losses.lost_records:
        yield f"{plural(answer.losses.lost_records, 'event')} lost"
    if answer.folded:
        yield f"{plural(answer.folded, 'connection')} folded, more open than --max-connections"
    if answer.differences:
        yield f"figures differ from the kernel's own, {answer.differences}"
