"""A screen as a picture, at twice the size, for the sharp displays of today."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self

from PIL import Image, ImageDraw, ImageFont

if TYPE_CHECKING:
    from .screen import Cell

Colour = tuple[int, int, int]

FONT_DIR = Path("/usr/share/fonts/truetype/dejavu")
SCALE = 2
FONT_SIZE = 13 * SCALE
LINE_HEIGHT = 18 * SCALE
PADDING = 20 * SCALE
CORNER = 8 * SCALE
STROKE = SCALE

BACKGROUND: Colour = (0x1B, 0x1E, 0x25)
BORDER: Colour = (0x32, 0x37, 0x42)
FOREGROUND: Colour = (0xD5, 0xD9, 0xE0)
STRONG: Colour = (0xFF, 0xFF, 0xFF)
COLOURS: dict[str, Colour] = {
    "default": FOREGROUND,
    "red": (0xF2, 0x77, 0x7A),
    "green": (0x8F, 0xC9, 0x7E),
    "brown": (0xE8, 0xB8, 0x5C),  # what pyte calls ANSI's yellow
}
SHADES = 128
DIMNESS = 0.45
"""How far dim text fades into the background."""
ARMS = {
    "│": "ud", "─": "lr", "┌": "dr", "┐": "dl", "└": "ur", "┘": "ul",
    "├": "udr", "┤": "udl", "┬": "dlr", "┴": "ulr", "┼": "udlr",
}  # fmt: skip
"""Lines are drawn, so that they join without a gap: up, down, left, right."""
BLOCKS = {block: (number + 1) / 8 for number, block in enumerate("▁▂▃▄▅▆▇█")}
"""Drawn too: how high."""
TINTS = {"▒": 0.45, "░": 0.75}
"""And these: how far they fade into the background."""


class NoFontError(Exception):
    """The font isn't installed."""


class Fonts(NamedTuple):
    """DejaVu Sans Mono, which has the arrows, the ticks and µ."""

    plain: ImageFont.FreeTypeFont
    bold: ImageFont.FreeTypeFont

    @classmethod
    def load(cls) -> Self:
        try:
            return cls(
                *(
                    ImageFont.truetype(FONT_DIR / name, FONT_SIZE)
                    for name in ("DejaVuSansMono.ttf", "DejaVuSansMono-Bold.ttf")
                )
            )
        except OSError as error:
            raise NoFontError(
                f"no DejaVu Sans Mono in {FONT_DIR}: apt-get install fonts-dejavu-core"
            ) from error


def draw(rows: list[list[Cell]], columns: int, fonts: Fonts) -> Image.Image:
    """Draws a terminal of so many columns, as high as its text."""
    cell_width = round(fonts.plain.getlength("M"))
    width = columns * cell_width + 2 * PADDING
    height = len(rows) * LINE_HEIGHT + 2 * PADDING
    image = Image.new("RGB", (width, height), BACKGROUND)
    pen = ImageDraw.Draw(image)
    for y, row in enumerate(rows):
        for x, cell in enumerate(row):
            corner = (PADDING + x * cell_width, PADDING + y * LINE_HEIGHT)
            _draw_cell(pen, cell, corner, cell_width, fonts)
    return _rounded(image)


def _draw_cell(
    pen: ImageDraw.ImageDraw, cell: Cell, corner: tuple[int, int], width: int, fonts: Fonts
) -> None:
    colour = _colour_of(cell)
    left, top = corner
    right, bottom = left + width - 1, top + LINE_HEIGHT - 1
    if cell.is_reverse:
        pen.rectangle((left, top, right, bottom), colour)
        colour = BACKGROUND
    if cell.is_underlined:
        pen.line((left, bottom - STROKE, right, bottom - STROKE), colour, STROKE // 2)
    if cell.character == " ":
        return
    if cell.character in ARMS:
        _draw_arms(pen, ARMS[cell.character], (left, top, right, bottom), colour)
        return
    if cell.character in BLOCKS:
        height = round(BLOCKS[cell.character] * (LINE_HEIGHT - 4 * STROKE))
        pen.rectangle((left, bottom - STROKE - height, right, bottom - STROKE), colour)
        return
    if cell.character in TINTS:
        tint = faded(colour, TINTS[cell.character])
        pen.rectangle((left, top + 3 * STROKE - 1, right, bottom - STROKE), tint)
        return
    font = fonts.bold if cell.bold else fonts.plain
    ascent, descent = fonts.plain.getmetrics()
    baseline = top + (LINE_HEIGHT - ascent - descent) // 2 + ascent
    pen.text((left, baseline), cell.character, colour, font, anchor="ls")


def _draw_arms(
    pen: ImageDraw.ImageDraw, arms: str, box: tuple[int, int, int, int], colour: Colour
) -> None:
    left, top, right, bottom = box
    x, y = (left + right + 1) // 2, (top + bottom + 1) // 2
    ends = {"u": (x, top), "d": (x, bottom + 1), "l": (left, y), "r": (right + 1, y)}
    for arm in arms:
        (first, last), (begin, end) = sorted([(x, y), ends[arm]])
        pen.rectangle((first - 1, last - 1, begin, end), colour)


def _colour_of(cell: Cell) -> Colour:
    if cell.bold and cell.colour == "default":
        return STRONG
    colour = COLOURS[cell.colour]
    if not cell.dim:
        return colour
    return faded(colour, DIMNESS)


def faded(colour: Colour, share: float) -> Colour:
    """So far into the background."""
    red, green, blue = (
        round(own + (behind - own) * share) for own, behind in zip(colour, BACKGROUND, strict=True)
    )
    return red, green, blue


def _rounded(image: Image.Image) -> Image.Image:
    """Rounds the corners off, and draws a thin border that holds on any page's colour."""
    outline = ((0, 0), (image.width - 1, image.height - 1))
    ImageDraw.Draw(image).rounded_rectangle(outline, CORNER, outline=BORDER, width=SCALE)
    # Corners are smoothed by drawing them larger.
    factor = 4
    large = Image.new("L", (image.width * factor, image.height * factor))
    ImageDraw.Draw(large).rounded_rectangle(
        ((0, 0), (large.width - 1, large.height - 1)), CORNER * factor, fill=255
    )
    image.putalpha(large.resize(image.size, Image.Resampling.LANCZOS))
    # A third of the size; the eye doesn't see it.
    return image.quantize(SHADES, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
