"""Writes the metrics for node_exporter's textfile collector: whole files, or none.

The file goes when the exporter does: what stays there is served for ever, as if it were of now.
"""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from tcptrace.errors import OutputFailed

if TYPE_CHECKING:
    from pathlib import Path

NAME: Final = "tcptrace.prom"
_MODE: Final = 0o644


class Textfile:
    """The file in a directory.

    Args:
        directory: where node_exporter looks.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._path = directory / NAME

    def write(self, text: bytes) -> None:
        """Replaces it.

        Raises:
            OutputFailed: the directory is not there or not writable for this user, or the disk is
                full.
        """
        temporary = None
        try:
            descriptor, temporary = tempfile.mkstemp(prefix=f".{NAME}.", dir=self._directory)
            with open(descriptor, "wb") as file:  # noqa: PTH123 - it is a descriptor
                os.fchmod(descriptor, _MODE)
                file.write(text)
            os.replace(temporary, self._path)  # noqa: PTH105
        except OSError as error:
            if temporary is not None and os.path.exists(temporary):  # noqa: PTH110
                os.unlink(temporary)  # noqa: PTH108
            raise OutputFailed(
                f"--textfile {self._path}: {error.strerror}; it must be writable for --user"
            ) from error

    def remove(self) -> None:
        """Removes it, if it is there and can be removed."""
        with suppress(OSError):
            self._path.unlink()
