"""The child that sends: it takes frames from its parent, and tells it in lines how that went.

A process of its own, since the collector may open no sockets, and since what an endpoint answers is
nobody's to trust: the worst that it can do is to end this child. It reads keys and certificates
while it is root, then becomes the same user, under a seccomp filter that leaves it sockets and
nothing else. Of each signal it holds one request: what waits behind it, waits in the parent.

`python -m tcptrace.otlp.sender USER` begins with a frame of settings.
"""

from __future__ import annotations

import json
import os
import random
import resource as limits
import select
import signal
import socket
import struct
import sys
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from tcptrace.errors import TcptraceError
from tcptrace.kernel import privileges, seccomp
from tcptrace.otlp import attributes, frames, metrics, traces
from tcptrace.otlp.settings import METRICS, TRACES, Settings
from tcptrace.otlp.transport import Answer, Transport, tls_context

if TYPE_CHECKING:
    from collections.abc import Iterable

_MOST_MEMORY: Final = 1 << 29
_MOST_LIVES: Final = 256
"""Of one request: some hundred kilobytes."""
_FIRST_WAIT_S: Final = 1.0
_LONGEST_WAIT_S: Final = 60.0
_MOST_WAITING: Final = 1_000
"""Lives that wait for a request; the oldest beyond it are not sent."""
_LAST_S: Final = 3.0
"""For so long it goes on once its parent is gone, or wants to go."""
_MOST_WORDS: Final = 160
_LOOK_UP_S: Final = 2.0
"""For so long the start waits for name services."""
_ANSWERS: Final[dict[str, Any]] = {
    METRICS: ExportMetricsServiceResponse,
    TRACES: ExportTraceServiceResponse,
}


class _Pending:
    """What one signal has to send, and when it may be tried."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self.lives: list[dict[str, Any]] = []
        self.body = b""
        self.items = 0
        """How many the body stands for: lives, or states of the metrics."""
        self._retry_at_s = 0.0
        self._wait_s = _FIRST_WAIT_S

    @property
    def wait_s(self) -> float:
        """Seconds until there is something to do; infinity without anything to send."""
        if not self.body and not self.lives:
            return float("inf")
        return max(0.0, self._retry_at_s - time.monotonic())

    def settle(self, answer: Answer) -> bool:
        """Takes note of an answer; returns whether the same is to be sent again."""
        if answer.trouble and answer.is_worth_retrying:
            # Many hosts that lost one endpoint must not come back all at once.
            wait_s = max(answer.wait_s, self._wait_s * random.uniform(0.5, 1.0))  # noqa: S311
            self._retry_at_s = time.monotonic() + wait_s
            self._wait_s = min(_LONGEST_WAIT_S, self._wait_s * 2)
            return True
        self._retry_at_s = 0.0
        self._wait_s = _FIRST_WAIT_S
        return False


class Sender:
    """Sends what the frames hold.

    Args:
        begin: the first frame: settings, and what is told of the host.
    """

    def __init__(self, begin: dict[str, Any]) -> None:
        self._settings = Settings(**begin["settings"])
        context = tls_context(self._settings)
        self._began_ns = int(begin["began_ns"])
        self._resource = attributes.resource(begin["head"], self._settings.attributes or {})
        self._scope = attributes.scope()
        self._pending = {
            name: _Pending(Transport(url, self._settings, context if url[:6] == "https:" else None))
            for name, url in self._settings.urls.items()
        }

    @property
    def hosts(self) -> set[str]:
        """Where it sends to."""
        return {urlsplit(url).hostname or "" for url in self._settings.urls.values()}

    def run(self, reader: frames.Reader) -> None:
        """Sends until the parent is gone, and then once more what is there."""
        while not reader.ended:
            self._take(reader)
            for name, pending in self._pending.items():
                if pending.wait_s == 0:
                    self._send(name, pending)
        for name, pending in self._pending.items():
            while pending.body or pending.lives:
                self._send(name, pending)
                if pending.body:
                    break  # not now; later is never

    def _take(self, reader: frames.Reader) -> None:
        """Takes what frames have come; waits for the first, or until the next try."""
        wait_s = min(pending.wait_s for pending in self._pending.values())
        for kind, payload in reader.read(wait_s):
            if kind == frames.METRICS:
                self._replace_metrics(payload)
            elif kind == frames.LIFE:
                self._add_life(payload)

    def _add_life(self, payload: bytes) -> None:
        lives = self._pending[TRACES].lives
        lives.append(json.loads(payload))
        if len(lives) > _MOST_WAITING:
            del lives[0]
            _tell(TRACES, unsent=1)

    def _replace_metrics(self, payload: bytes) -> None:
        """The newest state says all that a former one did."""
        pending = self._pending[METRICS]
        if pending.items:
            _tell(METRICS, unsent=pending.items)
        now_ns = struct.unpack_from(">Q", payload)[0]
        times_ns = (self._began_ns, now_ns)
        pending.body = metrics.request(payload[8:], self._resource, self._scope, times_ns)
        pending.items = 1

    def _send(self, name: str, pending: _Pending) -> None:
        if not pending.body:
            lives, pending.lives = pending.lives[:_MOST_LIVES], pending.lives[_MOST_LIVES:]
            pending.items = len(lives)
            pending.body = traces.request(lives, self._resource, self._scope)
        answer = pending.transport.post(pending.body)
        if pending.settle(answer):
            _tell(name, trouble=answer.trouble)
            return
        items, pending.items, pending.body = pending.items, 0, b""
        if answer.trouble:
            _tell(name, trouble=answer.trouble, refused=items)
        else:
            rejected, words = _rejected(name, answer.body)
            _tell(name, sent=items, rejected=rejected, trouble=words)


def _rejected(name: str, body: bytes) -> tuple[int, str]:
    """What an endpoint did not take of a request that it took, and why."""
    with suppress(Exception):  # an endpoint that says OK in other words has taken it
        told: Any = _ANSWERS[name].FromString(body).partial_success
        count = told.rejected_data_points if name == METRICS else told.rejected_spans
        if count > 0:
            reason = " ".join(told.error_message.split())[:_MOST_WORDS]
            return count, f"it rejects a part: {reason}" if reason else "it rejects a part"
    return 0, ""


def _tell(name: str, **told: Any) -> None:
    _say({"signal": name, **told})


def _say(told: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(told) + "\n")
    sys.stdout.flush()


def confine(user: str, hosts: Iterable[str]) -> str:
    """Gives up what it has; returns why there is no seccomp filter.

    Args:
        user: whom to become.
        hosts: whose addresses will be asked for.
    """
    with suppress(OSError, ValueError):  # a strict systemd unit forbids it, or has less
        limits.setrlimit(limits.RLIMIT_DATA, (_MOST_MEMORY, _MOST_MEMORY))
    if os.geteuid() == 0:
        privileges.drop(privileges.find_user(user))
    privileges.forbid_new()
    # Under the filter the C library can't load the modules of nsswitch.conf. As nobody, since what
    # name services answer is not to be trusted; in a thread, since they may take their time.
    asking = threading.Thread(target=_look_up, args=(tuple(hosts),), daemon=True)
    asking.start()
    asking.join(_LOOK_UP_S)
    return seccomp.confine(may_connect=True)


def _look_up(hosts: Iterable[str]) -> None:
    for host in hosts:
        with suppress(OSError, UnicodeError):
            socket.getaddrinfo(host, None)


def _end_in_time() -> None:
    """Soon after the parent has gone, or wants to, this ends: whatever is under way then."""

    def watch() -> None:
        hangup = select.poll()
        hangup.register(sys.stdin.fileno(), 0)
        hangup.poll()
        time.sleep(_LAST_S)
        os._exit(0)

    threading.Thread(target=watch, daemon=True).start()


def main(user: str) -> None:
    """Becomes the user, sends."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the parent decides: it has more to send
    reader = frames.Reader(sys.stdin.fileno())
    try:
        sender = Sender(reader.first())
        unconfined = confine(user, sender.hosts)
    except TcptraceError as error:
        _say({"error": str(error)})
        return
    except (OSError, ValueError) as error:  # TLS: a file of the environment's
        reason = getattr(error, "strerror", None) or str(error)
        _say({"error": f"its certificates or keys can't be read: {reason}"})
        return
    _end_in_time()
    _say({"ready": True, "unconfined": unconfined})
    sender.run(reader)


if __name__ == "__main__":
    with suppress(BrokenPipeError):
        main(sys.argv[1])
    os._exit(0)
