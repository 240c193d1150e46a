"""Runs the live suite: `python -m tests.live [pytest's arguments]`, as root on the kernel to trace.

With `-m core` only what every kernel must pass, in a few minutes.

A probe's run is skipped while it (a kprobe: while any other) already runs on the same CPU, so that
a trace may lose an event; emulation makes that many times likelier than it is. A few tests that
fail are therefore tried once more, by name, and fail if they fail again.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
LAST_FAILED = CHECKOUT / ".pytest_cache/v/cache/lastfailed"
TESTS_FAILED = 1
MOST_TRIED_AGAIN = 4


def main() -> int:
    LAST_FAILED.unlink(missing_ok=True)
    command = [sys.executable, "-m", "pytest", "-v", "tests/live", *sys.argv[1:]]
    status = subprocess.run(command, cwd=CHECKOUT, check=False).returncode
    if status != TESTS_FAILED:
        return status
    failed = [*json.loads(LAST_FAILED.read_text(encoding="utf-8"))]
    if len(failed) > MOST_TRIED_AGAIN:
        return status
    print(f"\nonce more, since a probe can miss its event: {', '.join(failed)}\n", flush=True)
    return subprocess.run([*command, "--last-failed"], cwd=CHECKOUT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
