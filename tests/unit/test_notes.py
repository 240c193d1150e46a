from __future__ import annotations

import io

from tcptrace.notes import Troubles, tracing_line
from unit import samples
from unit.sources import FakeSource


def test_a_trouble_is_told_once_each_time_that_it_comes_or_is_another() -> None:
    source, notes = FakeSource(), io.StringIO()
    troubles = Troubles(source, notes)
    for source.trouble in ("", "gone\x1b", "gone\x1b", "dead", "dead", "", "", "dead", "dead"):
        troubles.tell()
    first, *others = notes.getvalue().splitlines()
    assert first.startswith("tcptrace: gone")
    assert first.isprintable()
    assert others == ["tcptrace: dead"] * 2


def test_the_tracing_line_is_one_safe_line() -> None:
    assert tracing_line(samples.head()) == (
        "tracing port 8080: 2 hooks, fentry, kernel 6.1.0-28-amd64; Ctrl-C ends"
    )
    assert tracing_line(samples.head(what="\x1b[2J\n"), ["\n"]).isprintable()
    told = tracing_line(samples.head(), ["no seccomp filter: x", "y"])
    assert "-amd64; no seccomp filter: x; y; Ctrl-C ends" in told
