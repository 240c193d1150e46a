"""Serves a watched host's metrics: over HTTP, or into a file, until a signal."""

from __future__ import annotations

import signal
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TextIO

from tcptrace.errors import TcptraceError
from tcptrace.notes import Troubles, note
from tcptrace.otlp.settings import METRICS
from tcptrace.sinks.metrics.deliveries import delivery_families
from tcptrace.sinks.metrics.exposition import PROTOBUF, Exposition
from tcptrace.sinks.metrics.health import health_families
from tcptrace.sinks.metrics.listeners import ListenerMetrics, take_listeners
from tcptrace.sinks.metrics.observed import healing_families, observed_families
from tcptrace.sinks.metrics.reconciliation import reconciliation_families
from tcptrace.sinks.terminal import safe_text
from tcptrace.stopping import Limits, Stop

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from types import FrameType

    from tcptrace.notify import Notifier
    from tcptrace.otlp.outbox import Outbox
    from tcptrace.sinks.metrics.client import Metric
    from tcptrace.sinks.metrics.deliveries import Delivered
    from tcptrace.sinks.metrics.table import Table
    from tcptrace.sinks.textfile import Textfile
    from tcptrace.sinks.web.server import MetricsServer
    from tcptrace.watching import Watch

TEXTFILE_PERIOD_S: Final = 15.0


class Exporter:
    """Turns what a watch holds into metrics.

    Attributes:
        watch: set before the first scrape; kept up to date by another thread, or by this one.
        deliveries: what has become of what is sent by OTLP, if anything is.
    """

    def __init__(self) -> None:
        self.watch: Watch | None = None
        self.deliveries: Delivered | None = None
        self._exposition = Exposition(self._families)
        self._listeners = ListenerMetrics()

    def render(self, accept: str) -> tuple[bytes, str]:
        """The metrics as of now, and their content type."""
        return self._exposition.render(accept)

    def _families(self) -> Iterator[Metric | Table]:
        watch = self.watch
        if watch is None:
            return
        source = watch.source
        losses, programs = source.losses(), source.programs()
        with watch.lock:
            watch.catch_up()
            observed = list(observed_families(watch.tracker, watch.tally, source.now_ns()))
            listeners = take_listeners(watch.ledger, watch.tally.waits)
            quality = list(healing_families(watch.tracker, watch.agreement.healing, self._seconds))
            if watch.reading is not None:
                findings = watch.agreement.findings(losses)
                quality += reconciliation_families(
                    watch.agreement.reconciliation, findings, watch.reading
                )
        yield from observed
        yield from self._listeners.families(listeners, source.names)
        yield from quality
        yield from health_families(source.head, losses, programs)
        if self.deliveries is not None:
            yield from delivery_families(self.deliveries)

    def _seconds(self, at_ns: int) -> float:
        """The time of day of a record's time, seconds since 1970."""
        if self.watch is None:
            return 0.0
        head = self.watch.source.head
        return (head.began_realtime_ns + at_ns - head.began_monotonic_ns) / 1e9


@dataclass(frozen=True)
class Outlets:
    """Where metrics and words go.

    Attributes:
        server: bound, not yet started; closed at the end.
        web_config: what SIGHUP has it read again.
        textfile: a file of metrics, written every TEXTFILE_PERIOD_S, removed at the end.
        outbox: begun; closed at the end.
        notifier: hears when metrics are complete, and when they end.
        notes: where notes go: stderr.
    """

    server: MetricsServer | None
    web_config: Path | None
    textfile: Textfile | None
    outbox: Outbox | None
    notifier: Notifier
    notes: TextIO


def serve(watch: Watch, exporter: Exporter, outlets: Outlets, opening: str) -> None:
    """Serves until SIGTERM or SIGINT; SIGHUP reads the web configuration again.

    Without one SIGHUP is ignored, unless it comes from the terminal that goes away: that ends it.

    Args:
        watch: its source is closed at the end.
        exporter: what the server renders with.
        outlets: where to.
        opening: said once metrics can be read.

    Raises:
        OutputFailed: the textfile can't be written for the first time.
        BadRecording: the source is a damaged recording; what it gave before was served.
    """
    stop = Stop(Limits())
    exporter.watch = watch
    if outlets.outbox is not None:
        exporter.deliveries = outlets.outbox.deliveries
        watch.on_closed.append(outlets.outbox.offer)
    service = _Service(watch, exporter, outlets, opening)
    try:
        with stop.on_signals(), ExitStack() as stack:
            if outlets.web_config is not None or not outlets.notes.isatty():
                stack.enter_context(_on_hangup(service.ask_reload))
            watch.run(stop, service.tick)
    finally:
        outlets.notifier.say("STOPPING=1")
        if outlets.server is not None:
            outlets.server.close()
        if outlets.textfile is not None:
            outlets.textfile.remove()
        service.send_last()
        watch.source.close()
    if watch.fault is not None:
        raise watch.fault


class _Service:
    """What happens between two steps of the watch."""

    def __init__(self, watch: Watch, exporter: Exporter, outlets: Outlets, opening: str) -> None:
        self._watch = watch
        self._exporter = exporter
        self._outlets = outlets
        self._opening = opening
        self._next_file_s = 0.0
        self._has_begun = False
        self._is_reload_due = False
        self._troubles = Troubles(watch, outlets.notes)

    def ask_reload(self) -> None:
        """Has the next tick read the web configuration again; to be called by a signal handler."""
        self._is_reload_due = True

    def tick(self) -> None:
        """Begins to serve once there is something to serve; writes the file when it is due."""
        outlets = self._outlets
        self._send()
        if self._is_reload_due:
            self._is_reload_due = False
            _reload(outlets)
        if not self._has_begun:
            self._has_begun = True
            self._write_file()
            if outlets.server is not None:
                outlets.server.start()
            note(outlets.notes, self._opening)
            outlets.notifier.say("READY=1", f"STATUS={self._opening}")
        elif outlets.textfile is not None and time.monotonic() >= self._next_file_s:
            try:
                self._write_file()
            except TcptraceError as error:
                note(outlets.notes, safe_text(f"tcptrace: {error}"))
        self._troubles.tell()

    def _send(self) -> None:
        outbox = self._outlets.outbox
        if outbox is None:
            return
        if outbox.wants_metrics():
            outbox.put_metrics(self._exporter.render(PROTOBUF)[0])
        outbox.notice_untold(self._watch.slow_left_out)
        outbox.look()
        self._tell(outbox)

    def _tell(self, outbox: Outbox) -> None:
        for line in outbox.take_news():
            note(self._outlets.notes, safe_text(f"tcptrace: {line}"))

    def send_last(self) -> None:
        """Sends the metrics as they are at the end, and what waits to be sent."""
        outbox = self._outlets.outbox
        if outbox is not None:
            if METRICS in outbox.settings.urls:
                outbox.put_metrics(self._exporter.render(PROTOBUF)[0])
            outbox.close()
            self._tell(outbox)

    def _write_file(self) -> None:
        file = self._outlets.textfile
        if file is not None:
            self._next_file_s = time.monotonic() + TEXTFILE_PERIOD_S
            file.write(self._exporter.render("")[0])


def _reload(outlets: Outlets) -> None:
    if outlets.server is None or outlets.web_config is None:
        return
    from tcptrace.sinks.web.config import read_config  # noqa: PLC0415 - loaded where there is one

    try:
        outlets.server.reload(read_config(outlets.web_config))
        note(outlets.notes, "tcptrace: the web configuration was read again")
    except TcptraceError as error:
        note(outlets.notes, safe_text(f"tcptrace: {error}; the former configuration stays"))


@contextmanager
def _on_hangup(call: Callable[[], None]) -> Iterator[None]:
    """Within it, SIGHUP calls a function."""

    def handle(_number: int, _frame: FrameType | None) -> None:
        call()

    before = signal.signal(signal.SIGHUP, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, before)
