from __future__ import annotations

import pytest

from tcptrace.lifecycle.transitions import NEXT
from tcptrace.tcp import State
from tcptrace.top import diagram
from tcptrace.top.diagram import EDGES, PLACES, Traffic, draw, is_drawn, rare

S = State
NOTHING = Traffic({}, {}, {})


def text(traffic: Traffic, width: int = 80, height: int = diagram.LEAST_HEIGHT) -> list[str]:
    return ["".join(piece for piece, _ in line) for line in draw(traffic, width, height)]


def test_every_transition_of_the_tables_has_its_place() -> None:
    """Drawn, in a box, or told in words."""
    every = Traffic({}, dict.fromkeys(EDGES, 1), {})
    told = {edge for edge, _, _, _ in rare(every)}
    in_boxes = {edge for edge in EDGES if S.CLOSE in edge}
    drawn = {edge for edge in EDGES if is_drawn(edge)}
    assert told | in_boxes | drawn == EDGES
    assert not told & (in_boxes | drawn)
    assert set(PLACES) == set(NEXT) - {S.CLOSE}
    assert {edge for edge in told if edge[0] is S.ESTABLISHED} == set()


@pytest.mark.parametrize(("old", "new"), sorted(edge for edge in EDGES if is_drawn(edge)))
def test_what_is_drawn_shows_its_own_rate(old: State, new: State) -> None:
    """And only once: a rate that stood elsewhere would be another's."""
    shown = "\n".join(text(Traffic({}, {}, {(old, new): 77.7})))
    assert shown.count("77.7") == 1
    quiet = "\n".join(text(NOTHING))
    assert shown.replace("77.7", "-", 1).replace(" ", "") == quiet.replace(" ", "")


@pytest.mark.parametrize(("old", "new"), sorted(edge for edge in EDGES if S.CLOSE in edge))
def test_what_leads_to_or_from_close_is_in_its_box(old: State, new: State) -> None:
    lines = text(Traffic({}, {}, {(old, new): 77.7}))
    row = next(number for number, line in enumerate(lines) if "77.7" in line)
    state = old if new is S.CLOSE else new
    where = lines[row].index("77.7")
    if new is S.CLOSE:
        assert "✕ 77.7" in lines[row]
        row -= 1
    else:
        assert "+77.7" in lines[row]
    name = lines[row - 1]
    begin = name.rindex("┌", 0, where)
    assert name[begin:].startswith(f"┌ {state.name} ")


@pytest.mark.parametrize("state", PLACES)
def test_a_box_shows_how_many_are_in_it(state: State) -> None:
    lines = text(Traffic({state: 12_345}, {}, {}))
    (row,) = [number for number, line in enumerate(lines) if "12,345" in line]
    begin = lines[row].rindex("│", 0, lines[row].index("12,345"))
    assert lines[row - 1][begin:].startswith(f"┌ {state.name} ")


@pytest.mark.parametrize("width", [80, 81, 100, 120, 300])
@pytest.mark.parametrize("height", [18, 20, 24, 37, 90])
def test_it_fits(width: int, height: int) -> None:
    traffic = Traffic(dict.fromkeys(State, 9_999_999), {}, dict.fromkeys(EDGES, 123_456.0))
    lines = text(traffic, width, height)
    assert len(lines) <= height
    assert {len(line) for line in lines} == {width}
    for state in PLACES:
        assert sum(f"┌ {state.name} ─" in line for line in lines) == 1
    assert diagram.fits(width, height)
    assert not diagram.fits(79, height)
    assert not diagram.fits(width, 17)


def test_lines_join() -> None:
    lines = text(NOTHING)
    assert lines[8].strip() == "┌────────────────────┴────────────────────┐"
    assert lines[13].split() == ["┌────────────────────┼────────────────────┐", "│"]
    assert "local FIN ▼ -" in lines[9]
    assert "remote FIN ▼ -" in lines[9]


def test_what_the_tables_do_not_have_is_told() -> None:
    odd = (S.TIME_WAIT, S.ESTABLISHED)
    assert list(rare(Traffic({}, {odd: 3, (S.CLOSE_WAIT, S.LAST_ACK): 9}, {odd: 0.5}))) == [
        (odd, 3, 0.5, False)
    ]
