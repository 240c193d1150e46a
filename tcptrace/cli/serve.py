"""`tcptrace serve`: the metrics of a whole host, for Prometheus."""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from tcptrace.cli.options import connections_option, host_options
from tcptrace.cli.sources import begun, check_source, opened, recorded, replay_options, traced
from tcptrace.errors import BadArgument

if TYPE_CHECKING:
    from tcptrace.browsing import Pages
    from tcptrace.otlp.outbox import Outbox
    from tcptrace.otlp.settings import Settings
    from tcptrace.sinks.textfile import Textfile
    from tcptrace.sinks.web.settings import WebConfig

_DEFAULT: Final = "127.0.0.1:9436"


@click.command("serve", short_help="Serve metrics to Prometheus.")
@click.option(
    "--listen",
    default=_DEFAULT,
    show_default=True,
    metavar="ADDRESS:PORT",
    help="Where to serve /metrics; [::]:9436 is every address.",
)
@click.option(
    "--web-config",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="TLS and users, in the format of Prometheus' exporters; SIGHUP reads it again.",
)
@click.option(
    "--textfile",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIRECTORY",
    help="Instead of serving, write tcptrace.prom there for node_exporter.",
)
@click.option(
    "--otlp",
    metavar="URL",
    help="Also send metrics, and slow or failed connections as spans, to an OTLP/HTTP endpoint,"
    " e.g. http://127.0.0.1:4318; OTEL_* variables apply.",
)
@click.option(
    "--ui/--no-ui",
    default=True,
    help="Whether `/` is a page for browsers: listeners, drops, slow handshakes, states.",
)
@click.option(
    "--max-listeners",
    type=click.IntRange(min=1),
    default=1000,
    show_default=True,
    metavar="N",
    help='Listeners told apart; further ones are added up as "other".',
)
@replay_options("Serve")
@connections_option
@host_options
def command(
    listen: str,
    web_config: Path | None,
    textfile: Path | None,
    otlp: str | None,
    ui: bool,
    max_listeners: int,
    max_connections: int,
    replay: Path | None,
    speed: float,
    **host: Any,
) -> None:
    """Serve the metrics of this host: sockets by state, both queues of every listener, drops by
    stage, handshakes, waits. docs/metrics.md lists them.
    """  # noqa: D205 - it is the help's text
    from tcptrace.sinks.web.address import parse_address  # noqa: PLC0415 - --help starts fast

    if textfile is not None and web_config is not None:
        raise BadArgument("--textfile and --web-config exclude each other")
    check_source(replay, *(("user",) if otlp else ()))  # it is the child's that sends, too
    address = parse_address(listen)
    settings = _sending(otlp) if otlp is not None else None
    with ExitStack() as stack:
        attaching = None if replay else stack.enter_context(begun(host))
        outbox = _outbox(settings, str(otlp), host["user"]) if settings is not None else None
        # While it compiles.
        from tcptrace.exporting import Exporter, Outlets, serve  # noqa: PLC0415
        from tcptrace.lifecycle.recent import Recent  # noqa: PLC0415
        from tcptrace.notify import Notifier  # noqa: PLC0415
        from tcptrace.sinks.metrics.observed import new_tally  # noqa: PLC0415
        from tcptrace.sinks.terminal import safe_text  # noqa: PLC0415
        from tcptrace.sinks.web.server import MetricsServer  # noqa: PLC0415
        from tcptrace.verdicts.window import WINDOW_NS  # noqa: PLC0415
        from tcptrace.watching import Watch  # noqa: PLC0415

        notifier = stack.enter_context(closing(Notifier()))
        config = _configured(web_config) if web_config else None
        exporter = Exporter()
        file_of_metrics = _textfile(textfile) if textfile else None
        pages = _pages() if ui and not textfile else None
        server = None
        if not textfile:
            answer = pages.answer if pages else None
            server = MetricsServer(address, exporter.render, config, pages=answer)
            stack.callback(server.close)
        if attaching is not None:
            source, told = traced(attaching)
        elif replay is not None:
            file = stack.enter_context(opened(replay))
            source, told = recorded(file, str(replay), speed)
            told += "; Ctrl-C ends"
        recent, verdicts_ns = (Recent(), WINDOW_NS) if pages else (None, None)
        watch = Watch(
            source, new_tally(), max_listeners, max_connections, verdicts_ns, recent=recent
        )
        if pages is not None:
            pages.watch = watch
        sending = ""
        if outbox is not None:
            stack.callback(outbox.close)
            outbox.begin(source.head, source.names)
            sending = f", sending to {otlp}"
            if outbox.unconfined:
                sending += f" (no seccomp filter there: {safe_text(outbox.unconfined)})"
        where = server.url if server else f"{safe_text(str(textfile))}/tcptrace.prom"
        page = f", a page at {where.removesuffix('metrics')}" if pages else ""
        outlets = Outlets(server, web_config, file_of_metrics, outbox, notifier, sys.stderr)
        serve(watch, exporter, outlets, f"serving {where}{page}{sending}: {told}")


def _configured(web_config: Path) -> WebConfig:
    from tcptrace.sinks.web.config import read_config  # noqa: PLC0415 - needs YAML, bcrypt, TLS

    return read_config(web_config)


def _sending(url: str) -> Settings:
    from tcptrace.otlp.settings import read_settings, require_library  # noqa: PLC0415 - as above

    settings = read_settings(url, os.environ)
    require_library()
    return settings


def _outbox(settings: Settings, where: str, user: str) -> Outbox:
    from tcptrace.otlp.outbox import Outbox  # noqa: PLC0415 - as above

    return Outbox(settings, where, user)


def _textfile(directory: Path) -> Textfile:
    from tcptrace.sinks.textfile import Textfile  # noqa: PLC0415 - loads compressors

    return Textfile(directory)


def _pages() -> Pages:
    from tcptrace.browsing import Pages  # noqa: PLC0415 - not with --no-ui

    return Pages()
