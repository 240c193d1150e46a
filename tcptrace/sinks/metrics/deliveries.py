"""The metrics of what is sent by OTLP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from tcptrace.sinks.metrics.families import counter, gauge

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from tcptrace.sinks.metrics.client import Metric


TOO_MANY: Final = "too_many"
UNSENT: Final = "unsent"
REFUSED: Final = "refused"
REASONS: Final = (TOO_MANY, UNSENT, REFUSED)
"""Why something is lost: more lives than are sent a second; the endpoint is down or too slow; it
does not take it."""


class Delivered(Protocol):
    """What has become of everything that was to be sent, by signal."""

    @property
    def signals(self) -> Iterable[str]:
        """What is sent at all."""

    @property
    def sent(self) -> Mapping[str, int]:
        """What the endpoint took."""

    @property
    def lost(self) -> Mapping[tuple[str, str], int]:
        """What it never will, by reason too."""

    @property
    def rejected(self) -> Mapping[str, int]:
        """Parts that it rejected of what it took."""

    @property
    def troubles(self) -> Mapping[str, str]:
        """Why nothing arrives; not there while all is well."""


def delivery_families(delivered: Delivered) -> Iterator[Metric]:
    """Every family about it, 0 included."""
    sent, lost = counter("tcptrace_otlp_sent_total"), counter("tcptrace_otlp_lost_total")
    rejected, failing = counter("tcptrace_otlp_rejected_total"), gauge("tcptrace_otlp_failing")
    for signal in delivered.signals:
        sent.add_metric([signal], delivered.sent.get(signal, 0))
        rejected.add_metric([signal], delivered.rejected.get(signal, 0))
        failing.add_metric([signal], int(signal in delivered.troubles))
        for reason in REASONS:
            lost.add_metric([signal, reason], delivered.lost.get((signal, reason), 0))
    yield from (sent, lost, rejected, failing)
