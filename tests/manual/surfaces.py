"""The table of docs/tutorial.md: each fault, and what each surface says of it.

The recordings are of faults really made (tests/faults). Each is given to the real `why`, to a real
`serve` whose page is asked, to a real `top` on a terminal of its own, and to the shipped alerts in
promtool. `python -m tests.manual.surfaces` plays all and writes the table: a few minutes.
"""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import pyte
from faults.others import OTHERS
from faults.plays import PLAYS
from faults.prometheus import free_port
from faults.scrapes import scrapes
from faults.verdicts import DIVISOR, PERIOD_S, fired, series

from tcptrace.sinks.verdict_words.causes import TITLES
from tcptrace.verdicts.verdict import Cause

from .blocks import CHECKOUT, found, printed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

PAGE: Final = CHECKOUT / "docs/tutorial.md"
BEGIN, END = "<!-- verdicts -->", "<!-- end of verdicts -->"
FAULTS: Final = [name for name, play in {**PLAYS, **OTHERS}.items() if play.cause]
_TCPTRACE: Final = (sys.executable, "-m", "tcptrace.cli.main")
_ROWS, _COLUMNS = 50, 160
_PATIENCE_S: Final = 60.0
_CALM_S: Final = 3.0
_POLL_S: Final = 0.5


class Told(NamedTuple):
    """What the four say of one fault."""

    why: list[str]
    top: list[str]
    page: list[str]
    alerts: list[str]


def ask(name: str) -> Told:
    """Plays one recording to all four."""
    path = Path(found(f"{name}.tcptrace"))
    lines = printed("why", "--replay", path.name, "--json")[0].splitlines()
    why = [TITLES[Cause(json.loads(line)["cause"])] for line in lines]
    return Told(why, by_top(path, why), by_page(path), by_alerts(name, path))


def by_page(path: Path) -> list[str]:
    """What the page of `serve` is given to show."""
    listen = f"127.0.0.1:{free_port()}"
    command = [*_TCPTRACE, "serve", "--replay", str(path), "--speed", "max", "--listen", listen]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        try:
            assert server.stderr is not None
            assert server.stderr.readline().startswith("serving ")
            return calm(lambda: _page_verdicts(listen))
        finally:
            server.kill()


def _page_verdicts(listen: str) -> list[str]:
    with urllib.request.urlopen(f"http://{listen}/now.json", timeout=_PATIENCE_S) as answer:
        told: list[dict[str, Any]] = json.load(answer)["verdicts"]
    return [TITLES[Cause(verdict["cause"])] for verdict in told]


def by_top(path: Path, expected: Iterable[str]) -> list[str]:
    """Which of the titles stand on the screen of `top`; all others are looked for too."""
    pid, terminal = pty.fork()
    if pid == 0:
        fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack("HHHH", _ROWS, _COLUMNS, 0, 0))
        environment = {**os.environ, "TERM": "xterm-256color"}
        command = [*_TCPTRACE, "top", "--replay", str(path), "--speed", "max"]
        os.execve(command[0], command, environment)  # noqa: S606 - a pty, and no shell
    screen = pyte.Screen(_COLUMNS, _ROWS)
    stream = pyte.ByteStream(screen)

    def shown() -> list[str]:
        end_s = time.monotonic() + _POLL_S
        while select.select([terminal], [], [], max(0, end_s - time.monotonic()))[0]:
            stream.feed(os.read(terminal, 1 << 16))
        text = " ".join(" ".join(screen.display).split())
        titles = [*dict.fromkeys([*expected, *TITLES.values()])]
        return [title for title in titles if f": {title} ·" in text]

    try:
        return calm(shown)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.close(terminal)
        os.waitpid(pid, 0)


def calm(look: Callable[[], list[str]]) -> list[str]:
    """Looks until there is something and it has not changed for a while, or patience ends."""
    seen, since_s = look(), time.monotonic()
    end_s = since_s + _PATIENCE_S
    while time.monotonic() < end_s:
        now = look()
        if now != seen:
            seen, since_s = now, time.monotonic()
        if time.monotonic() - since_s > (_CALM_S if seen else _PATIENCE_S / 4):
            break
        time.sleep(_POLL_S)
    return seen


def by_alerts(name: str, path: Path) -> list[str]:
    """Which alerts fire."""
    taken = scrapes(path, PERIOD_S, DIVISOR)
    with tempfile.TemporaryDirectory() as directory:
        return sorted(fired(Path(directory), series(name, taken), len(taken)))


def table(told: dict[str, Told]) -> str:
    """The table in Markdown."""
    rows = ["| fault made | `why` | `top` | page | alert |", "| --- | --- | --- | --- | --- |"]
    for name, one in told.items():
        alerts = ", ".join(f"[{alert}](runbook.md#{alert.lower()})" for alert in one.alerts)
        same = [_same(words, one.why) for words in (one.top, one.page)]
        rows.append(f"| {name} | {_words(one.why)} | {' | '.join(same)} | {alerts or '–'} |")
    return "\n".join(rows)


def _words(titles: Iterable[str]) -> str:
    return "; ".join(titles) or "nothing"


def _same(titles: list[str], why: list[str]) -> str:
    return "the same" if set(titles) == set(why) else _words(titles)


def main() -> int:
    told = {}
    for name in sys.argv[1:] or FAULTS:
        told[name] = ask(name)
        print(f"surfaces: {name}: {told[name]}", flush=True)
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    after = rest.partition(END)[2]
    PAGE.write_text(f"{before}{BEGIN}\n{table(told)}\n{END}{after}", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
