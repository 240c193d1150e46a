from __future__ import annotations

import pytest
from rich.cells import cell_len

from tcptrace.top import cells


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("nginx", "nginx"),
        ("\x1b[2J", r"\x1b[2J"),
        ("[bold red]x[/]", "[bold red]x[/]"),
        ("a\u200bb\u0301c", r"a\u200bb\u0301c"),
        ("\u202eevil", r"\u202eevil"),
        ("\u05d0\u0661", r"\u05d0\u0661"),
        ("é漢🎉", "é漢🎉"),
        ("\ufe0f\u20e3", r"\ufe0f\u20e3"),
    ],
)
def test_what_is_plain_has_a_width_and_stays_where_it_is(text: str, expected: str) -> None:
    assert cells.plain(text) == expected


@pytest.mark.parametrize("text", ["", "a", "0.0.0.0:8080", "漢字漢字漢字漢字", "🎉" * 9, "x" * 99])
@pytest.mark.parametrize("width", [1, 2, 7, 15])
def test_what_fits_is_as_wide_as_it_was_asked(text: str, width: int) -> None:
    assert cell_len(cells.fit(text, width)) == width
    assert cell_len(cells.fit_end(text, width)) == width


def test_of_an_address_the_port_stays() -> None:
    assert cells.fit_end("[2001:db8::1]:65535", 10).endswith(":65535")
    assert cells.fit("[2001:db8::1]:65535", 10) == "[2001:db8…"
    assert cells.fit_right("123456", 5) == "    …"


def bar(length: float, peak: float) -> tuple[str, str]:
    line = cells.bar(length, peak, 8)
    return "".join(text for text, _ in line), line[0][1]


@pytest.mark.parametrize(
    ("length", "peak", "expected"),
    [
        (0, 0, ("░░░░░░░░", "good")),
        (0.001, 0, ("█░░░░░░░", "good")),
        (0.99, 0.99, ("███████░", "warn")),
        (1, 1, ("████████", "bad")),
        (2.5, 0, ("████████", "bad")),
        (0, 1, ("▒▒▒▒▒▒▒▒", "good")),
        (0.5, 0.75, ("████▒▒░░", "good")),
    ],
)
def test_a_bar_is_full_only_if_the_queue_is(
    length: float, peak: float, expected: tuple[str, str]
) -> None:
    assert bar(length, peak) == expected


def spark(shares: list[float | None], width: int) -> str:
    return "".join(text for text, _ in cells.sparkline(shares, width))


def test_a_sparkline_shows_the_greatest_of_each_column() -> None:
    assert spark([0, 0.2, 1, 0.1], 4) == "▁▂█▁"
    assert spark([0, 0.2, 1, 0.1], 2) == "▂█"
    assert spark([None, None, 0.5, 0], 4) == "  ▅▁"
    assert spark([1], 4) == "████"
    assert spark([], 3) == "   "
    assert spark([7.0], 1) == "█"


@pytest.mark.parametrize(
    ("rate", "expected"),
    [(0, "-"), (0.01, "<0.1"), (0.06, "0.1"), (3.44, "3.4"), (99.96, "100"), (12345, "12k")],
)
def test_a_rate_takes_four_columns(rate: float, expected: str) -> None:
    assert cells.rate_text(rate) == expected
