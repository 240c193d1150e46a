"""Fuzzes for so many minutes, states how many inputs each target took; fails at the first fault.

`make fuzz MINUTES=10`, or `python -m fuzz --minutes 10 [TARGET…]` in tests/. One process, one core.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
import traceback
from typing import Final

from hypothesis import HealthCheck, Phase, given, seed, settings

from .targets import TARGETS, Target
from .web import check_still_serving

_ROUND: Final = 200
"""Inputs of a target before the next one gets its turn."""
_MOST_SHOWN: Final = 20


class Fuzz:
    """Targets in turn, each by its weight, until the time is over."""

    def __init__(self, first_seed: int) -> None:
        self.tried = dict.fromkeys(TARGETS, 0)
        self._seeds = random.Random(first_seed)  # noqa: S311 - a fuzzer's
        self.spent_s = dict.fromkeys(TARGETS, 0.0)

    def run(self, names: list[str], minutes: float) -> str | None:
        """Returns the target that failed, or None."""
        end_s = time.monotonic() + 60 * minutes
        while time.monotonic() < end_s:
            name = min(names, key=lambda one: self.spent_s[one] / TARGETS[one].weight)
            begun_s = time.monotonic()
            try:
                self._round(name, TARGETS[name], self._seeds.randrange(2**64), end_s)
            except Exception:  # noqa: BLE001 - whatever it is, it is what is looked for
                traceback.print_exc(limit=-_MOST_SHOWN)
                return name
            finally:
                self.spent_s[name] += time.monotonic() - begun_s
        return None

    def _round(self, name: str, target: Target, with_seed: int, end_s: float) -> None:
        @seed(with_seed)
        @settings(
            max_examples=_ROUND,
            deadline=None,
            database=None,
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
        )
        @given(target.inputs)
        def attempt(value: object) -> None:
            if time.monotonic() > end_s + 10:
                return
            self.tried[name] += 1
            target.check(value)

        attempt()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=None, help="default: another each time")
    parser.add_argument("names", nargs="*", metavar="TARGET", help=", ".join(TARGETS))
    options = parser.parse_args()
    if unknown := set(options.names) - TARGETS.keys():
        parser.error(f"no such target: {', '.join(unknown)}")
    first_seed = random.randrange(2**32) if options.seed is None else options.seed  # noqa: S311
    print(f"fuzz: {options.minutes:g} minutes, --seed {first_seed}", flush=True)
    fuzz = Fuzz(first_seed)
    failed = fuzz.run(options.names or [*TARGETS], options.minutes)
    for name, tried in fuzz.tried.items():
        if tried:
            print(f"{tried:>12,}  {name} ({tried / fuzz.spent_s[name]:,.0f} a second)")
    print(f"{sum(fuzz.tried.values()):>12,}  inputs in all")
    if failed:
        print(f"fuzz: {failed}: failed", file=sys.stderr)
        return 1
    check_still_serving()
    return 0


if __name__ == "__main__":
    sys.exit(main())
