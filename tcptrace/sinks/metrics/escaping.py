"""Escapes what stands in Prometheus' text formats."""

from __future__ import annotations


def escaped(text: str) -> str:
    """A label's value, and a help text in OpenMetrics."""
    return escaped_help(text).replace('"', r"\"")


def escaped_help(text: str) -> str:
    """A help text in the text format."""
    return text.replace("\\", r"\\").replace("\n", r"\n")


def label_pair(label: str, text: str) -> str:
    """A label, ours, and its value, anybody's."""
    return f'{label}="{escaped(text)}"'
