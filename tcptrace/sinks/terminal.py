"""What a terminal can do, and what must never reach it: colours, width, hostile names."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, TextIO

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tcptrace.lifecycle.connection import Process

CODES: Final = {
    "good": "\x1b[32m",
    "warn": "\x1b[33m",
    "bad": "\x1b[31m",
    "dim": "\x1b[2m",
    "strong": "\x1b[1m",
}
_RESET: Final = "\x1b[0m"
MIN_WIDTH: Final = 80
"""Narrower terminals wrap by themselves."""


class Paint:
    """Colours text, or leaves it alone.

    Args:
        enabled: whether to colour at all.
    """

    def __init__(self, *, enabled: bool) -> None:
        self.enabled = enabled

    @classmethod
    def of(cls, stream: TextIO, environ: Mapping[str, str] | None = None) -> Paint:
        """Colours if `stream` is a terminal that can.

        NO_COLOR (no-color.org) forbids it, else FORCE_COLOR (force-color.org) asks for it in any
        case, for who pages with `less -R`; each if it is set to anything but nothing.
        """
        environ = os.environ if environ is None else environ
        if environ.get("NO_COLOR"):
            return cls(enabled=False)
        can = stream.isatty() and environ.get("TERM") != "dumb"
        return cls(enabled=can or bool(environ.get("FORCE_COLOR")))

    def __call__(self, text: str, colour: str) -> str:
        """Returns `text` in `colour`: good, warn, bad, dim or strong."""
        return f"{CODES[colour]}{text}{_RESET}" if self.enabled and text else text


def width_of(stream: TextIO, environ: Mapping[str, str] | None = None) -> int | None:
    """Finds how many columns there are to fill: COLUMNS if set, else the terminal's.

    Returns:
        At least MIN_WIDTH; None if `stream` is no terminal, so that nothing needs to be cut.
    """
    environ = os.environ if environ is None else environ
    asked = environ.get("COLUMNS", "")
    if asked.isdecimal() and int(asked) > 0:
        return max(MIN_WIDTH, int(asked))
    if not stream.isatty():
        return None
    try:
        return max(MIN_WIDTH, os.get_terminal_size(stream.fileno()).columns)
    except OSError:
        return MIN_WIDTH


def safe_text(text: str) -> str:
    r"""Escapes what could steer a terminal: control, format and unassigned characters (`\x1b`)."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def comm_text(comm: bytes) -> str:
    r"""Decodes a task's name: up to its NUL, bytes that are no UTF-8 as `\xff`."""
    return comm.partition(b"\0")[0].decode("utf-8", "backslashreplace")


def process_text(process: Process) -> str:
    """Writes `nginx[1234]`, safe for a terminal."""
    return f"{safe_text(comm_text(process.comm))}[{process.pid}]"


def flow(pieces: list[str], room: int | None, separator: str = " · ") -> list[str]:
    """Lays pieces into lines.

    Args:
        pieces: text without colours.
        room: columns a line; None for one line.
        separator: what stands between two pieces on one line.

    Returns:
        At least one line. A piece that is wider than `room` has a line of its own.
    """
    lines = [""]
    for piece in pieces:
        joined = f"{lines[-1]}{separator}{piece}" if lines[-1] else piece
        if lines[-1] and room is not None and len(joined) > room:
            lines.append(piece)
        else:
            lines[-1] = joined
    return lines
