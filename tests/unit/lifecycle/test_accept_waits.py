from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcptrace.lifecycle.accept_waits import WINDOW_NS, AcceptWaits
from unit.samples import MS, START, S


def test_nobody_waited() -> None:
    waits = AcceptWaits()
    assert waits.quantile(0.99, START) is None
    assert (waits.count, waits.sum_ns, waits.last_at_ns) == (0, 0, 0)


def test_totals_stay_when_the_window_has_passed() -> None:
    waits = AcceptWaits()
    waits.add(5 * MS, START)
    waits.add(7 * MS, START + S)
    assert waits.quantile(1, START + S) == 7 * MS
    assert waits.quantile(1, START + 300 * S) is None
    assert (waits.count, waits.sum_ns, waits.last_at_ns) == (2, 12 * MS, START + S)


def test_a_record_that_comes_late_is_counted_still() -> None:
    waits = AcceptWaits()
    waits.add(5 * MS, START + S)
    waits.add(9 * MS, START)
    assert waits.quantile(1, START + S) == 9 * MS
    assert waits.last_at_ns == START + S


@pytest.mark.parametrize("looks", [0, 1, 7])
@given(st.lists(st.tuples(st.integers(0, 70), st.integers(0, 1000)), min_size=1, max_size=30))
def test_the_quantile_is_of_the_last_30_to_60_seconds(
    looks: int, steps: list[tuple[int, int]]
) -> None:
    """However often anybody looks in between."""
    waits = AcceptWaits()
    told: list[tuple[int, int]] = []
    now_ns = START
    for seconds, wait_ns in steps:
        for _ in range(looks):
            waits.quantile(0.5, now_ns + seconds * S // (looks + 1))
        now_ns += seconds * S
        waits.add(wait_ns, now_ns)
        told.append((now_ns, wait_ns))
        found = waits.quantile(1, now_ns)
        assert found is not None
        surely = [wait for then, wait in told if then > now_ns - WINDOW_NS]
        perhaps = [wait for then, wait in told if then > now_ns - 2 * WINDOW_NS]
        assert max(surely) <= found <= max(perhaps)
