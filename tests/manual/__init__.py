"""Makes what the documentation does not write by hand: reference, diagrams, outputs in pages."""

import sys
from pathlib import Path

# `python -m tests.manual` borrows from tests/live, as pytest lets the suites do.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
