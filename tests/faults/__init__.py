"""Makes the faults that the alerts are for, each under `tcptrace record`."""

import sys
from pathlib import Path

# `python -m tests.faults` borrows from tests/live, as pytest lets the suites do.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
