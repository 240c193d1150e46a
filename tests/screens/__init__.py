import sys
from pathlib import Path

# The dashboards' pictures borrow from tests/faults.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
