"""`tcptrace serve --replay`, as a user runs it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

FAULTS = Path(__file__).resolve().parents[1] / "data/faults"
_DEADLINE_S = 120
"""For the whole recording to be replayed, on a busy machine too."""


class Serving:
    """A running server.

    Attributes:
        url: of its page.
    """

    def __init__(self, process: subprocess.Popen[str], url: str) -> None:
        self._process = process
        self.url = url

    def kill(self) -> None:
        """Ends it without a word."""
        self._process.kill()
        self._process.wait()


@contextmanager
def serving(recording: Path, *options: str) -> Iterator[Serving]:
    """Serves a recording; all of it has been replayed then, unless the options say otherwise."""
    command = [sys.executable, "-m", "tcptrace.cli.main", "serve", "--listen", "127.0.0.1:0"]
    command += ["--replay", str(recording), *(options or ("--speed", "max"))]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        url = _url_told_by(process)
        if not options:
            _await_end(url)
        yield Serving(process, url)
    finally:
        process.kill()
        process.wait()
        if process.stderr is not None:
            process.stderr.close()


def _await_end(url: str) -> None:
    began_s = time.monotonic()
    while time.monotonic() - began_s < _DEADLINE_S:
        with urllib.request.urlopen(f"{url}now.json") as answer:  # noqa: S310 - its own
            if json.load(answer)["trace"]["state"] != "replaying":
                return
        time.sleep(0.1)
    raise AssertionError("the recording does not come to its end")


def _url_told_by(process: subprocess.Popen[str]) -> str:
    began_s = time.monotonic()
    told = ""
    while process.stderr is not None and time.monotonic() - began_s < _DEADLINE_S:
        line = process.stderr.readline()
        told += line
        if match := re.search(r"https?://\S+/(?=metrics)", line):
            return match[0]
        if not line:
            break
    raise AssertionError(f"it does not serve: {told}")
