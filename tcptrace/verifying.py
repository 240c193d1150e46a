"""Watches a host for a while, and says whether all that was counted is what the kernel counted."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from tcptrace.lifecycle.healing import HEAL_AFTER_NS
from tcptrace.lifecycle.socket_numbers import SAMPLES
from tcptrace.notes import note
from tcptrace.sinks.verification import Report

if TYPE_CHECKING:
    from typing import TextIO

    from tcptrace.stopping import Stop
    from tcptrace.watching import Watch

_ZERO_READINGS: Final = 3
"""By which it is known where both counts began: one more than a comparison needs."""
_SNAPSHOTS: Final = 3
"""Tries to make the state counts whole again at the end, where records were lost."""


def verify(watch: Watch, duration_s: float, stop: Stop, notes: TextIO, opening: str) -> Report:
    """Compares for so long, or until a signal.

    Args:
        watch: of a live source with a ledger; its source is closed at the end.
        duration_s: from the moment on at which both sides' zero is known.
        stop: is on signals until the report has been shown.
        notes: where the opening line goes: stderr.
        opening: said at that moment.

    Raises:
        KeyboardInterrupt: a signal came before that moment.
    """
    began_s = 0.0

    def tick() -> None:
        nonlocal began_s
        if not began_s:
            watch.settle(_ZERO_READINGS)
            note(notes, opening)
            began_s = time.monotonic()
        stop.asked |= time.monotonic() - began_s >= duration_s

    try:
        watch.run(stop, tick)
        if not began_s:
            raise KeyboardInterrupt  # before there was anything to compare
        elapsed_s = time.monotonic() - began_s
        return _report(watch, elapsed_s)
    finally:
        watch.source.close()


def _wait_for_quiet(watch: Watch) -> None:
    """Goes on until a snapshot would make up for the last loss; not for ever: it may go on too."""
    source, healing = watch.source, watch.agreement.healing
    latest_ns = source.now_ns() + 2 * HEAL_AFTER_NS
    while not healing.is_quiet(now_ns := source.now_ns()) and now_ns < latest_ns:
        watch.settle(1)


def _report(watch: Watch, elapsed_s: float) -> Report:
    watch.notice_misses()
    for _ in range(_SNAPSHOTS):
        if not watch.agreement.healing.is_suspect:
            break
        _wait_for_quiet(watch)
        watch.take_snapshot()
    for _ in range(SAMPLES):
        watch.settle(1)
        if watch.source.takes_snapshots:  # else sockets from before are not known
            watch.compare_sockets()
    losses = watch.source.losses()
    reading = watch.reading
    names = {one.netns: one.name for one in reading.namespaces} if reading else {}
    findings = tuple(watch.agreement.findings(losses))
    healing = watch.agreement.healing
    unhealed = healing.suspects(watch.tracker.counts.namespaces)
    return Report(
        watch.source.head,
        elapsed_s,
        findings,
        names,
        losses,
        healing.heals,
        tuple(sorted(unhealed)),
    )
