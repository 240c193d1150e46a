"""Text from outside on its way to a person: one line, bounded, no control characters."""

from __future__ import annotations

import contextlib
import sys
from typing import Final

_LONGEST: Final = 400


def one_line(text: str, longest: int = _LONGEST) -> str:
    r"""Escapes control characters and line ends (`\n`), and cuts what is too long."""
    if len(text) > longest:
        text = text[:longest] + "…"
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def complain(message: str) -> None:
    """Writes one line to stderr; a stderr that is gone is no reason to end."""
    with contextlib.suppress(OSError, ValueError):
        print(f"tcptrace: {one_line(message)}", file=sys.stderr, flush=True)  # noqa: T201
