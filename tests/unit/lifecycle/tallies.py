"""Tallies with few buckets."""

from __future__ import annotations

from tcptrace.lifecycle.tally import Bounds, Tally
from unit import samples

BOUNDS_NS = (samples.MS, samples.S)


def new_tally() -> Tally:
    return Tally(Bounds(BOUNDS_NS, BOUNDS_NS, BOUNDS_NS, BOUNDS_NS))
