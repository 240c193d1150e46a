from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcptrace.lifecycle import marks
from tcptrace.lifecycle.marks import Columns
from tcptrace.sinks.forms import Form, Sides, digits
from tcptrace.sinks.units import WallClock
from tcptrace.tcp import MAPPED_PREFIX
from unit import samples

ADDRESSES = [MAPPED_PREFIX + bytes((10, 0, 0, number)) for number in (1, 200)]


@given(st.lists(st.integers(0, (1 << 63) - 1), min_size=1))
def test_digits_are_those_of_the_number(numbers: list[int]) -> None:
    rows = digits(np.array(numbers))
    assert [row.tobytes().lstrip(b"\0") for row in rows] == [b"%d" % one for one in numbers]
    assert rows.shape[1] == len(str(max(numbers)))


def test_every_mark_is_a_field() -> None:
    began_ns = samples.START
    told = {
        "name": '"\\u00005" \x00',
        "local": {"address": "10.0.0.1", "port": 1},
        "remote": {"address": "10.0.0.1", "port": 1},
        "began_at": None,
        "began_at_ns": marks.time(0),
        "took": [marks.time(1) - marks.time(0), 17, True, None],
        "value": marks.value(2),
    }
    times = np.array(
        [[began_ns, began_ns + 1234567], [began_ns + 2_000_000_000, began_ns + 3 * 10**9]]
    )
    words = [np.frombuffer(address, np.uint64) for address in ADDRESSES]
    sides = Sides(
        np.array([words[0], words[1]]),
        np.array([8080, 8]),
        np.array([words[0], words[0]]),
        np.array([1, 65535]),
    )
    clock = WallClock(samples.head())
    lines = Form(told).lines(Columns(times, lambda number: np.array([number, 0])), sides, clock)
    first, second = map(json.loads, lines)
    assert first == {
        "name": '"\\u00005" \x00',
        "local": {"address": "10.0.0.1", "port": 8080},
        "remote": {"address": "10.0.0.1", "port": 1},
        "began_at": clock.utc(began_ns),
        "began_at_ns": began_ns,
        "took": [1234567, 17, True, None],
        "value": 2,
    }
    assert second["local"] == {"address": "10.0.0.200", "port": 8}
    assert second["began_at"] == clock.utc(began_ns + 2_000_000_000)
    assert (second["took"][0], second["value"]) == (10**9, 0)
    assert all(line.endswith(b"\n") for line in lines)


def test_a_life_without_a_begin_has_no_form() -> None:
    with pytest.raises(ValueError, match="begin"):
        Form({"began_at_ns": 5})
