"""A table finds what an index would, one by one and many at once."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcptrace.lifecycle import table
from tcptrace.lifecycle.index import Index
from tcptrace.lifecycle.table import Table

if TYPE_CHECKING:
    from collections.abc import Sequence

WORD: Final = (1 << 64) - 1
UNDO: Final = pow(table._MULTIPLIER, -1, 1 << 64)
_HALVES: Final = [UNDO * number & WORD for number in range(1, 40)]
SHARE_A_LINE: Final = [UNDO * (half ^ half >> table._FOLD) & WORD for half in _HALVES]
"""In a table of whatever size: whoever knows how keys are mixed can choose such ones."""
keys = st.sampled_from([1, 2, 3, WORD, *SHARE_A_LINE]) | st.integers(1, WORD)
steps = st.lists(st.tuples(st.sampled_from(["add", "remove", "change"]), st.lists(keys)))


def words(numbers: Sequence[int]) -> Any:
    return np.array(numbers, np.uint64)


class Both:
    """A table, and an index that is told the same."""

    def __init__(self) -> None:
        self.table, self.index = Table(), Index()
        self.pairs: list[tuple[int, int]] = []
        self._number = 0

    def new_numbers(self, count: int) -> list[int]:
        self._number += count
        return list(range(self._number - count + 1, self._number + 1))

    def step(self, what: str, some: list[int], *, at_once: bool) -> None:
        if what == "add":
            pairs = list(zip(some, self.new_numbers(len(some)), strict=True))
            self._add(pairs, at_once=at_once)
            return
        mine = [pair for pair in self.pairs if pair[0] in some]
        if what == "remove":
            self._remove(mine, at_once=at_once)
        else:
            self._change(mine, self.new_numbers(len(mine)))

    def _add(self, pairs: list[tuple[int, int]], *, at_once: bool) -> None:
        if at_once:
            self.table.add_each(*self._columns(pairs))
        for key, number in pairs:
            self.index.add(key, number)
            if not at_once:
                self.table.add(key, number)
        self.pairs += pairs

    def _remove(self, pairs: list[tuple[int, int]], *, at_once: bool) -> None:
        if at_once:
            self.table.remove_each(*self._columns(pairs))
        for key, number in pairs:
            self.index.remove(key, number)
            if not at_once:
                self.table.remove(key, number)
        self.pairs = [pair for pair in self.pairs if pair not in pairs]

    def _change(self, pairs: list[tuple[int, int]], others: list[int]) -> None:
        self.table.change_each(*self._columns(pairs), words(others))
        changed = [(key, other) for (key, _), other in zip(pairs, others, strict=True)]
        for (key, number), (_, other) in zip(pairs, changed, strict=True):
            self.index.remove(key, number)
            self.index.add(key, other)
        self.pairs = [pair for pair in self.pairs if pair not in pairs] + changed

    def _columns(self, pairs: list[tuple[int, int]]) -> tuple[Any, Any]:
        return words([key for key, _ in pairs]), words([number for _, number in pairs])

    def check(self, asked: list[int]) -> None:
        assert len(self.table) == len(self.pairs)
        assert len(self.index) == len({key for key, _ in self.pairs})
        for key, found in zip(asked, self.table.one_of_each(words(asked)).tolist(), strict=True):
            numbers = self.index.of(key)
            assert sorted(self.table.of(key)) == sorted(numbers)
            assert found in numbers or (not found and not numbers)


@given(steps=steps, at_once=st.booleans())
def test_it_finds_what_an_index_would(steps: list[tuple[str, list[int]]], *, at_once: bool) -> None:
    both = Both()
    for what, some in steps:
        both.step(what, some, at_once=at_once)
        both.check([*some, 0, 5, *SHARE_A_LINE])


@pytest.mark.parametrize("at_once", [False, True])
def test_it_grows(*, at_once: bool) -> None:
    both = Both()
    chance = np.random.default_rng(1)
    for _ in range(10):
        some = chance.integers(1, WORD, 1000, np.uint64).tolist()
        both.step("add", [*some, *SHARE_A_LINE], at_once=at_once)
        both.check(some)
    both.check(SHARE_A_LINE)
    both.check([key for key, _ in both.pairs])
    used = Counter(len(both.table.of(key)) for key in SHARE_A_LINE)
    assert used == {10: len(SHARE_A_LINE)}
    assert both.table._words.nbytes <= 64 * len(both.table)


def test_what_is_not_there_is_not_removed() -> None:
    for one in (Table(), Index()):
        one.add(1, 2)
        with pytest.raises(KeyError):
            one.remove(1, 3)
    with pytest.raises(KeyError):
        Table().remove_each(words([1]), words([2]))


@pytest.mark.parametrize("stride", [64, 304, 2304, 2368, 2432, 2496, 2624])
@pytest.mark.parametrize("count", [20_000, 300_000])
def test_addresses_at_regular_distances_find_their_lines(stride: int, count: int) -> None:
    socks = words([0xFFFF_8880_0000_0000]) + np.arange(count, dtype=np.uint64) * np.uint64(stride)
    one = Table()
    one.add_each(socks, np.arange(1, count + 1, dtype=np.uint64))
    assert len(one._others) <= 0.05 * count


def test_lines_that_were_full_once_are_not_for_good() -> None:
    one, count = Table(), 20_000
    chance = np.random.default_rng(1)
    there = chance.integers(1, WORD, count, np.uint64)
    numbers = np.arange(1, count + 1, dtype=np.uint64)
    one.add_each(there, numbers)
    for _ in range(40):
        one.remove_each(there, numbers)
        there = chance.integers(1, WORD, count, np.uint64)
        one.add_each(there, numbers)
        assert sum(one._elsewhere.values()) == len(one._others)
        assert np.flatnonzero(one._have_others).tolist() == sorted(one._elsewhere)
        assert len(one._elsewhere) <= 0.1 * len(one._have_others)
    for key, number in zip(there.tolist(), numbers.tolist(), strict=True):
        one.remove(key, number)
    assert not one._elsewhere
    assert not one._have_others.any()
