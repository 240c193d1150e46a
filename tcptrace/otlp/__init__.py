"""Sends metrics and spans to an OTLP endpoint, by a child that has no privileges."""
