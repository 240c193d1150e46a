"""`make demo`: tcptrace at work, live if anything here can be traced, else from a recording.

This host's own kernel is tried first (as root), then a stock kernel in a guest, then the recording
of a real kernel that lies in tests/data.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

CHECKOUT = Path(__file__).resolve().parents[2]
RECORDING = CHECKOUT / "tests" / "data" / "demo-6.12.tcptrace"
TCPTRACE = [sys.executable, "-m", "tcptrace.cli.main"]
SCENES = [sys.executable, "-m", "tests.demo.scenes"]
NO_GUEST = 125


def main() -> int:
    os.environ.setdefault("COLUMNS", "100")
    if os.geteuid() == 0:
        print("demo: can this host's kernel be traced? Asking tcptrace doctor.", flush=True)
        if run([*TCPTRACE, "doctor"], stdout=subprocess.DEVNULL) == 0:
            print("demo: yes; live on this host\n", flush=True)
            return run(SCENES)
        print("demo: no; trying a stock kernel in a guest (boots in about 10 s)\n", flush=True)
        status = run([CHECKOUT / "tests/vm/run", "--progress", "6.12", *SCENES])
        if status != NO_GUEST:
            return status
        print("demo: no guest either, so this is a recording of a real kernel\n", flush=True)
    else:
        print(
            "demo: live tracing needs root, so this is a recording of a real kernel\n", flush=True
        )
    return run([*TCPTRACE, "replay", "--speed", "max", RECORDING])


def run(command: Sequence[str | Path], stdout: int | None = None) -> int:
    return subprocess.run(command, cwd=CHECKOUT, check=False, stdout=stdout).returncode


if __name__ == "__main__":
    sys.exit(main())
