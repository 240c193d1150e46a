"""Records each fault: `python -m tests.faults [--to DIR] [NAME]…`, as root on the kernel to trace.

`make recordings` does it in a guest. `--live` records nothing: the fault goes on for a while, so
that somebody can look at it with `tcptrace why`, `top` or `port` from another terminal.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from .near import NEAR
from .others import OTHERS
from .plays import PLAYS
from .stage import Stage, recording

if TYPE_CHECKING:
    from .plays import Play

RECORDINGS = Path(__file__).resolve().parents[1] / "data" / "faults"
RECORDED = PLAYS
EVERY = {**NEAR, **OTHERS, **PLAYS}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(EVERY))
    parser.add_argument("--to", type=Path, default=RECORDINGS, metavar="DIR")
    parser.add_argument("--live", action="store_true", help="play one, and record nothing")
    parser.add_argument("--seconds", type=float, default=300, help="how long, with --live")
    options = parser.parse_args()
    for name in options.names:
        if name not in EVERY:
            parser.error(f"there is no fault {name}: {', '.join(EVERY)}")
    Path("/proc/self/comm").write_text("web", encoding="ascii")
    os.umask(0o022)
    if options.live:
        if len(options.names) != 1:
            parser.error("--live plays one fault: name it")
        with suppress(KeyboardInterrupt):
            play_live(options.names[0], options.seconds)
        return 0
    options.to.mkdir(parents=True, exist_ok=True)
    for name in options.names or RECORDED:
        record(EVERY[name], options.to / f"{name}.tcptrace")
    return 0


def play_live(name: str, seconds: float) -> None:
    """Has a fault happen until it is interrupted."""
    with Stage() as stage:
        script = EVERY[name].play(stage)
        next(script)
        text = (EVERY[name].play.__doc__ or name).partition("\n")[0]
        print(f"faults: {name}: {text}", flush=True)
        print(
            f"  in network namespaces {stage.server.name} and {stage.client.name}, for"
            f" {seconds:g} s; Ctrl-C ends",
            flush=True,
        )
        next(script, None)
        stage.loop.run(seconds)


def record(play: Play, path: Path) -> None:
    """Records a fault."""
    begun_s = time.monotonic()
    print(f"faults: {path.stem}", flush=True)
    with Stage() as stage:
        script = play.play(stage)
        next(script)
        where = () if play.is_wide else ("--netns", stage.server.name)
        with recording(path, *where, *play.options):
            next(script, None)
            stage.loop.run(play.length_s)
    path.chmod(0o644)
    print(f"  {path.stat().st_size:,} bytes, {time.monotonic() - begun_s:.0f} s", flush=True)


if __name__ == "__main__":
    sys.exit(main())
