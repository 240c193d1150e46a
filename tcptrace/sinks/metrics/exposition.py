"""Writes metric families in the format that a client asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from prometheus_client.core import Metric


class _Families(Collector):
    def __init__(self, families: Callable[[], Iterable[Metric]]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families()

    def describe(self) -> Iterable[Metric]:
        return []


class Exposition:
    """The metrics as text, with those of this process.

    Args:
        families: makes the families anew for each scrape.
    """

    def __init__(self, families: Callable[[], Iterable[Metric]]) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_Families(families))
        # Opened here once: /proc/self stays readable for any user.
        ProcessCollector(registry=self._registry)

    def render(self, accept: str) -> tuple[bytes, str]:
        """Returns the text and its content type.

        Args:
            accept: the Accept header; OpenMetrics for those who ask for it.
        """
        encode, content_type = choose_encoder(accept)
        return encode(self._registry), content_type
