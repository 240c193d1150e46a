"""`make test-matrix`: kernels × releases of bcc, each in a guest of its own, two guests at a time.

A cell passes, or fails, or has a reason that is the kernel's or bcc's own: then tcptrace says it in
its own words, and it is listed here. A reason that is not listed is a failure, and so is a listed
one that is gone. Prints one table and writes it to docs/matrix.md.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, NamedTuple

from .cell import Finding
from .table import Cell, Row, markdown, plain

CHECKOUT: Final = Path(__file__).resolve().parents[2]
VM: Final = Path(os.environ.get("TCPTRACE_VM_DIR") or CHECKOUT / ".vm")
GUEST: Final = os.environ.get("TCPTRACE_GUEST", "tests/vm/run")
"""The command that runs a guest."""
AT_ONCE: Final = 2
TIMEOUT_S: Final = 1500


class Limit(NamedTuple):
    """What a bcc is known not to do: where, and in which words tcptrace says so."""

    roots: str
    kernels: str
    has_btf: bool
    words: str


LIMITS: Final = (
    # Each bcc has its own copy of linux/bpf.h, which must know what the kernel's other headers use.
    Limit("bullseye", r"6\.", has_btf=False, words="can't compile the headers"),
    Limit("bookworm", r"6\.12", has_btf=False, words="can't compile the headers"),
)


def main() -> int:
    options = parse_arguments()
    rows = [Row(kernel, has_btf=True) for kernel in options.kernels]
    rows += [Row(kernel, has_btf=False) for kernel in options.without_btf]
    wanted = [(row, root) for row in rows for root in options.roots]
    begin = time.monotonic()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        try:
            cells = list(pool.map(lambda pair: run_cell(*pair, resume=options.resume), wanted))
        except KeyboardInterrupt:
            pool.shutdown(cancel_futures=True)
            return 130
    results = dict(zip(wanted, cells, strict=True))
    print(f"\n{len(cells)} cells in {(time.monotonic() - begin) / 60:.0f} min\n")
    print(plain(rows, options.roots, results))
    if options.write:
        options.write.write_text(markdown(rows, options.roots, results), encoding="utf-8")
    return int(any(cell.failure for cell in cells))


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.matrix")
    parser.add_argument("--kernels", nargs="+", required=True, metavar="KERNEL")
    parser.add_argument("--without-btf", nargs="*", default=[], metavar="KERNEL")
    parser.add_argument("--roots", nargs="+", required=True, metavar="RELEASE")
    parser.add_argument("--resume", action="store_true", help="run only what has not passed")
    parser.add_argument("--write", type=Path, metavar="FILE", help="the table, as Markdown")
    return parser.parse_args()


def run_cell(row: Row, root: str, *, resume: bool) -> Cell:
    """Runs one guest to its end, unless its last run may count; its output is in .vm/matrix."""
    logs = VM / "matrix"
    logs.mkdir(parents=True, exist_ok=True)
    log = logs / f"{row.name.replace(' ', '-')}-{root}.log"
    if resume and log.exists():
        cell = judge(row, root, 0, log.read_text(encoding="utf-8", errors="replace"))
        if not cell.failure:
            return cell
    command = [
        *(GUEST, "--timeout", str(TIMEOUT_S), "--root", str(VM / "roots" / root), row.kernel),
        *("python", "-m", "tests.matrix.cell", *([] if row.has_btf else ["--without-btf"])),
    ]
    with log.open("wb") as output:
        status = subprocess.run(
            command, cwd=CHECKOUT, stdout=output, stderr=subprocess.STDOUT, check=False
        ).returncode
    cell = judge(row, root, status, log.read_text(encoding="utf-8", errors="replace"))
    print(f"{row.name}, {root}: {cell.failure or cell.limit or 'pass'}", flush=True)
    if cell.failure:
        print(f"  see {log}", flush=True)
    return cell


def judge(row: Row, root: str, status: int, output: str) -> Cell:
    """Holds what a guest found against what is known of this kernel and this bcc."""
    lines = [line for line in output.splitlines() if line.startswith('{"kernel": ')]
    if not lines:
        return Cell("", "", failure=f"the guest told nothing (exit status {status})")
    found = Finding(**json.loads(lines[-1]))
    cell = Cell(found.kernel, found.bcc, found.passed, found.limit, found.failure)
    expected = [
        limit.words
        for limit in LIMITS
        if limit.roots == root
        and re.match(limit.kernels, row.kernel)
        and limit.has_btf == row.has_btf
    ]
    if cell.failure:
        return cell
    if cell.limit and not any(words in cell.limit for words in expected):
        return cell._replace(failure=f"not known of this kernel and bcc: {cell.limit}")
    if expected and not cell.limit:
        return cell._replace(failure=f"it can after all: strike “{expected[0]}” from LIMITS")
    return cell


if __name__ == "__main__":
    sys.exit(main())
