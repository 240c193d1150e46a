"""What a full screen needs of a terminal."""

from __future__ import annotations

import os
import shutil
import sys
from typing import Final

from tcptrace.errors import OutputFailed

LEAST: Final = (40, 10)
"""Columns and rows below which nothing is shown but that."""
_ELSEWHERE: Final = "`tcptrace listeners` shows a table anywhere"


def require_full_screen() -> None:
    """Makes sure that there is a terminal for a full screen.

    Raises:
        OutputFailed: there is none, or it is too dumb or too small; the line says which.
    """
    for name, stream in (("input", sys.stdin), ("output", sys.stdout), ("error", sys.stderr)):
        if stream is None or not stream.isatty():
            raise OutputFailed(f"top needs a terminal, and standard {name} is none: {_ELSEWHERE}")
    if os.environ.get("TERM", "dumb") == "dumb":
        raise OutputFailed(f"this terminal (TERM=dumb) has no full screen: {_ELSEWHERE}")
    size = shutil.get_terminal_size()
    if size.columns < LEAST[0] or size.lines < LEAST[1]:
        raise OutputFailed(
            f"the terminal has {size.columns} × {size.lines} characters, top needs"
            f" {LEAST[0]} × {LEAST[1]}: {_ELSEWHERE}"
        )
