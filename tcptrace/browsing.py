"""Shows a watched host's now in a browser: a page, and what it asks for every two seconds."""

from __future__ import annotations

import json
import threading
import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

import tcptrace
from tcptrace.sinks.agreement import differences
from tcptrace.sinks.page.files import page_files
from tcptrace.sinks.page.lives import story_object
from tcptrace.sinks.page.now import Observed, now_object
from tcptrace.sinks.terminal import safe_text
from tcptrace.sinks.units import WallClock, plural
from tcptrace.sinks.verdicts import as_dict, subject
from tcptrace.sinks.web.site import Response

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tcptrace.lifecycle.names import Names
    from tcptrace.lifecycle.recent import Recent
    from tcptrace.verdicts.verdict import Verdict
    from tcptrace.watching import Watch
    from tcptrace.wire.head import Losses

_FRESH_S: Final = 1.0
"""So old may be what one browser is told because another one has just asked."""
_VERDICTS_S: Final = 5.0
"""The same of verdicts, which look at many open lives."""
_STORY: Final = "/stories/"
_LONGEST_NUMBER: Final = 18
_LATE_NS: Final = 5_000_000_000
"""The ledger is read every second: a reading that is older says that the collector falls behind."""
_MOST_VERDICTS: Final = 20
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'"
)
_HEADERS: Final = {
    "Content-Security-Policy": _POLICY,
    "Cache-Control": "no-cache",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
}


class Pages:
    """The page, its files and its data, by path.

    Attributes:
        watch: with `recent`; set before the first request.
    """

    def __init__(self) -> None:
        self.watch: Watch | None = None
        self._files = page_files()
        self._lock = threading.Lock()
        self._now = b""
        self._made_s = -_FRESH_S
        self._verdicts: list[dict[str, Any]] = []
        self._judged_s = -_VERDICTS_S

    def answer(self, path: str) -> Response | None:
        """What is there; None if nothing is."""
        if path in self._files:
            file = self._files[path]
            return Response(HTTPStatus.OK, file.body, file.content_type, _HEADERS)
        if path == "/now.json":
            return _data(self._current())
        number = path.removeprefix(_STORY).removesuffix(".json")
        if path == f"{_STORY}{number}.json" and number.isdecimal():
            return self._story(number)
        return None

    def _current(self) -> bytes:
        """One rendering serves whoever asks within a second."""
        with self._lock:
            if time.monotonic() - self._made_s >= _FRESH_S:
                self._now = _encoded(self._look())
                self._made_s = time.monotonic()
            return self._now

    def _look(self) -> dict[str, Any]:
        watch, recent = self._watched()
        source = watch.source
        losses = source.losses()
        with watch.lock:
            watch.catch_up()
            told = now_object(
                Observed(
                    watch.tracker,
                    watch.tally,
                    watch.ledger,
                    recent,
                    watch.slow_left_out,
                    source.names,
                    WallClock(source.head),
                    source.now_ns(),
                )
            )
            return {
                **told,
                "trace": _trace(watch),
                "notes": list(_notes(watch, losses)),
                "verdicts": self._judge(watch),
            }

    def _judge(self, watch: Watch) -> list[dict[str, Any]]:
        if time.monotonic() - self._judged_s >= _VERDICTS_S:
            clock = WallClock(watch.source.head)
            verdicts = watch.verdicts()[:_MOST_VERDICTS]
            self._verdicts = [_verdict(one, clock, watch.source.names) for one in verdicts]
            self._judged_s = time.monotonic()
        return self._verdicts

    def _story(self, number: str) -> Response | None:
        if len(number) > _LONGEST_NUMBER:
            return None
        watch, recent = self._watched()
        with watch.lock:
            watch.catch_up()
            life = recent.find(int(number))
            if life is None:
                return None
            clock = WallClock(watch.source.head)
            told = story_object(life, watch.source.names, clock, watch.source.now_ns())
        return _data(_encoded(told))

    def _watched(self) -> tuple[Watch, Recent]:
        if self.watch is None or self.watch.recent is None:
            raise AssertionError("there are pages only where there is something to show")
        return self.watch, self.watch.recent


def _data(body: bytes) -> Response:
    headers = {**_HEADERS, "Cache-Control": "no-store"}
    return Response(HTTPStatus.OK, body, "application/json", headers)


def _verdict(verdict: Verdict, clock: WallClock, names: Names) -> dict[str, Any]:
    """One as JSON, its evidence without what the headline and the advice say."""
    told = as_dict(verdict, clock, names)
    text = told["text"].removeprefix(subject(verdict)).removesuffix(told["advice"])
    evidence = text.partition(": ")[2].strip()
    return {**told, "evidence": evidence[:1].upper() + evidence[1:]}


def _encoded(told: dict[str, Any]) -> bytes:
    return json.dumps(told, separators=(",", ":"), allow_nan=False).encode()


def _trace(watch: Watch) -> dict[str, Any]:
    """What is traced, where, since when, and whether it still is."""
    head = watch.source.head
    if watch.fault is not None:
        state = "damaged"
    elif watch.is_over:
        state = "over"
    elif watch.source.takes_snapshots:
        state = "live"
    else:
        state = "replaying"
    return {
        "state": state,
        "hostname": safe_text(head.hostname),
        "kernel": safe_text(head.kernel),
        "what": safe_text(head.what),
        "carrier": safe_text(head.carrier),
        "began_at": WallClock(head).utc(head.began_monotonic_ns),
        "version": tcptrace.__version__,
    }


def _notes(watch: Watch, losses: Losses) -> Iterator[dict[str, str]]:
    """What is to be thought of the figures."""
    if watch.fault is not None:
        yield _note("bad", f"The recording is damaged: {watch.fault}. What came before is shown.")
    if watch.reading is None:
        yield _note("warn", "No listener's queues have been read yet.")
    elif watch.source.takes_snapshots and _is_late(watch):
        yield _note("bad", "tcptrace falls behind: the queues were read more than 5 s ago.")
    if losses.lost_records:
        yield _note("warn", _words_of_losses(watch, losses))
    elif watch.agreement.healing.is_suspect:
        yield _note("warn", "Probes missed events: counts by state may be wrong until a snapshot.")
    if wrong := differences(watch.agreement.findings(losses)):
        yield _note("bad", f"Figures differ from the kernel's own: {wrong}.")
    if watch.source.head.untold:
        told = ", ".join(watch.source.head.untold)
        yield _note("warn", f"This kernel can't tell {told}.")
    if watch.source.trouble:
        yield _note("warn", watch.source.trouble)


def _note(level: str, text: str) -> dict[str, str]:
    return {"level": level, "text": safe_text(text)}


def _is_late(watch: Watch) -> bool:
    return watch.reading is not None and (watch.source.now_ns() - watch.reading.at_ns > _LATE_NS)


def _words_of_losses(watch: Watch, losses: Losses) -> str:
    lost = f"{plural(losses.lost_records, 'event')} lost since the trace began"
    if watch.agreement.healing.is_suspect:
        until = " until the next snapshot" if watch.source.takes_snapshots else ""
        return f"{lost}: counts by state may be wrong{until}. Each listener's drops are exact."
    return f"{lost}: lives, rates and waits may lack them. Drops and counts by state are right."
