"""`tcptrace serve` as a subprocess, and what Prometheus would read from it."""

from __future__ import annotations

import re
import urllib.request
from typing import TYPE_CHECKING, Final

from prometheus_client.parser import text_string_to_metric_families

from .traced import Trace

if TYPE_CHECKING:
    from collections.abc import Mapping

_TIMEOUT_S: Final = 60.0


class Scrape:
    """One reading of /metrics: every sample by name and labels."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._samples = [
            sample for family in text_string_to_metric_families(text) for sample in family.samples
        ]

    def values(self, name: str, **labels: object) -> dict[tuple[tuple[str, str], ...], float]:
        """The samples of that name with these labels, by the labels that are left."""
        wanted = {label: str(value) for label, value in labels.items()}
        return {
            tuple(sorted((k, v) for k, v in sample.labels.items() if k not in wanted)): sample.value
            for sample in self._samples
            if sample.name == name and wanted.items() <= sample.labels.items()
        }

    def value(self, name: str, **labels: object) -> float:
        """The one sample of that name with these labels."""
        (found,) = self.values(name, **labels).values()
        return found

    def total(self, name: str, **labels: object) -> int:
        """The sum of these samples."""
        return int(sum(self.values(name, **labels).values()))

    def by(self, label: str, name: str, **labels: object) -> Mapping[str, int]:
        """Sums by one label."""
        sums: dict[str, int] = {}
        for rest, value in self.values(name, **labels).items():
            key = dict(rest)[label]
            sums[key] = sums.get(key, 0) + int(value)
        return sums


class Serving(Trace):
    """A running exporter."""

    ready = "serving "

    def __init__(self, *arguments: str) -> None:
        super().__init__("serve", "--listen", "127.0.0.1:0", *arguments)

    @property
    def url(self) -> str:
        """Where its metrics are."""
        found = re.search(r"https?://\S+/metrics", self.tracing_line)
        assert found is not None
        return found[0]

    def scrape(self) -> Scrape:
        """Reads the metrics."""
        with urllib.request.urlopen(self.url, timeout=_TIMEOUT_S) as answer:  # noqa: S310 - ours
            return Scrape(answer.read().decode())
