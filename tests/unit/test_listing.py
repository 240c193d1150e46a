from __future__ import annotations

import io
import json
import os
import re
import signal
import struct
import termios
from fcntl import ioctl
from typing import TYPE_CHECKING, TextIO, cast

import pyte
import pytest

from tcptrace.errors import OutputFailed
from tcptrace.lifecycle.names import Names
from tcptrace.lifecycle.tally import Tally
from tcptrace.listing import Listing, show
from tcptrace.stopping import Limits
from tcptrace.watching import Watch
from tcptrace.wire.events import Stage
from tcptrace.wire.head import AttachedHook, Losses
from unit import slots
from unit.hosts import DEADLINE_S, FakeHost

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

OWN = os.stat("/proc/self/ns/net").st_ino  # noqa: PTH116 - as it is called there
NO_LIMIT = Limits(duration_s=DEADLINE_S)


def shown(  # noqa: PLR0913 - the command's options
    host: FakeHost,
    stream: TextIO,
    *,
    what: str | None = None,
    sort: str = "drops",
    interval_s: float = 0.01,
    once: bool = False,
    as_json: bool = False,
    limits: Limits = NO_LIMIT,
) -> str:
    """Runs `tcptrace listeners` on a host; returns what it said on stderr."""
    notes = io.StringIO()
    watch = Watch(host, Tally(), 10**9)
    listing = Listing(stream, what, sort, interval_s, once=once, as_json=as_json)
    show(watch, listing, limits, notes, "tracing …")
    assert host.closed
    return notes.getvalue()


@pytest.fixture
def host() -> FakeHost:
    host = FakeHost()
    host.names = Names(own_netns=OWN)
    host.slots = {
        1: slots.slot(port=80, netns=OWN),
        2: slots.slot("::1", 443, netns=OWN, counts={Stage.OTHER: 3}, comm=b"sshd\0"),
        3: slots.slot(port=81, netns=7),
    }
    return host


def test_one_table_and_the_end(host: FakeHost) -> None:
    stream = io.StringIO()
    assert shown(host, stream, once=True) == "tracing …\n"
    lines = stream.getvalue().splitlines()
    assert re.fullmatch(r"3 listeners · \d\d:\d\d:\d\d · agrees with the kernel", lines[0])
    assert lines[1].startswith("LISTENER")
    assert [line.split()[0] for line in lines[2:]] == [
        "[::1]:443",
        "└",
        "0.0.0.0:80",
        "0.0.0.0:81@7",
    ]
    assert "\x1b" not in stream.getvalue()


def interrupt_once(host: FakeHost, is_time: Callable[[], bool]) -> None:
    """Sends SIGINT before a read, the first time that it is time: a second one would kill."""
    read = host.read
    is_done = False

    def read_and_end(timeout_s: float) -> bytes | None:
        nonlocal is_done
        if not is_done and is_time():
            is_done = True
            signal.raise_signal(signal.SIGINT)
        return read(timeout_s)

    host.read = read_and_end  # type: ignore[method-assign]


def test_elsewhere_one_table_after_the_other(host: FakeHost) -> None:
    stream = io.StringIO()
    interrupt_once(host, lambda: stream.getvalue().count("LISTENER ") >= 3)
    shown(host, stream)
    *tables, rest = stream.getvalue().split("\n\n")
    assert len(tables) >= 3
    assert all("LISTENER " in table for table in tables)
    assert not rest


def test_what_is_asked_for_in_its_order(host: FakeHost) -> None:
    stream = io.StringIO()
    shown(host, stream, once=True, what="0.0.0.0", sort="port")  # noqa: S104 - a word
    ports = [line.split()[0] for line in stream.getvalue().splitlines()[2:]]
    assert [port.partition("@")[0] for port in ports] == ["0.0.0.0:80", "0.0.0.0:81"]


def test_json_has_one_line_a_listener(host: FakeHost) -> None:
    stream = io.StringIO()
    shown(host, stream, once=True, as_json=True, sort="port")
    told = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [one["port"] for one in told] == [80, 81, 443]
    assert told[0]["at"].startswith("2025-11-2")


def test_a_trouble_is_told_beside_the_tables(host: FakeHost) -> None:
    host.trouble = "the runtime is gone"
    stream = io.StringIO()
    assert shown(host, stream, once=True) == "tracing …\ntcptrace: the runtime is gone\n"
    assert "gone" not in stream.getvalue()


def test_a_duration_ends_it(host: FakeHost) -> None:
    stream = io.StringIO()
    shown(host, stream, interval_s=1000, limits=Limits(duration_s=0.01))
    assert stream.getvalue() == ""


def test_a_difference_to_the_kernel_is_told(host: FakeHost) -> None:
    reading = host.ledger_reading
    kernel = 0

    def with_drops() -> object:
        nonlocal kernel
        kernel += 10 * (kernel > 0 or len(host.readings_ns) > 20)
        told = reading()
        assert told is not None
        counters = dict.fromkeys(
            ("ListenOverflows", "ListenDrops", "SyncookiesSent", "SyncookiesRecv"), kernel
        )
        return told._replace(namespaces=(slots.figures(counters),))

    host.ledger_reading = with_drops  # type: ignore[method-assign, assignment]
    hooks = ("tcp_conn_request", "__cookie_v4_check")
    host.trace_head = host.head._replace(hooks=tuple(AttachedHook(one, "fexit") for one in hooks))
    stream = io.StringIO()
    interrupt_once(host, lambda: "differs" in stream.getvalue())
    shown(host, stream)
    assert re.search(
        r"differs from the kernel: ListenOverflows -\d+, ListenDrops -\d+, SyncookiesSent -\d+, …",
        stream.getvalue(),
    )


def test_what_was_lost_is_told_by_hook(host: FakeHost) -> None:
    by_hook = {"tcp_connect": 3, "inet_twsk_kill": 1, "inet_twsk_alloc": 7, "tcp_reset": 2}
    host.loss = Losses(13, {}, (), by_hook)
    stream = io.StringIO()
    shown(host, stream, once=True)
    assert "13 events lost: inet_twsk_alloc 7, tcp_connect 3, tcp_reset 2, …" in stream.getvalue()


class FailingStream(io.StringIO):
    def __init__(self, error: OSError) -> None:
        super().__init__()
        self._error = error

    def write(self, _: str) -> int:
        raise self._error


@pytest.mark.parametrize(
    ("error", "expected"),
    [(OSError(28, "No space left on device"), OutputFailed), (BrokenPipeError(), BrokenPipeError)],
)
def test_a_stream_that_takes_no_more_ends_it(
    host: FakeHost, error: OSError, expected: type[Exception]
) -> None:
    with pytest.raises(expected):
        shown(host, FailingStream(error), once=True)
    assert host.closed


class Screen:
    """A terminal of ours, and what was drawn on it."""

    def __init__(self, columns: int, rows: int) -> None:
        self._master, slave = os.openpty()
        ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        os.set_blocking(self._master, False)
        self.stream = cast("TextIO", os.fdopen(slave, "w", encoding="utf-8"))
        self.drawn = b""
        self._screen = pyte.Screen(columns, rows)
        self._terminal = pyte.ByteStream(self._screen)

    def draw(self) -> list[str]:
        """The lines as they stand, without what is blank on the right and below."""
        try:
            while got := os.read(self._master, 1 << 16):
                self.drawn += got
                self._terminal.feed(got)
        except BlockingIOError:
            pass
        lines = [line.rstrip() for line in self._screen.display]
        while lines and not lines[-1]:
            lines.pop()
        return lines

    def close(self) -> None:
        self.stream.close()
        os.close(self._master)


@pytest.fixture
def screen() -> Iterator[Callable[[int, int], Screen]]:
    made: list[Screen] = []

    def make(columns: int, rows: int) -> Screen:
        made.append(Screen(columns, rows))
        return made[-1]

    yield make
    for one in made:
        one.close()


class TestOnATerminal:
    @pytest.fixture(autouse=True)
    def _terminal(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("TERM", "xterm-256color")
        monkeypatch.delenv("COLUMNS", raising=False)
        monkeypatch.delenv("NO_COLOR", raising=False)

    def frames(self, host: FakeHost, screen: Screen, count: int) -> list[list[str]]:
        """So many different frames, as they stood."""
        seen: list[list[str]] = []

        def look() -> bool:
            lines = screen.draw()
            if lines and (not seen or seen[-1][1:] != lines[1:]):
                seen.append(lines)
                host.slots = {n: slots.slot(port=n, netns=OWN, sequence=4) for n in range(1, 40)}
            return len(seen) == count

        interrupt_once(host, look)
        shown(host, screen.stream)
        screen.draw()
        return seen

    def test_each_table_replaces_the_last_one(
        self, host: FakeHost, screen: Callable[[int, int], Screen]
    ) -> None:
        """Those of the first one are closed in the second."""
        first, last = self.frames(host, screen(100, 60), 2)
        assert first[0].startswith("3 listeners · ")
        assert last[0].startswith("42 listeners · ")
        assert (len(first), len(last)) == (6, 6 + 39)
        assert all(len(line) <= 100 for line in first + last)

    def test_a_trouble_is_told_in_the_table(
        self, host: FakeHost, screen: Callable[[int, int], Screen]
    ) -> None:
        """A line on stderr would spoil it."""
        host.trouble = "the runtime is gone"
        terminal = screen(200, 60)
        interrupt_once(host, lambda: any("runtime" in line for line in terminal.draw()))
        assert shown(host, terminal.stream) == "tracing …\n"

    def test_no_more_lines_than_fit(
        self, host: FakeHost, screen: Callable[[int, int], Screen]
    ) -> None:
        terminal = screen(100, 10)
        frames = self.frames(host, terminal, 2)
        assert [len(frame) for frame in frames] == [6, 9]

    def test_all_lines_where_the_height_is_unknown(
        self, host: FakeHost, screen: Callable[[int, int], Screen]
    ) -> None:
        """As on a serial console."""
        terminal = screen(100, 60)
        ioctl(terminal.stream.fileno(), termios.TIOCSWINSZ, bytes(8))
        (frame,) = self.frames(host, terminal, 1)
        assert len(frame) == 6

    def test_what_is_too_wide_is_cut(
        self, host: FakeHost, screen: Callable[[int, int], Screen]
    ) -> None:
        """A wrapped line would push the others out of place."""
        terminal = screen(60, 24)
        (first,) = self.frames(host, terminal, 1)
        assert len(first) == 6
        assert first[1].startswith("LISTENER")

    def test_the_terminal_is_left_as_it_was(
        self, host: FakeHost, screen: Callable[[int, int], Screen]
    ) -> None:
        terminal = screen(100, 24)
        self.frames(host, terminal, 1)
        begin, end = b"\x1b[?1049h\x1b[?25l\x1b[?7l", b"\x1b[?7h\x1b[?25h\x1b[?1049l"
        assert terminal.drawn.startswith(begin)
        assert terminal.drawn.endswith(end)

    def test_a_dumb_one_gets_tables(
        self,
        host: FakeHost,
        screen: Callable[[int, int], Screen],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setenv("TERM", "dumb")
        terminal = screen(100, 24)
        shown(host, terminal.stream, once=True)
        terminal.draw()
        assert b"\x1b" not in terminal.drawn
        assert b"LISTENER" in terminal.drawn

    def test_once_and_json_do_not_take_the_screen(
        self, host: FakeHost, screen: Callable[[int, int], Screen]
    ) -> None:
        for as_json in (False, True):
            terminal = screen(100, 24)
            shown(host, terminal.stream, once=True, as_json=as_json)
            host.closed = False
            terminal.draw()
            assert b"?1049h" not in terminal.drawn
            assert b"\x1b[?7l" not in terminal.drawn
