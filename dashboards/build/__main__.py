"""Writes every generated file of dashboards/ anew."""

from __future__ import annotations

from pathlib import Path

from dashboards.build.outputs import render


def main() -> None:
    """Writes the files below dashboards/, whatever the working directory."""
    root = Path(__file__).resolve().parents[1]
    for name, text in render().items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
