"""What a terminal shows once it got some bytes: rows of characters with their looks."""

from __future__ import annotations

import re
from typing import NamedTuple

import pyte

ROWS = 300
FAINT = 2
"""ECMA-48's number for dim text."""
ESCAPE = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]")


class DoesNotFitError(Exception):
    """A line was wrapped, or the first rows scrolled away."""


class Cell(NamedTuple):
    """One character on the screen; colour is `default`, or ANSI's name for it."""

    character: str
    colour: str
    bold: bool
    dim: bool
    is_reverse: bool = False
    is_underlined: bool = False


class Screen(pyte.Screen):
    """A screen that knows dim text, which pyte doesn't: it is kept as a colour of its own."""

    DIM = "dim"

    def select_graphic_rendition(self, *attrs: int) -> None:
        super().select_graphic_rendition(*attrs)
        if FAINT in attrs:
            self.cursor.attrs = self.cursor.attrs._replace(fg=self.DIM)


def read_screen(typescript: bytes, width: int) -> list[list[Cell]]:
    """Returns the rows, up to the last that has text.

    Raises:
        DoesNotFitError: the picture would not show what was printed.
    """
    for line in typescript.splitlines():
        text = ESCAPE.sub(b"", line).decode()
        if len(text) > width:
            raise DoesNotFitError(f"{len(text)} columns, not {width}: {text}")
    screen = Screen(width, ROWS)
    pyte.ByteStream(screen).feed(typescript)
    if screen.cursor.y >= ROWS - 1:
        raise DoesNotFitError(f"more than {ROWS} rows")
    rows = [[_cell(screen.buffer[y][x]) for x in range(width)] for y in range(ROWS)]
    while rows and all(cell.character == " " for cell in rows[-1]):
        rows.pop()
    return rows


def _cell(char: pyte.screens.Char) -> Cell:
    dim = char.fg == Screen.DIM
    colour = "default" if dim else char.fg
    return Cell(char.data, colour, char.bold, dim, char.reverse, char.underscore)


def rows_of(screen: Screen) -> list[list[Cell]]:
    """Everything that stands on a screen, as many rows as it has."""
    return [
        [_cell(screen.buffer[y][x]) for x in range(screen.columns)] for y in range(screen.lines)
    ]
