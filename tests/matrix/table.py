"""The matrix as a table: for a terminal, and as Markdown for the docs."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_HEAD = """\
# Kernels × bcc

Made by `make test-matrix`: doctor makes every hook fire, then live tests compare what is traced
with what was done, by each carrier. bcc comes from the Debian release named. Bullseye's Python is
too old for tcptrace, so its bcc, LLVM and libbpf are installed in a root of bookworm. “Without BTF”
hides /sys/kernel/btf: the kernel's headers then tell the layouts, kprobes carry everything, and the
same live tests run without doctor.
"""


class Row(NamedTuple):
    """A kernel to trace."""

    kernel: str
    has_btf: bool

    @property
    def name(self) -> str:
        return self.kernel if self.has_btf else f"{self.kernel} without BTF"


class Cell(NamedTuple):
    """What one guest came to.

    Attributes:
        release: the kernel's.
        bcc: its version.
        limit: what the kernel or bcc can't do.
        failure: what must be mended; empty if nothing.
    """

    release: str
    bcc: str
    passed: bool = False
    limit: str = ""
    failure: str = ""


def plain(
    rows: Sequence[Row], roots: Sequence[str], results: Mapping[tuple[Row, str], Cell]
) -> str:
    """For a terminal: columns of one width, reasons below."""
    lines, reasons = _lines(rows, roots, results)
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    table = [
        "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]
    return "\n".join([*table, "", *reasons])


def markdown(
    rows: Sequence[Row], roots: Sequence[str], results: Mapping[tuple[Row, str], Cell]
) -> str:
    """For the docs."""
    (head, *body), reasons = _lines(rows, roots, results)
    table = [head, ["---"] * len(head), *body]
    return "\n".join([_HEAD, *(f"| {' | '.join(line)} |" for line in table), "", *_items(reasons)])


def _items(reasons: Iterable[str]) -> Iterable[str]:
    yield from (f"- {reason}" for reason in reasons)
    yield ""


def _lines(
    rows: Sequence[Row], roots: Sequence[str], results: Mapping[tuple[Row, str], Cell]
) -> tuple[list[list[str]], list[str]]:
    """Head and body, and the numbered reasons."""
    numbers: dict[str, int] = {}
    lines = [["kernel", *(_column(rows, root, results) for root in roots)]]
    for row in rows:
        cells = [results[row, root] for root in roots]
        release = next((cell.release for cell in cells if cell.release), row.kernel)
        name = row.name.replace(row.kernel, release, 1)
        lines.append([name, *(_verdict(cell, numbers) for cell in cells)])
    return lines, [f"({number}) {reason}" for reason, number in numbers.items()]


def _column(rows: Sequence[Row], root: str, results: Mapping[tuple[Row, str], Cell]) -> str:
    version = next((results[row, root].bcc for row in rows if results[row, root].bcc), "?")
    return f"bcc {version} ({root})"


def _verdict(cell: Cell, numbers: dict[str, int]) -> str:
    reason = cell.failure or cell.limit
    if not reason:
        return "pass"
    verdict = "FAIL" if cell.failure else "pass" if cell.passed else "refused"
    return f"{verdict} ({numbers.setdefault(reason, len(numbers) + 1)})"
