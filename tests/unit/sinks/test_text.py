from __future__ import annotations

import io

from hypothesis import given
from hypothesis import strategies as st

from tcptrace.lifecycle.connection import Connection, Process
from tcptrace.sinks.terminal import Paint
from tcptrace.sinks.text import TextPrinter
from tcptrace.sinks.units import WallClock
from unit import samples

NOW = samples.START + 20 * samples.S


def printed(*lives: Connection, width: int | None = 100, colours: bool = False) -> list[str]:
    stream = io.StringIO()
    printer = TextPrinter(stream, WallClock(samples.head()), Paint(enabled=colours), width)
    for life in lives:
        printer.show(life, NOW)
    return stream.getvalue().splitlines()


def test_a_plain_life_is_one_line_below_the_header() -> None:
    header, line = printed(samples.server())
    assert header.split() == [
        *("ENDED", "WHO", "LOCAL", "REMOTE", "SETUP", "ACCEPT", "OPEN", "END", "PROCESS"),
    ]
    assert line[12:].split("  ")[0].startswith(" srv 10.0.0.1:8080")
    for cell in ("10.0.0.2:53412", "112µs", "1.2ms", "3.20s", "remote FIN", "nginx[1234]"):
        assert cell in line
        assert header.index("SETUP") == line.index("112µs")


def test_everything_fits_100_columns() -> None:
    assert max(map(len, printed(*samples.every_life()))) <= 100


def test_without_a_terminal_each_life_is_one_line_and_nothing_is_shortened() -> None:
    lines = [line for line in printed(*samples.every_life(), width=None) if "ENDED" not in line]
    assert len(lines) == 8
    assert "[2001:db8:1234:5678:9abc:def0:1111:2222]:53412" in lines[-1]


def test_drops_and_retransmits_are_told() -> None:
    text = "\n".join(printed(samples.overflowed(), samples.client(), samples.dropped()))
    assert "SYN dropped: accept queue full 2/1" in text
    assert "final ACK dropped ×2: accept queue full 2/1" in text
    assert "SYN-ACK retransmitted ×2" in text
    assert "SYN retransmitted ×2" in text
    assert "SYN dropped ×3: accept queue full 2/1" in text


def test_how_it_ended_and_by_whom() -> None:
    text = "\n".join(printed(samples.client(), samples.refused(), samples.never_accepted()))
    assert "local FIN" in text
    assert "refused" in text
    assert "unaccepted  (nginx[1234])" in text
    assert "listener closed" in text


def test_what_is_still_open_says_in_which_state_and_that_it_is_partial() -> None:
    text = "\n".join(printed(samples.leaked()))
    assert "still open" in text
    assert "in CLOSE_WAIT for 15.0s" in text
    assert "partial: began before the trace" in text


def test_a_long_ipv6_pair_is_shortened_but_told_whole_below() -> None:
    _, line, *below = printed(samples.v6())
    assert "…" in line
    assert len(line) <= 100
    assert "[2001:db8:1234:5678:9abc:def0:1111:2222]:53412" in "".join(below)


def test_the_header_comes_again_when_columns_widen() -> None:
    lines = printed(samples.server(), samples.v6(), samples.server(), width=160)
    assert sum("ENDED" in line for line in lines) == 2


def test_colours_do_not_change_the_text() -> None:
    coloured = "\n".join(printed(*samples.every_life(), colours=True))
    for code in ("\x1b[32m", "\x1b[33m", "\x1b[31m", "\x1b[2m", "\x1b[1m", "\x1b[0m"):
        coloured = coloured.replace(code, "")
    assert coloured == "\n".join(printed(*samples.every_life()))


@given(st.binary(max_size=16), st.sampled_from([None, 80, 100]))
def test_hostile_names_put_no_control_character_on_the_terminal(
    comm: bytes, width: int | None
) -> None:
    life = samples.server()
    life.process = Process(1, comm)
    assert all(line.isprintable() for line in printed(life, width=width))
