"""Plays the scenarios on the running kernel: `python -m tests.reliability.guest FILE [NAME]…`.

Needs root, in a guest: it unplugs a CPU and sets the clock.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

from .plays import PLAYS
from .rows import table, write

UNEXPLAINED = 6
"""The exit status if a difference is not explained; any other but 0 is a play that broke."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.reliability.guest")
    parser.add_argument("file", type=Path)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(PLAYS))
    options = parser.parse_args()
    if not os.environ.get("TCPTRACE_VM"):
        parser.error("only in a guest: tests/vm/run KERNEL python -m tests.reliability.guest …")
    rows = []
    for name in options.names or PLAYS:
        begun_s = time.monotonic()
        print(f"{name}:", flush=True)
        played = [*PLAYS[name]()]
        print(f"{table(played)}\n{time.monotonic() - begun_s:.0f} s\n", flush=True)
        rows += played
    write(options.file, os.uname().release, rows)
    unexplained = [row for row in rows if not row.is_explained]
    for row in unexplained:
        print(f"unexplained: {row}", flush=True)
    return UNEXPLAINED if unexplained else 0


if __name__ == "__main__":
    sys.exit(main())
