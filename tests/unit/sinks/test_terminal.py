from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcptrace.lifecycle.connection import Process
from tcptrace.sinks.terminal import Paint, comm_text, flow, process_text, safe_text, width_of


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@given(st.binary(max_size=16))
def test_no_name_of_a_process_steers_a_terminal(comm: bytes) -> None:
    assert process_text(Process(1, comm)).isprintable()


@given(st.text())
def test_safe_text_is_printable(text: str) -> None:
    assert safe_text(text).isprintable()


def test_hostile_names() -> None:
    assert process_text(Process(7, b"\x1b[2Jevil\n\0junk")) == "\\x1b[2Jevil\\n[7]"
    assert process_text(Process(7, "a\u202eb".encode())) == "a\\u202eb[7]"
    assert comm_text(b"\xff\xfe\0") == "\\xff\\xfe"
    assert comm_text("père".encode()) == "père"


def test_colours_only_on_a_terminal_that_can() -> None:
    assert Paint.of(Terminal(), {})("x", "bad") == "\x1b[31mx\x1b[0m"
    assert Paint.of(io.StringIO(), {})("x", "bad") == "x"
    assert Paint.of(Terminal(), {"NO_COLOR": "1"})("x", "bad") == "x"
    assert Paint.of(Terminal(), {"TERM": "dumb"})("x", "bad") == "x"
    assert Paint.of(Terminal(), {"NO_COLOR": ""})("x", "bad") != "x"
    assert Paint.of(io.StringIO(), {"FORCE_COLOR": "1"})("x", "bad") != "x"
    assert Paint.of(Terminal(), {"FORCE_COLOR": "1", "TERM": "dumb"})("x", "bad") != "x"
    assert Paint.of(io.StringIO(), {"FORCE_COLOR": ""})("x", "bad") == "x"
    assert Paint.of(Terminal(), {"FORCE_COLOR": "1", "NO_COLOR": "1"})("x", "bad") == "x"


@pytest.mark.parametrize(("columns", "width"), [("120", 120), ("20", 80), ("", None), ("-3", None)])
def test_width_without_a_terminal(columns: str, width: int | None) -> None:
    assert width_of(io.StringIO(), {"COLUMNS": columns}) == width


def test_pieces_flow_into_lines() -> None:
    assert flow(["aaa", "bbb", "ccc"], 9) == ["aaa · bbb", "ccc"]
    assert flow(["aaa", "bbb", "ccc"], None) == ["aaa · bbb · ccc"]
    assert flow(["a" * 30, "b"], 9) == ["a" * 30, "b"]
    assert flow([], 9) == [""]
