"""One cell of the matrix, as root in its guest: `python -m tests.matrix.cell [--without-btf]`.

The last line that it prints is a Finding as JSON. doctor makes every hook fire, and a few live
tests compare what is traced with what was done: by each carrier that this bcc has on this kernel.
"""

from __future__ import annotations

import json
import platform
import re
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

TCPTRACE: Final = str(Path(sys.executable).with_name("tcptrace"))
EXAMINED: Final = "tests/live/test_doctor.py::test_doctor_finds_nothing_missing"
"""What the cell does itself."""
CORE: Final = ("tests/live", "-m", "core", "--deselect", EXAMINED)
REFUSAL: Final = re.compile(r"this kernel has no BTF .* can't compile the headers of [^:]*")
_TESTS_FAILED: Final = 1
_MOST_TRIED_AGAIN: Final = 4


@dataclass
class Finding:
    """What a cell has come to.

    Attributes:
        kernel: the release.
        bcc: its version.
        passed: all that could be tried has passed.
        limit: what this kernel or this bcc can't do, in tcptrace's own words; empty if nothing.
        failure: what went wrong, in a line.
    """

    kernel: str
    bcc: str
    passed: bool
    limit: str = ""
    failure: str = ""


def main() -> int:
    found = Finding(platform.release(), bcc_version(), passed=False)
    if "--without-btf" in sys.argv:
        try_without_btf(found)
    else:
        try_everything(found)
    print(json.dumps(asdict(found)), flush=True)
    return 0


def bcc_version() -> str:
    command = [sys.executable, "-m", "tcptrace.kernel.loader"]
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    match = re.match(r"bcc (\d[\w.]*)", said.stdout)
    return match[1] if match else f"none ({said.stderr.strip()})"


def try_everything(found: Finding) -> None:
    command = [TCPTRACE, "doctor", "--json"]
    said = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    print(said.stdout, flush=True)
    checks = json.loads(said.stdout)["checks"]
    bad = [f"{check['name']}: {check['found']}" for check in checks if not check["ok"]]
    if bad:
        found.failure = f"doctor: {'; '.join(bad)}"
        return
    refused = [check["found"] for check in checks if check["name"] == "attach fentry"]
    if refused:
        found.limit = refused[0]
    run_tests(found, *CORE, *(["-k", "not fentry"] if refused else []))


def try_without_btf(found: Finding) -> None:
    """As on a host whose kernel was built without: nobody else in this guest needs it."""
    hide = ["mount", "-t", "tmpfs", "nothing", "/sys/kernel/btf"]
    subprocess.run(hide, check=True)
    run_tests(found, *CORE, "-k", "not fentry")


def run_tests(found: Finding, *options: str) -> None:
    """As `python -m tests.live`: failures are tried once more, since a probe can miss its event."""
    with tempfile.TemporaryDirectory() as directory:
        report = Path(directory, "report.xml")
        command = [sys.executable, "-m", "pytest", "-v", f"--junitxml={report}", *options]
        for once_more in ([], ["--last-failed"]):
            status, said = _run([*command, *once_more])
            if status == _TESTS_FAILED and (refusal := _refusal_in(report)):
                found.limit = refusal
                return
            failed = re.findall(r"^FAILED ", said, re.MULTILINE)
            if status != _TESTS_FAILED or len(failed) > _MOST_TRIED_AGAIN:
                break
    found.passed = status == 0
    if not found.passed:
        found.failure = f"tests: {said.strip().splitlines()[-1].strip('= ')}"


def _refusal_in(report: Path) -> str:
    """What tcptrace said in every test that failed; empty if one failed without it."""
    cases = ET.parse(report).iter("testcase")  # noqa: S314 - our own pytest wrote it
    failures = [part for case in cases for part in case if part.tag in {"failure", "error"}]
    refusals = [REFUSAL.search(part.text or "") for part in failures]
    return next((found[0] for found in refusals if found), "") if all(refusals) else ""


def _run(command: list[str]) -> tuple[int, str]:
    """Shows what a command says while it says it: a guest may run out of time."""
    said = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            said.append(line)
    return process.returncode, "".join(said)


if __name__ == "__main__":
    sys.exit(main())
