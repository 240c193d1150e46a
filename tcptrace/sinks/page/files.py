"""The page's own files, read once: later they may be out of reach."""

from __future__ import annotations

from pathlib import Path
from typing import Final, NamedTuple

_STATIC: Final = Path(__file__).parent / "static"
_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_INDEX: Final = "index.html"


class File(NamedTuple):
    """One of them, and its content type."""

    body: bytes
    content_type: str


def page_files() -> dict[str, File]:
    """All of them by path."""
    files = {
        f"/{path.name}": File(path.read_bytes(), _TYPES[path.suffix])
        for path in sorted(_STATIC.iterdir())
    }
    files["/"] = files.pop(f"/{_INDEX}")
    return files
