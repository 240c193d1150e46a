"""Families with very many samples: columns of values beside labels that stay from scrape to scrape.

An object and a dictionary for each sample of each of 1,000 listeners would take longer than all
that is known of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tcptrace.sinks.metrics.catalogue import BY_NAME, Type
from tcptrace.sinks.metrics.client import Sample
from tcptrace.sinks.metrics.escaping import label_pair

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Labels:
    """Labels that are told again and again, sorted and escaped once.

    Attributes:
        text: as both text formats have them, without braces.
        message: as protobuf has them; filled by who writes it first.
    """

    __slots__ = ("_names", "_values", "message", "text")

    def __init__(self, labels: Mapping[str, str]) -> None:
        self._names, self._values = zip(*sorted(labels.items()), strict=True)
        self.text = ",".join(map(label_pair, self._names, self._values))
        self.message = b""

    @property
    def pairs(self) -> dict[str, str]:
        """Each label's value, in the order of names."""
        return dict(zip(self._names, self._values, strict=True))


class Table:
    """A family of gauges or counters, as prometheus_client's families are.

    Args:
        name: the catalogue's.
        rows: the labels of each row.
        columns: the values of each column, a value a row.
        marks: of each column, the labels that its samples have besides; their names sort behind
            those of the rows. None where there is one column, and nothing to tell apart.
    """

    unit: Final = ""

    def __init__(
        self,
        name: str,
        rows: Sequence[Labels],
        columns: Sequence[Sequence[float]],
        marks: Sequence[Labels] | None = None,
    ) -> None:
        metric = BY_NAME[name]
        self.sample_name = name
        self.name = name.removesuffix("_total") if metric.type is Type.COUNTER else name
        self.documentation = metric.help
        self.type = metric.type.value
        self.rows = rows
        self.columns = columns
        self.marks = marks

    @property
    def samples(self) -> list[Sample]:
        """Its samples one by one, row by row: what every way to write it comes to."""
        marks = [mark.pairs for mark in self.marks] if self.marks else [{}]
        return [
            Sample(self.sample_name, row.pairs | mark, value)
            for row, values in zip(self.rows, zip(*self.columns, strict=True), strict=True)
            for mark, value in zip(marks, values, strict=True)
        ]
