"""Plays every scenario on every kernel, and writes docs/reliability.md: `make reliability`."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from .guest import UNEXPLAINED
from .page import page
from .rows import read

CHECKOUT = Path(__file__).resolve().parents[2]
PAGE = CHECKOUT / "docs/reliability.md"
TIMEOUT_S = 3000
AT_ONCE = 2
"""Each guest takes one CPU of the machine's."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.reliability", description=__doc__)
    parser.add_argument("kernels", nargs="+", metavar="KERNEL")
    kernels = parser.parse_args().kernels
    with tempfile.TemporaryDirectory(prefix="reliability-", dir=CHECKOUT / ".vm") as directory:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            statuses = list(pool.map(lambda kernel: play(kernel, Path(directory)), kernels))
        ended = [status in (0, UNEXPLAINED) for status in statuses]
        if not all(ended):
            cut = [kernel for kernel, is_whole in zip(kernels, ended, strict=True) if not is_whole]
            print(f"reliability: cut short on {', '.join(cut)}; no page", file=sys.stderr)
            return 1
        files = [Path(directory, f"{kernel}.json") for kernel in kernels]
        PAGE.write_text(page([read(file) for file in files]), encoding="utf-8")
    return int(any(statuses))


def play(kernel: str, directory: Path) -> int:
    """Plays all in a guest; returns its exit status."""
    # Where guests are few, something else may have to hand them out.
    run = os.environ.get("TCPTRACE_VM_RUN", "tests/vm/run")
    command = [
        *(run, "--progress", "--timeout", str(TIMEOUT_S), "--rwdir", str(directory), kernel),
        *("python", "-m", "tests.reliability.guest", str(directory / f"{kernel}.json")),
    ]
    return subprocess.run(command, cwd=CHECKOUT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
