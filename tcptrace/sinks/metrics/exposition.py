"""Writes metric families in the format that a client asks for.

Prometheus' text format and OpenMetrics have classic histograms. Who asks for protobuf, as
Prometheus does where native histograms are enabled, gets both kinds and keeps what it wants.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from tcptrace.sinks.metrics import protobuf

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from prometheus_client.core import Metric

_PROTOBUF: Final = "application/vnd.google.protobuf"


class _Families(Collector):
    """The families, without what the text formats can't carry."""

    def __init__(self, families: Callable[[], Iterable[Metric]]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        for family in self._families():
            family.samples = [one for one in family.samples if one.native_histogram is None]
            yield family

    def describe(self) -> Iterable[Metric]:
        return []


class Exposition:
    """The metrics of the host, with those of this process.

    Args:
        families: makes the families anew for each scrape.
    """

    def __init__(self, families: Callable[[], Iterable[Metric]]) -> None:
        self._families = families
        self._registry = CollectorRegistry()
        self._registry.register(_Families(families))
        # Opened here once: /proc/self stays readable for any user.
        self._process = ProcessCollector(registry=self._registry)

    def render(self, accept: str) -> tuple[bytes, str]:
        """Returns the text and its content type.

        Args:
            accept: the Accept header, of any content.
        """
        if _PROTOBUF in accept:
            families = (*self._families(), *self._process.collect())
            return protobuf.encode(families), protobuf.CONTENT_TYPE
        try:
            encode, content_type = choose_encoder(accept)
        except ValueError:  # a version that is no number
            encode, content_type = choose_encoder("")
        return encode(self._registry), content_type
