"""Writes metric families in the format that a client asks for.

Prometheus' text format and OpenMetrics have classic histograms. Who asks for protobuf, as
Prometheus does where native histograms are enabled, gets both kinds and keeps what it wants.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tcptrace.sinks.metrics import protobuf, text
from tcptrace.sinks.metrics.client import ProcessCollector

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tcptrace.sinks.metrics.client import Metric
    from tcptrace.sinks.metrics.table import Table

PROTOBUF: Final = "application/vnd.google.protobuf"
_OPENMETRICS: Final = "application/openmetrics-text"


class Exposition:
    """The metrics of the host, with those of this process.

    Args:
        families: makes the families anew for each scrape.
    """

    def __init__(self, families: Callable[[], Iterable[Metric | Table]]) -> None:
        self._families = families
        # Opened here once: /proc/self stays readable for any user.
        self._process = ProcessCollector(registry=None)

    def render(self, accept: str) -> tuple[bytes, str]:
        """Returns the text and its content type.

        Args:
            accept: the Accept header, of any content.
        """
        families = (*self._families(), *self._process.collect())
        if PROTOBUF in accept:
            return protobuf.encode(families), protobuf.CONTENT_TYPE
        if any(part.split(";")[0].strip() == _OPENMETRICS for part in accept.split(",")):
            return text.write_openmetrics(families), text.OPENMETRICS
        return text.write_text(families), text.TEXT
