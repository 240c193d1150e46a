"""The metrics of how far all figures are from the kernel's own."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from tcptrace.sinks.metrics.families import gauge
from tcptrace.wire.ledger import COUNTERS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tcptrace.lifecycle.explaining import Finding
    from tcptrace.lifecycle.reconciliation import Reconciliation
    from tcptrace.sinks.metrics.client import Metric
    from tcptrace.wire.ledger import LedgerReading


def reconciliation_families(
    reconciliation: Reconciliation, findings: Iterable[Finding], reading: LedgerReading
) -> Iterator[Metric]:
    """How far all figures are from the kernel's own, and the namespaces' limits.

    Args:
        reconciliation: as of now.
        findings: each figure's comparison and what explains it.
        reading: the last one.
    """
    differences = gauge("tcptrace_reconciliation_difference")
    for netns, by_figure in reconciliation.differences.items():
        for name in COUNTERS:
            differences.add_metric([str(netns), name], by_figure.get(name, 0))
    differing = gauge("tcptrace_kernel_difference")
    compared: Counter[int] = Counter()
    for finding in findings:
        found = finding.comparison
        compared[found.netns] += 1
        if found.difference:
            labels = [str(found.netns), found.figure.name, finding.direction, finding.cause]
            differing.add_metric(labels, abs(found.difference))
    figures_compared = gauge("tcptrace_kernel_figures_compared")
    for netns, count in sorted(compared.items()):
        figures_compared.add_metric([str(netns)], count)
    ports = gauge("tcptrace_ephemeral_ports")
    for figures in reading.namespaces:
        ports.add_metric([str(figures.netns)], figures.ephemeral_ports)
    yield from (differences, differing, figures_compared, ports)
