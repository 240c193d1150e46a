"""Prometheus metrics: the catalogue, what accumulates them, and how they are offered."""
