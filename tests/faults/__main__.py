"""Records each fault: `python -m tests.faults [--to DIR] [NAME]…`, as root on the kernel to trace.

`make recordings` does it in a guest.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

from .plays import PLAYS
from .stage import Stage

RECORDINGS = Path(__file__).resolve().parents[1] / "data" / "faults"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(PLAYS))
    parser.add_argument("--to", type=Path, default=RECORDINGS, metavar="DIR")
    options = parser.parse_args()
    for name in options.names:
        if name not in PLAYS:
            parser.error(f"there is no fault {name}: {', '.join(PLAYS)}")
    Path("/proc/self/comm").write_text("web", encoding="ascii")
    os.umask(0o022)
    options.to.mkdir(parents=True, exist_ok=True)
    for name in options.names or PLAYS:
        begun_s = time.monotonic()
        print(f"faults: {name}", flush=True)
        path = options.to / f"{name}.tcptrace"
        with Stage() as stage:
            PLAYS[name].play(stage, path)
        path.chmod(0o644)
        print(f"  {path.stat().st_size:,} bytes, {time.monotonic() - begun_s:.0f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
