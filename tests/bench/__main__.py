"""`make bench`: what tracing costs; writes docs/performance.md, .json and the pictures.

Ends with what has got worse since the figures that were committed last, and then exits with 3.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .comparison import committed, differences
from .document import FIGURES, write
from .parts import NATIVE, PARTS, PartError, measure

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .parts import Part

FAILED, WORSE = 1, 3
"""Exit statuses."""
AT_ONCE = 2
"""Guests whose clocks count instructions: those may run side by side."""
_ALARM = "!" * 72


def main() -> int:
    names = [part.name for part in PARTS]
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(names))
    parser.add_argument("--kernel", action="append", help="only on this one; again for more")
    arguments = parser.parse_args()
    if unknown := set(arguments.parts) - set(names):
        parser.error(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    chosen = [part for part in PARTS if not arguments.parts or part.name in arguments.parts]
    before = committed(FIGURES)
    figures = json.loads(FIGURES.read_text(encoding="utf-8")) if FIGURES.exists() else {"parts": {}}
    failed = []
    for (part, place), told in _measured(chosen, arguments.kernel):
        if isinstance(told, PartError):
            failed.append(str(told))
            continue
        figures["parts"].setdefault(part.name, {})[place] = told | {"machine": machine()}
        write(figures)
    worse = list(differences(before, figures, {part.name for part in chosen}))
    return _judge(failed, worse, is_first=not before)


def machine() -> dict[str, Any]:
    """What figures depend on."""
    found = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return {
        "cpu": found[1].strip() if found else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
    }


def _measured(
    chosen: list[Part], kernels: list[str] | None
) -> Iterator[tuple[tuple[Part, str], dict[str, Any] | PartError]]:
    """Runs each part at its places; those that count instructions side by side, others alone."""
    places = [
        (part, kernel)
        for part in chosen
        for kernel in part.kernels or (NATIVE,)
        if not kernels or kernel in kernels or kernel == NATIVE
    ]
    counting = [(part, kernel) for part, kernel in places if part.icount]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield from zip(counting, pool.map(_try, counting), strict=True)
    for one in places:
        if one not in counting:
            yield one, _try(one)


def _try(at: tuple[Part, str]) -> dict[str, Any] | PartError:
    part, kernel = at
    print(f"\n{part.title}, {kernel}: {' '.join(part.command(kernel))}\n", file=sys.stderr)
    try:
        return measure(part, kernel)
    except PartError as error:
        return error


def _judge(failed: list[str], worse: list[str], *, is_first: bool) -> int:
    print(f"\nwritten: {FIGURES.with_suffix('.md')}, {FIGURES.name}, docs/img/performance-*.svg")
    if is_first:
        print("There are no committed figures to compare with.")
    for title, lines in (("FAILED", failed), ("WORSE than the committed figures", worse)):
        if lines:
            print("\n".join((_ALARM, f"{title}:", *(f"  {line}" for line in lines), _ALARM)))
    if not failed and not worse and not is_first:
        print("No figure has got worse than the committed ones.")
    return FAILED if failed else WORSE if worse else 0


if __name__ == "__main__":
    sys.exit(main())
