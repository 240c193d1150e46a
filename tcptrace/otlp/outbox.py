"""The collector's side of sending by OTLP: the child gets what is worth it, as far as it takes it.

Never waits: what the pipe does not take at once is kept, up to a bound, and what goes beyond it is
counted. The child's answers are read as they come; why nothing arrives is told in words.
"""

from __future__ import annotations

import json
import os
import struct
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from tcptrace.children import Child
from tcptrace.otlp import frames
from tcptrace.otlp.deliveries import Deliveries
from tcptrace.otlp.settings import METRICS, TRACES
from tcptrace.otlp.spans import Spans, is_telling
from tcptrace.sinks.metrics.deliveries import TOO_MANY, UNSENT
from tcptrace.sinks.units import plural

if TYPE_CHECKING:
    from tcptrace.lifecycle.connection import Connection
    from tcptrace.lifecycle.names import Names
    from tcptrace.otlp.settings import Settings
    from tcptrace.wire.head import TraceHead

MOST_A_SECOND: Final = 20
"""Lives that become spans: what a person looks at, and a burst of what a minute has at most."""
MOST_AT_ONCE: Final = 200
_CROWDED_S: Final = 60.0
"""That lives are left out is said again only after so long without."""
_MOST_WAITING: Final = 1_000
_LAST_WORDS_S: Final = 1.0
_END_S: Final = 4.0
"""For what is left the child has so long to take it, and then so long to send it."""
_MOST_WORDS: Final = 240


class Outbox:
    """Sends by a child.

    Args:
        settings: where to and how.
        where: the same for people: the URL as it was given.
        user: whom the child becomes.

    Attributes:
        deliveries: what has become of it.
        unconfined: why the child has no seccomp filter; "" where it has one.
    """

    def __init__(self, settings: Settings, where: str, user: str) -> None:
        self.where = where
        self.deliveries = Deliveries(settings.urls)
        self.unconfined = ""
        self.settings = settings
        self._spans: Spans | None = None
        self._waiting: deque[bytes] = deque()
        self._metrics = b""
        self._writing = memoryview(b"")
        self._allowance = float(MOST_AT_ONCE)
        self._refilled_s = time.monotonic()
        self._next_metrics_s = 0.0
        self._crowded_until_s = 0.0
        self._untold = 0
        self._is_closing = False
        self._child = Child("tcptrace.otlp.sender", user, job="that sends", on_end=self._end)

    def begin(self, head: TraceHead, names: Names) -> None:
        """Tells the child whose telemetry it is, and waits until it is ready.

        Args:
            head: of the trace.
            names: of cgroups and network namespaces.

        Raises:
            CannotTrace: it is not, and says why.
        """
        shift_ns = head.began_realtime_ns - head.began_monotonic_ns
        self._spans = Spans(os.urandom(16), shift_ns, names)
        host = {"hostname": head.hostname, "kernel": head.kernel, "machine": head.machine}
        began = {"settings": self.settings.as_json(), "head": host, "began_ns": time.time_ns()}
        self._writing = memoryview(frames.encode(frames.BEGIN, json.dumps(began).encode()))
        self._write()
        told = self._child.begin("--otlp")
        self.unconfined = str(told.get("unconfined", ""))[:_MOST_WORDS]

    def take_news(self) -> list[str]:
        """Lines for people: what went wrong, or well again, since the last time."""
        news, self.deliveries.news = self.deliveries.news, []
        return [f"--otlp {self.where}: {line}" for line in news]

    def offer(self, connection: Connection) -> None:
        """Takes a life whose full socket is gone, if it is worth telling and there is room."""
        if TRACES not in self.settings.urls or not is_telling(connection):
            return
        if not self._child.is_there:
            self.deliveries.lost[TRACES, UNSENT] += 1
            return
        if not self._may_send():
            self._leave_out(1)
            return
        told = self._spans.of(connection) if self._spans is not None else None
        if told is None:
            return  # nothing in it has a time
        self._waiting.append(frames.encode(frames.LIFE, json.dumps(told).encode()))
        if len(self._waiting) > _MOST_WAITING:
            self._waiting.popleft()
            self.deliveries.lost[TRACES, UNSENT] += 1

    def _may_send(self) -> bool:
        now_s = time.monotonic()
        gained = (now_s - self._refilled_s) * MOST_A_SECOND
        self._allowance = min(MOST_AT_ONCE, self._allowance + gained)
        self._refilled_s = now_s
        if self._allowance < 1:
            return False
        self._allowance -= 1
        return True

    def notice_untold(self, total: int) -> None:
        """Lives that were worth it and never offered count too.

        Args:
            total: how many since the start.
        """
        if total > self._untold and TRACES in self.settings.urls:
            self._leave_out(total - self._untold)
        self._untold = total

    def _leave_out(self, lives: int) -> None:
        self.deliveries.lost[TRACES, TOO_MANY] += lives
        now_s = time.monotonic()
        if now_s >= self._crowded_until_s:
            self.deliveries.news.append(
                f"traces: more than {MOST_A_SECOND} connections a second are slow or fail:"
                f" tcptrace_otlp_lost_total counts the others"
            )
        self._crowded_until_s = now_s + _CROWDED_S

    def wants_metrics(self) -> bool:
        """Whether it is time for the next state of the metrics."""
        return METRICS in self.settings.urls and time.monotonic() >= self._next_metrics_s

    def put_metrics(self, exposition: bytes) -> None:
        """Takes the metrics' state as of now.

        Args:
            exposition: in Prometheus' protobuf format.
        """
        self._next_metrics_s = time.monotonic() + self.settings.period_s
        if self._metrics or not self._child.is_there:
            self.deliveries.lost[METRICS, UNSENT] += 1
        if self._child.is_there:
            told = struct.pack(">Q", time.time_ns()) + exposition
            self._metrics = frames.encode(frames.METRICS, told)

    def look(self) -> None:
        """Takes what the child has told, and gives it what it takes."""
        if not self._child.is_there:
            return
        for told in self._child.told():
            self.deliveries.take(told)
        self._write()

    def _write(self) -> None:
        with suppress(BlockingIOError, BrokenPipeError):
            while self._child.is_there and self._fill():
                written = self._child.write(self._writing)
                self._writing = self._writing[written:]

    def _fill(self) -> bool:
        """Whether there is something to write; whole frames, the metrics first."""
        if not self._writing:
            if self._metrics:
                self._writing, self._metrics = memoryview(self._metrics), b""
                self.deliveries.under_way[METRICS] += 1
            elif self._waiting:
                self._writing = memoryview(self._waiting.popleft())
                self.deliveries.under_way[TRACES] += 1
        return bool(self._writing)

    def _end(self, _why: str) -> None:
        """The child is gone."""
        if not self._is_closing:
            self._give_up()
            self.deliveries.news.append("the child that sends has died: nothing is sent any more")
            self.deliveries.troubles |= dict.fromkeys(self.settings.urls, "the child has died")

    def _give_up(self) -> int:
        """Counts what waits, and what is under way, as lost; returns how many lives that is."""
        for _ in self._waiting:
            self.deliveries.under_way[TRACES] += 1
        self.deliveries.under_way[METRICS] += bool(self._metrics)
        self._waiting.clear()
        self._metrics = b""
        return self.deliveries.give_up()

    def close(self) -> None:
        """Gives the child what is left, and some seconds to send it; then it ends by itself."""
        if self._is_closing:
            return
        self._is_closing = True
        end_s = time.monotonic() + _LAST_WORDS_S
        while self._child.is_there and (self._writing or self._waiting or self._metrics):
            self.look()
            if time.monotonic() > end_s:
                break
            time.sleep(0.01)
        self._child.hang_up()
        end_s = time.monotonic() + _END_S
        while self._child.is_there and self._child.speaks(end_s):
            for told in self._child.told():
                self.deliveries.take(told)
        self._child.close()
        if lives := self._give_up():
            self.deliveries.news.append(f"traces: {plural(lives, 'connection')} could not be sent")
