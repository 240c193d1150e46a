"""How the running kernel was built, where it or its distribution says so."""

from __future__ import annotations

import gzip
import platform
import zlib
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

_MOST: Final = 4 << 20
"""Bytes of text that are read: the largest configurations have 0.3 MB."""


class Config(NamedTuple):
    """What a kernel was built with."""

    told_by: Path
    options: frozenset[str]

    @classmethod
    def of_kernel(cls) -> Config | None:
        """The running kernel's; None where nobody tells it."""
        for path in (Path("/proc/config.gz"), Path(f"/boot/config-{platform.release()}")):
            with suppress(OSError, EOFError, zlib.error):
                return cls.of_file(path)
        return None

    @classmethod
    def of_file(cls, path: Path) -> Config:
        """What a configuration, packed if it ends in `.gz`, says.

        Raises:
            OSError, EOFError, zlib.error: it can't be read.
        """
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            lines = file.read(_MOST).decode("ascii", "replace").splitlines()
        named = (line.partition("=") for line in lines)
        return cls(path, frozenset(name for name, _, value in named if value in ("y", "m")))

    def lacks(self, wanted: Iterable[str]) -> list[str]:
        """Those of the wanted options that it was built without."""
        return [name for name in wanted if name not in self.options]
