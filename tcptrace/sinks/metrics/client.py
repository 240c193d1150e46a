"""What is used of prometheus_client: its families, samples and the collector of this process.

Importing the package whole runs its HTTP servers' modules too, and with these TLS, HTTP clients and
WSGI: 7 MB, and a quarter of the time that this command takes to begin. So its parts are imported
here as what they are, modules that need each other alone. Whoever imports the package afterwards
gets it whole.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec, module_from_spec
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from prometheus_client.metrics_core import (
        CounterMetricFamily,
        GaugeHistogramMetricFamily,
        GaugeMetricFamily,
        HistogramMetricFamily,
        Metric,
    )
    from prometheus_client.process_collector import ProcessCollector
    from prometheus_client.samples import BucketSpan, NativeHistogram, Sample
    from prometheus_client.utils import floatToGoString

__all__ = (
    "BucketSpan",
    "CounterMetricFamily",
    "GaugeHistogramMetricFamily",
    "GaugeMetricFamily",
    "HistogramMetricFamily",
    "Metric",
    "NativeHistogram",
    "ProcessCollector",
    "Sample",
    "floatToGoString",
)
_PACKAGE: Final = "prometheus_client"
_PARTS: Final = ("metrics_core", "samples", "process_collector", "utils")


def _parts() -> dict[str, Any]:
    """Everything in the modules that are used."""
    try:
        modules = _import_alone()
    except (ImportError, AttributeError):  # a release whose parts need the whole
        modules = [import_module(f"{_PACKAGE}.{part}") for part in _PARTS]
    return {name: value for module in modules for name, value in vars(module).items()}


def _import_alone() -> list[Any]:
    """Imports the modules without running what the package itself runs."""
    spec = find_spec(_PACKAGE)
    if spec is None or _PACKAGE in sys.modules:
        raise ImportError(_PACKAGE)
    sys.modules[_PACKAGE] = module_from_spec(spec)
    try:
        return [import_module(f"{_PACKAGE}.{part}") for part in _PARTS]
    finally:
        del sys.modules[_PACKAGE]


if not TYPE_CHECKING:
    _found = _parts()
    BucketSpan = _found["BucketSpan"]
    CounterMetricFamily = _found["CounterMetricFamily"]
    GaugeHistogramMetricFamily = _found["GaugeHistogramMetricFamily"]
    GaugeMetricFamily = _found["GaugeMetricFamily"]
    HistogramMetricFamily = _found["HistogramMetricFamily"]
    Metric = _found["Metric"]
    NativeHistogram = _found["NativeHistogram"]
    ProcessCollector = _found["ProcessCollector"]
    Sample = _found["Sample"]
    floatToGoString = _found["floatToGoString"]  # noqa: N816 - its name there
