"""Runs the live suite: `python -m tests.live [pytest's arguments]`, as root on the kernel to trace.

A kprobe's run is skipped while another kprobe is being handled on the same CPU, so that any trace
that kprobes carry may lose an event. What fails by kprobes alone is therefore tried once more, and
fails if it fails again. By fentry there is no second try.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
LAST_FAILED = CHECKOUT / ".pytest_cache/v/cache/lastfailed"
TESTS_FAILED = 1


def main() -> int:
    LAST_FAILED.unlink(missing_ok=True)
    command = [sys.executable, "-m", "pytest", "-v", "tests/live", *sys.argv[1:]]
    status = subprocess.run(command, cwd=CHECKOUT, check=False).returncode
    if status != TESTS_FAILED:
        return status
    failed = [*json.loads(LAST_FAILED.read_text(encoding="utf-8"))]
    if not all("[kprobe" in test for test in failed):
        return status
    print(f"\nonce more, since kprobes lose events: {', '.join(failed)}\n", flush=True)
    return subprocess.run([*command, "--last-failed"], cwd=CHECKOUT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
