"""Puts outputs into the pages of docs/ and draws their diagrams: `python -m tests.manual`.

Recordings come from guests before: `make lives` and `make recordings`. The reference is made when
the site is built.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from . import blocks
from .pictures import PICTURES

if TYPE_CHECKING:
    from pathlib import Path

DOCS = blocks.CHECKOUT / "docs"


def main() -> int:
    for name, draw in PICTURES.items():
        _write(DOCS / "img" / f"diagram-{name}.svg", draw())
    for name in blocks.PAGES:
        path = DOCS / name
        _write(path, blocks.rendered(path.read_text(encoding="utf-8")))
    return 0


def _write(path: Path, text: str) -> None:
    """Leaves a file that is as it should be alone."""
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")
        print(f"manual: {path.relative_to(blocks.CHECKOUT)}")


if __name__ == "__main__":
    sys.exit(main())
