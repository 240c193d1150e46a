"""Scenarios for the alerts: a healthy host with one fault, and which alerts fire for it.

Each scenario asks every alert, not only its own. The texts are what a person gets to read, written
out here so that the templates are tested too.
"""

from __future__ import annotations

from typing import Final

from dashboards.build.scenarios import accept_queue, fleet, health, sockets, syn_queue

SCENARIOS: Final = (
    *accept_queue.SCENARIOS,
    *syn_queue.SCENARIOS,
    *sockets.SCENARIOS,
    *health.SCENARIOS,
    *fleet.SCENARIOS,
)
