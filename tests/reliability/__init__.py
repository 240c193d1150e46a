"""How far tcptrace's figures are from the kernel's own, under load and with faults injected.

`make reliability` plays the same scenarios on every kernel and writes docs/reliability.md.
"""

import sys
from pathlib import Path

# `python -m tests.reliability` borrows from tests/live, as pytest lets the suites do.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
