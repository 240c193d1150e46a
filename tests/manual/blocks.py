"""Outputs in pages: each is what its command prints, put there by a script and compared by a test.

In a page,

    <!-- output: COMMAND… | FILTER… -->
    <!-- end of output -->

becomes a block between the two. The command is `replay FILE…` or `why --replay FILE` of a recording
in tests/data, run here and now; or `told FILE`, what a command printed in a guest, kept in
tests/data/told. Filters take a unit at a time: a line, or a story of `--timeline`:

    only TEXT     those that have it
    first N, last N
    summary       instead: what a replay tells at its end
"""

from __future__ import annotations

import re
import subprocess
import sys
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tcptrace.errors import FoundFaults

if TYPE_CHECKING:
    from collections.abc import Iterator

CHECKOUT: Final = Path(__file__).resolve().parents[2]
DATA: Final = CHECKOUT / "tests/data"
PAGES: Final = ("tutorial.md", "handshake.md", "comparison.md", "faq.md", "index.md")
"""Of docs/: those with such blocks."""
_BLOCK: Final = re.compile(
    r"<!-- output: (?P<wanted>[^\n]*) -->\n.*?<!-- end of output -->", re.DOTALL
)
_ELISION: Final = "…"


def rendered(text: str) -> str:
    """The page with every output as it is now."""
    return _BLOCK.sub(lambda found: _block(found["wanted"]), text)


def _block(wanted: str) -> str:
    command, *filters = (part.strip() for part in wanted.split(" | "))
    body = "\n".join(_output(command, filters))
    return f"<!-- output: {wanted} -->\n```text\n{body}\n```\n<!-- end of output -->"


def _output(command: str, filters: list[str]) -> Iterator[str]:
    verb, *words = command.split()
    if verb == "told":
        text = (DATA / "told" / words[0]).read_text(encoding="utf-8")
        title, _, text = text.partition("\n")
        yield title
    else:
        yield " ".join(("$ tcptrace", command, *_at_once(verb)))
        told, summary = printed(verb, *words)
        text = summary if "summary" in filters else told
    units = _units(text.rstrip("\n"), is_stories="--timeline" in words and "summary" not in filters)
    for one in filters:
        units = _filtered(units, one)
    yield from "\n".join(units).rstrip("\n").splitlines()


def _units(text: str, *, is_stories: bool) -> list[str]:
    if is_stories:
        return [f"{story}\n" for story in text.split("\n\n") if story]
    return text.splitlines()


def _filtered(units: list[str], wanted: str) -> list[str]:
    verb, _, value = wanted.partition(" ")
    match verb:
        case "summary":
            return units
        case "only":
            kept = [unit for unit in units if value in unit]
            assert kept, f"nothing has {value!r}"
            return kept
        case "first":
            return units[: int(value)] + [_ELISION] * (len(units) > int(value))
        case "last":
            return [_ELISION] * (len(units) > int(value)) + units[-int(value) :]
    raise ValueError(wanted)


@lru_cache
def printed(*words: str) -> tuple[str, str]:
    """What a command that looks at a recording prints, and what it says at its end."""
    done = subprocess.run(
        [sys.executable, "-m", "tcptrace.cli.main", *map(found, words), *_at_once(words[0])],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "/usr/bin:/bin", "COLUMNS": "110", "TZ": "UTC", "LC_ALL": "C.UTF-8"},
    )
    begun, _, summary = done.stderr.partition("\n")
    assert begun.startswith("replaying "), done.stderr
    assert done.returncode in (0, FoundFaults.exit_code), done.stderr
    return done.stdout, summary.strip("\n")


def found(word: str) -> str:
    """A recording's path instead of its name."""
    if not word.endswith(".tcptrace"):
        return word
    paths = [*DATA.glob(f"*/{word}"), *DATA.glob(word)]
    assert paths, f"there is no recording {word}"
    return str(paths[0])


def _at_once(verb: str) -> tuple[str, ...]:
    return ("--speed", "max") if verb == "replay" else ()
