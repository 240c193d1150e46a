"""Makes docs/img/top-*.png and top.gif: `tcptrace top` and `why` on recordings of real faults.

`python -m tests.screens.top`; needs no root and no guest, but the package fonts-dejavu-core.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import pyte
from PIL import Image

from .full_screen import FullScreen
from .picture import (
    BACKGROUND,
    BORDER,
    COLOURS,
    DIMNESS,
    FOREGROUND,
    STRONG,
    TINTS,
    Fonts,
    NoFontError,
    draw,
    faded,
)
from .screen import Screen, rows_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .picture import Colour

CHECKOUT = Path(__file__).resolve().parents[2]
IMAGES = CHECKOUT / "docs" / "img"
FAULTS: Final = "tests/data/faults"
COLUMNS: Final = 100
ROWS: Final = 24
FRAMES_A_SECOND: Final = 4
LAST_MS: Final = 4000
SHADES: Final = 5


class Shot(NamedTuple):
    """A picture of a screen.

    Attributes:
        fault: the recording that is shown.
        speed: how fast it is replayed.
        after_s: how long it is replayed before.
        keys: what is pressed then, key by key.
        until: what must stand there at last.
        rows: of the terminal.
    """

    fault: str
    speed: float
    after_s: float
    keys: Sequence[str]
    until: str
    rows: int = ROWS


OVERFLOW: Final = "accept-queue-overflow"
SHOTS: Final = {
    "top-listeners": Shot(OVERFLOW, 8, 5, (), "SYN dropped"),
    "top-states": Shot(OVERFLOW, 8, 5, ("2",), "TIME_WAIT"),
    "top-listener": Shot(OVERFLOW, 8, 5, ("\r",), "slow or failed"),
    "top-timeline": Shot(OVERFLOW, 8, 5, ("\r", "\r"), "accepted by", 14),
    "top-verdicts": Shot("syn-flood-without-cookies", 8, 3, ("5",), "→", 16),
}
STORY: Final = (
    (5.0, "\r"), (3.0, "\x1b[B"), (1.5, "\r"), (4.0, "\x1b"), (0.5, "\x1b"), (0.7, "2"), (3.5, "3"),
    (2.5, "5"), (4.0, "q"),
)  # fmt: skip
"""What is pressed in the recording, and how many seconds after what came before."""


def main() -> int:
    os.chdir(CHECKOUT)
    try:
        fonts = Fonts.load()
    except NoFontError as error:
        print(f"screens: {error}", file=sys.stderr)
        return 1
    for name, shot in SHOTS.items():
        if not sys.argv[1:] or name in sys.argv[1:]:
            shoot(shot, fonts).save(IMAGES / f"{name}.png", optimize=True)
            print(f"screens: docs/img/{name}.png", flush=True)
    if not sys.argv[1:] or "top" in sys.argv[1:]:
        film(fonts)
        print("screens: docs/img/top.gif", flush=True)
    return 0


def replay(fault: str, speed: float) -> list[str]:
    return ["--replay", f"{FAULTS}/{fault}.tcptrace", "--speed", f"{speed:g}"]


def shoot(shot: Shot, fonts: Fonts) -> Image.Image:
    """Draws what stands on the screen at last."""
    with FullScreen(["top", *replay(shot.fault, shot.speed)], COLUMNS, shot.rows) as screen:
        screen.wait_for("ACCEPT Q")
        screen.read(shot.after_s)
        for key in shot.keys:
            screen.press(key)
            screen.read(1.2)
        screen.wait_for(shot.until)
        screen.read(0.3)
        return draw(rows_of(screen.screen), COLUMNS, fonts)


def film(fonts: Fonts) -> None:
    """Plays top, then why, and keeps a picture of each moment at which the screen changed."""
    with FullScreen(["top", *replay("accept-queue-overflow", 4)], COLUMNS, ROWS) as screen:
        screen.wait_for("ACCEPT Q")
        for after_s, key in STORY:
            screen.read(after_s)
            screen.press(key)
        screen.end()
        got = screen.got
    with FullScreen(["why", *replay("accept-queue-overflow", 999)[:2]], COLUMNS, ROWS) as why:
        why.end()
        began_s = got[-1][0] + 0.5
        prompt = b"\x1b[2J\x1b[H\x1b[2m#\x1b[0m \x1b[1mtcptrace why --replay overflow\x1b[0m\r\n"
        got += [(began_s, prompt), *((began_s + 1 + at_s, chunk) for at_s, chunk in why.got)]
    pictures = pictures_of(got, fonts)
    # One palette for all, so that what does not change takes nothing.
    palette = Image.new("P", (1, 1))
    palette.putpalette([part for colour in shades() for part in colour])
    first, *rest = [
        picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture, _ in pictures
    ]
    lengths = [length for _, length in pictures]
    first.save(
        IMAGES / "top.gif", save_all=True, append_images=rest, duration=lengths, loop=0,
        optimize=True, disposal=1,
    )  # fmt: skip


def shades() -> list[Colour]:
    """Every colour that is drawn, and how it fades at the edges of letters."""
    drawn = [FOREGROUND, STRONG, BORDER, *COLOURS.values()]
    drawn += [faded(colour, TINTS["▒"]) for colour in COLOURS.values()]
    drawn += [faded(FOREGROUND, share) for share in (DIMNESS, *TINTS.values())]
    steps = [step / SHADES for step in range(SHADES)]
    return list(dict.fromkeys([BACKGROUND, *(faded(one, step) for one in drawn for step in steps)]))


def pictures_of(got: Sequence[tuple[float, bytes]], fonts: Fonts) -> list[tuple[Image.Image, int]]:
    """A picture of each moment that differs from the one before, and how long it lasts, ms."""
    screen = Screen(COLUMNS, ROWS)
    stream = pyte.ByteStream(screen)
    pictures: list[tuple[Image.Image, int]] = []
    shown: list[str] = []
    step_s = 1 / FRAMES_A_SECOND
    due_s = got[0][0] + step_s
    for at_s, chunk in got:
        while at_s > due_s:
            if list(screen.display) != shown and any(map(str.strip, screen.display)):
                shown = list(screen.display)
                pictures.append((_small(draw(rows_of(screen), COLUMNS, fonts)), 0))
            if pictures:
                pictures[-1] = pictures[-1][0], pictures[-1][1] + round(step_s * 1000)
            due_s += step_s
        stream.feed(chunk)
    pictures.append((_small(draw(rows_of(screen), COLUMNS, fonts)), LAST_MS))
    return pictures


def _small(picture: Image.Image) -> Image.Image:
    """Half as large: the recording is for reading on, the pictures are for looking at."""
    flat = Image.new("RGB", picture.size, (0x1B, 0x1E, 0x25))
    rgba = picture.convert("RGBA")
    flat.paste(rgba, mask=rgba.getchannel("A"))
    return flat.resize((flat.width // 2, flat.height // 2), Image.Resampling.LANCZOS)


if __name__ == "__main__":
    began_s = time.monotonic()
    code = main()
    print(f"screens: {time.monotonic() - began_s:.0f} s")
    sys.exit(code)
