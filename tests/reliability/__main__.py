"""Plays every scenario on every kernel, and writes docs/reliability.md: `make reliability`."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

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
        files = [Path(directory, f"{kernel}.json") for kernel in kernels]
        missing = [file.stem for file in files if not file.exists()]
        if missing:
            print(f"reliability: nothing was told of {', '.join(missing)}", file=sys.stderr)
            return 1
        PAGE.write_text(page([read(file) for file in files]), encoding="utf-8")
    return max(statuses)


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
