from __future__ import annotations

import itertools

import numpy as np
import pytest

from tcptrace.lifecycle import marks
from tcptrace.lifecycle.marks import Columns, Span, Time, Value, meaning_of


def test_a_mark_tells_which_it_is() -> None:
    for number in range(marks.MOST_TIMES):
        assert meaning_of(marks.time(number)) == Time(number)
        assert meaning_of(marks.value(number)) == Value(number)
        assert marks.time(number) < 1 << 64, "it can be frozen"


def test_a_difference_of_times_tells_which_two() -> None:
    for begin, end in itertools.combinations(range(marks.MOST_TIMES), 2):
        assert meaning_of(marks.time(end) - marks.time(begin)) == Span(begin, end)


def test_what_any_record_may_tell_is_no_mark() -> None:
    for number in (0, 1, 65_535, (1 << 32) - 1):
        assert meaning_of(number) is None


@pytest.mark.parametrize(
    "number",
    [
        marks.time(1) - marks.time(2),
        marks.time(1) + 1,
        marks.time(3) - marks.time(1) + marks.time(2) - marks.time(0),
        marks.time(3) - marks.value(1),
    ],
)
def test_what_comes_from_marks_otherwise_is_refused(number: int) -> None:
    with pytest.raises(ValueError, match=r"time|difference"):
        meaning_of(number)


def test_columns_have_what_marks_stand_for() -> None:
    times = np.array([[1, 5, 9], [2, 7, 20]])
    columns = Columns(times, lambda number: np.array([number, number]))
    assert columns.of(Time(1)).tolist() == [5, 7]
    assert columns.of(Span(0, 2)).tolist() == [8, 18]
    assert columns.of(Value(3)).tolist() == [3, 3]
    assert columns.known(None) is None
    assert columns.known(7) is None
