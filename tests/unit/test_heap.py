"""What is allocated and freed again and again."""

from __future__ import annotations

import subprocess
import sys

_PROGRAM = """
import resource, sys
from tcptrace import heap
if "keeps" in sys.argv:
    heap.keep_freed()
def window():
    return [b"x" * (1 << 20) for _ in range(8)]
window()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    window()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(*how: str) -> int:
    command = [sys.executable, "-c", _PROGRAM, *how]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def test_memory_that_is_kept_is_not_faulted_in_anew() -> None:
    given_back = page_faults()
    assert given_back > 1000, "this C library keeps it by itself: heap.py is not needed"
    assert page_faults("keeps") < given_back // 20
