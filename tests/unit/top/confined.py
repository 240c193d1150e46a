"""Shows a recording as the collector shows a host: under its seccomp filter; tells what it opened.

`python confined.py RECORDING`
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from tcptrace.kernel import privileges, seccomp
from tcptrace.lifecycle.recent import Recent
from tcptrace.lifecycle.tally import Tally
from tcptrace.replay import AT_ONCE, ReplaySource
from tcptrace.sinks.recording import RecordingReader
from tcptrace.top.running import new_loop, show
from tcptrace.verdicts.window import WINDOW_NS
from tcptrace.watching import Watch

OPENING = ("open", "socket.__new__", "subprocess.Popen", "os.fork")

opened: list[str] = []


def note(event: str, arguments: tuple[Any, ...]) -> None:
    if event in OPENING:
        opened.append(f"{event} {arguments[0]}")


with Path(sys.argv[1]).open("rb") as file:
    source = ReplaySource(RecordingReader(file, "recording"), AT_ONCE)
    loop = new_loop()
    recent = Recent()
    watch = Watch(source, Tally(), 10, verdicts_ns=WINDOW_NS, recent=recent)
    privileges.forbid_new()
    refusal = seccomp.confine(terminal=True)
    if refusal:
        sys.exit(refusal)
    sys.addaudithook(note)
    show(watch, recent, loop, "replay", sys.stderr, "opening")
print(f"opened: {opened}")
