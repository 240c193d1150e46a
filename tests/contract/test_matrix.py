"""The matrix passes nothing that nobody knows of: no reason but those listed, and all of these."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Final

import pytest
from matrix.__main__ import LIMITS, judge
from matrix.cell import Finding, run_tests
from matrix.table import Cell, Row, markdown, plain

if TYPE_CHECKING:
    from pathlib import Path

REFUSAL: Final = (
    "this kernel has no BTF (/sys/kernel/btf/vmlinux is missing), "
    "and bcc 0.18.0 can't compile the headers of 6.12.0"
)
REFUSED: Final = f"""
import pytest

@pytest.fixture
def trace():
    raise AssertionError("ended before it traced: {REFUSAL}: it takes a newer bcc")

def test_one(trace):
    pass

def test_two():
    assert not "{REFUSAL}: it takes a newer bcc"
"""
PASSED = Finding("6.1.0", "0.26.0", passed=True)
UNABLE = replace(PASSED, limit="bcc 0.18.0 can't compile the headers of 6.1.0")
ROW = Row("6.1", has_btf=False)


def judged(finding: Finding, root: str, row: Row = ROW) -> Cell:
    return judge(row, root, 0, f"some output\n{json.dumps(asdict(finding))}\n")


def test_a_pass_is_one() -> None:
    assert judged(PASSED, "bookworm") == Cell("6.1.0", "0.26.0", passed=True)


def test_a_known_reason_is_told() -> None:
    cell = judged(UNABLE, "bullseye")
    assert (cell.limit, cell.failure) == (UNABLE.limit, "")


@pytest.mark.parametrize(
    ("finding", "root", "why"),
    [
        (UNABLE, "bookworm", "not known"),
        (PASSED, "bullseye", "it can after all"),
        (replace(PASSED, passed=False, failure="tests: 1 failed"), "bookworm", "1 failed"),
    ],
)
def test_anything_else_is_a_failure(finding: Finding, root: str, why: str) -> None:
    assert why in judged(finding, root).failure


def test_a_guest_that_died_is_a_failure() -> None:
    assert "exit status 124" in judge(ROW, "bookworm", 124, "some output\n").failure


def test_known_reasons_are_of_old_releases() -> None:
    """The newest release of bcc has none: it is where trouble must be seen."""
    assert "sid" not in {limit.roots for limit in LIMITS}


def test_the_table_tells_each_reason_once() -> None:
    cells = {
        (ROW, "bullseye"): judged(UNABLE, "bullseye"),
        (ROW, "bookworm"): judged(PASSED, "bookworm"),
        (ROW, "sid"): judge(ROW, "sid", 125, ""),
    }
    roots = ["bullseye", "bookworm", "sid"]
    for text in (plain([ROW], roots, cells), markdown([ROW], roots, cells)):
        assert text.count(UNABLE.limit) == 1
        assert "pass (1)" in text
        assert "FAIL (2)" in text
        assert "bcc 0.26.0 (bookworm)" in text


def after_tests(tmp_path: Path, text: str) -> Finding:
    tests = tmp_path / "test_in_guest.py"
    tests.write_text(text)
    found = replace(PASSED, passed=False)
    run_tests(found, str(tests))
    return found


def test_a_cell_is_refused_if_every_failure_says_so(tmp_path: Path) -> None:
    found = after_tests(tmp_path, f"{REFUSED}\ndef test_three():\n    pass\n")
    assert (found.limit, found.failure, found.passed) == (REFUSAL, "", False)


def test_a_failure_of_its_own_is_no_refusal(tmp_path: Path) -> None:
    found = after_tests(tmp_path, f"{REFUSED}\ndef test_three():\n    assert 1 == 2\n")
    assert found.limit == ""
    assert found.failure.startswith("tests: 2 failed, 1 error in ")


def test_a_refusal_that_no_test_fails_by_is_none(tmp_path: Path) -> None:
    found = after_tests(tmp_path, f"def test_one():\n    print({REFUSAL!r})\n")
    assert (found.limit, found.failure, found.passed) == ("", "", True)
