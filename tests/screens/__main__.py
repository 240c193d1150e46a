"""Makes the pictures in docs/img: real commands, traced in a guest, as a terminal shows them.

`python -m tests.screens [NAME]…`: all, or those named, as in docs/img/NAME.png. Needs guests and
the Debian package fonts-dejavu-core. What the terminal got lies in --keep DIR, if asked for;
`--from DIR` draws what lies there already.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from .picture import Fonts, NoFontError, draw
from .scenes import PICTURES, WIDTH
from .screen import DoesNotFitError, read_screen

CHECKOUT = Path(__file__).resolve().parents[2]
IMAGES = CHECKOUT / "docs" / "img"
KERNEL = "6.12"
GUEST_S = 900


def main() -> int:
    options = parse_arguments()
    names = options.names or list(PICTURES)
    try:
        fonts = Fonts.load()
        with tempfile.TemporaryDirectory(prefix="tcptrace-screens-") as scratch:
            typescripts = options.drawn_from or options.keep or Path(scratch)
            if options.drawn_from is None:
                typescripts.mkdir(parents=True, exist_ok=True)
                play_in_guest(typescripts, names)
            for name in names:
                draw_one(typescripts / f"{name}.typescript", IMAGES / f"{name}.png", fonts)
    except (NoFontError, DoesNotFitError, FileNotFoundError) as error:
        print(f"screens: {error}", file=sys.stderr)
        return 1
    except subprocess.CalledProcessError as error:
        print(f"screens: the guest ended with {error.returncode}", file=sys.stderr)
        return 1
    return 0


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.screens", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(PICTURES))
    parser.add_argument("--keep", type=Path, metavar="DIR")
    parser.add_argument("--from", type=Path, metavar="DIR", dest="drawn_from")
    options = parser.parse_args()
    for name in options.names:
        if name not in PICTURES:
            parser.error(f"there is no picture {name}: {', '.join(PICTURES)}")
    return options


def play_in_guest(typescripts: Path, names: list[str]) -> None:
    run = [str(CHECKOUT / "tests/vm/run"), "--progress", "--timeout", str(GUEST_S)]
    play = [sys.executable, "-m", "tests.screens.scenes", str(typescripts.resolve()), *names]
    subprocess.run(
        [*run, "--rwdir", str(typescripts.resolve()), KERNEL, *play],
        cwd=CHECKOUT,
        check=True,
    )


def draw_one(typescript: Path, image: Path, fonts: Fonts) -> None:
    rows = read_screen(typescript.read_bytes(), WIDTH)
    image.parent.mkdir(parents=True, exist_ok=True)
    draw(rows, WIDTH, fonts).save(image, optimize=True)
    print(f"screens: {image.relative_to(CHECKOUT)}, {len(rows)} rows", flush=True)


if __name__ == "__main__":
    sys.exit(main())
