"""Writes docs/corner-cases.md: `python -m tests.live.corner_cases KERNEL=RESULTS.xml... > FILE`.

The results are pytest's (--junitxml) of the corners' modules on that kernel:
`pytest tests/live/test_corners_*.py --junitxml=RESULTS.xml`.
"""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ET
from importlib import import_module
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from live.corners import CARRIERS, Corner

_MODULES: Final = ("opening", "closing", "processes")
_BAD: Final = frozenset({"failure", "error", "skipped"})
_HEAD: Final = """\
# Corner cases of TCP

What the kernel does in each, what tcptrace tells of it, and on which kernels a live test holds it
to that. The table is made from the tests and their results in guests, of each kernel:

    pytest tests/live/test_corners_*.py --junitxml=RESULTS.xml
    python -m tests.live.corner_cases KERNEL=RESULTS.xml... > docs/corner-cases.md

Each case plays in a network namespace of its own, all of them under one recording by kprobes and
one by fentry. A test compares everything that the lives tell, by one carrier, with what was done.
It also asks that the ledger's drops and SYN cookies equal the namespace's TcpExt counters, and that
the sockets by state are those that /proc/net/tcp lists.

"""
_FOOT: Final = """
*pass* means by both carriers, – that it did not play on that kernel. A kernel that lacks what a
case is about passes by the other ending that its second column names.

Cases that other live tests play: a SYN and a connect() that take over a TIME_WAIT socket's ports
(`tcp_tw_reuse`; test_timewait), connections reset as their listener closes, abort_on_overflow and
both queues full (test_queues), every combination of `tcp_syncookies` and `tcp_abort_on_overflow`
under a SYN flood (test_ledger), SYNs that time out, accept() blocked since before the trace
(test_opening), simultaneous close and half-close (test_closing).
"""


def corners() -> dict[str, list[Corner]]:
    """All corners by their modules' names."""
    modules = {name: import_module(f"live.test_corners_{name}") for name in _MODULES}
    return {
        module.__name__.partition(".")[2]: [
            one for one in vars(module).values() if isinstance(one, Corner)
        ]
        for module in modules.values()
    }


def document(results: dict[str, dict[str, bool]]) -> str:
    """Returns the page.

    Args:
        results: whether a test passed, by kernel and the test's id.
    """
    head = ["case", "in the kernel", "what tcptrace tells", *results, "test"]
    rows = [head, ["---"] * len(head)]
    for module, found in corners().items():
        for one in found:
            verdicts = [_verdict(passed, one.name) for passed in results.values()]
            rows.append([one.case, one.kernel, one.told, *verdicts, f"{module}: `{one.name}`"])
    return _HEAD + "".join(f"| {' | '.join(row)} |\n" for row in rows) + _FOOT


def _verdict(passed: dict[str, bool], name: str) -> str:
    by_carrier = {attach: passed.get(f"{attach}-{name}") for attach in CARRIERS}
    if all(by_carrier.values()):
        return "pass"
    if None in by_carrier.values():
        return "–"
    return "fails by " + ", ".join(attach for attach, good in by_carrier.items() if not good)


def _results(path: Path) -> dict[str, bool]:
    cases = ET.parse(path).iter("testcase")  # noqa: S314 - our own pytest wrote it
    return {
        case.get("name", "").partition("[")[2].rstrip("]"): not _BAD & {part.tag for part in case}
        for case in cases
    }


def main() -> None:
    given = dict(argument.split("=", 1) for argument in sys.argv[1:])
    sys.stdout.write(document({kernel: _results(Path(file)) for kernel, file in given.items()}))


if __name__ == "__main__":
    main()
