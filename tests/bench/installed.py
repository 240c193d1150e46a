"""The checkout as pip would install it: with its bytecode, which a checkout may lack."""

from __future__ import annotations

import compileall
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]


def compile_package() -> None:
    """Writes the package's bytecode, where it isn't there yet, as an installation has it."""
    compileall.compile_dir(CHECKOUT / "tcptrace", quiet=1)
