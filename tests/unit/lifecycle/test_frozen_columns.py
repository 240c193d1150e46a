"""Frozen lives are the same in columns as one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcptrace.lifecycle import rows
from tcptrace.lifecycle.ends import SIDES
from tcptrace.lifecycle.frozen_columns import FrozenColumns
from tcptrace.lifecycle.frozen_lives import FrozenLives
from tcptrace.wire.digest import digest_of

if TYPE_CHECKING:
    from collections.abc import Sequence

SOCKS = range(0xFFFF_8880_0000_0040, 0xFFFF_8880_0000_0040 + 59 * 64, 64)
some_socks = st.lists(st.sampled_from(SOCKS), unique=True)
steps = st.lists(
    st.tuples(st.sampled_from(["add", "remove", "change", "set", "delete"]), some_socks, st.just(8))
    | st.tuples(st.sampled_from(["add", "set"]), some_socks, st.sampled_from([4, 8, 12]))
)


def words(numbers: Sequence[int]) -> Any:
    return np.array(numbers, np.uint64)


def digest(sock: int) -> int:
    """Of its sides: two by two they have the same."""
    return digest_of(SIDES.pack(b"local", sock // 128 % 65_536, b"remote", 80))


def digests(socks: Sequence[int]) -> Any:
    return words([digest(sock) for sock in socks])


def remove(columns: FrozenColumns, socks: Sequence[int]) -> None:
    where: dict[int, int] = {}
    for found in columns.look(words(socks)):
        where.update(zip(found.which.tolist(), found.where.tolist(), strict=True))
    columns.remove(words(socks), words([where[place] for place in range(len(socks))]))


class Both:
    """Columns, and what is told the same and has no columns."""

    def __init__(self) -> None:
        self.columns, self.lives = FrozenColumns(), FrozenLives()
        self._made = 0
        self._ages: dict[int, int] = {}

    def make(self, width: int) -> bytes:
        self._made += 1
        return self._made.to_bytes(width, "little")

    def step(self, what: str, socks: list[int], width: int) -> None:
        mine = [sock for sock in socks if sock in self.lives]
        others = [sock for sock in socks if sock not in self.lives]
        if what == "add":
            self._add(others, width)
        elif what == "remove":
            remove(self.columns, mine)
            self.columns.by_sides.remove_each(digests(mine), words(mine))
            self._forget(mine)
        elif what == "change":
            mine = [sock for sock in mine if len(self.lives[sock]) == width]
            self.columns.change(words(mine), self._new_rows(mine, width))
        else:
            for sock in mine:
                self._change_one(sock, width, is_deleted=what == "delete")

    def _new_rows(self, socks: list[int], width: int) -> Any:
        made = [self.make(width) for _ in socks]
        self.lives.update(zip(socks, made, strict=True))
        return np.frombuffer(b"".join(made), np.uint8).reshape(-1, width)

    def _add(self, socks: list[int], width: int) -> None:
        if socks:
            self.columns.add(words(socks), self._new_rows(socks, width), digests(socks))
        for sock in socks:
            self.lives.by_sides.add(digest(sock), sock)
            self._ages[sock] = self._made = self._made + 1

    def _forget(self, socks: list[int]) -> None:
        for sock in socks:
            del self.lives[sock]
            self.lives.by_sides.remove(digest(sock), sock)

    def _change_one(self, sock: int, width: int, *, is_deleted: bool) -> None:
        if is_deleted:
            del self.columns[sock]
            self.columns.by_sides.remove(digest(sock), sock)
            self._forget([sock])
        else:
            self.columns[sock] = frozen = self.make(width)
            if len(self.lives[sock]) != width:
                self._ages[sock] = self._made
            self.lives[sock] = frozen

    def check(self) -> None:
        columns, lives = self.columns, self.lives
        assert len(columns) == len(lives)
        assert dict(columns.each()) == lives
        assert columns.oldest_first() == sorted(lives, key=self._ages.__getitem__)
        assert columns.are_there(words(SOCKS)).tolist() == [sock in lives for sock in SOCKS]
        found: dict[int, bytes] = {}
        for which, some, _ in columns.look(words(SOCKS)):
            found.update(zip(which.tolist(), [row.tobytes() for row in some], strict=True))
        assert {SOCKS[place]: frozen for place, frozen in found.items()} == lives
        for sock in (0, *SOCKS):
            assert columns.get(sock) == lives.get(sock)
        for sock in SOCKS:
            held = lives.by_sides.of(digest(sock))
            assert sorted(columns.by_sides.of(digest(sock))) == sorted(held)
            assert columns.are_free(digests([sock])).tolist() == [not held]


@given(steps=steps)
def test_they_are_what_they_are_one_by_one(steps: list[tuple[str, list[int], int]]) -> None:
    both = Both()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows, "_LEAST_SPARE", 1)
        for what, socks, width in steps:
            both.step(what, socks, width)
            both.check()


def test_those_frozen_first_come_first() -> None:
    both = Both()
    for sock in (5, 3, 9, 1):
        both.step("add", [sock], 4 + sock)
    both.step("delete", [3], 8)
    assert both.columns.oldest_first() == list(both.lives.oldest_first()) == [5, 9, 1]


def test_two_with_the_same_sides_are_not_free() -> None:
    free = FrozenColumns().are_free(digests([64, 128, 192, 256]))
    assert free.tolist() == [True, False, False, True]


def test_what_is_not_there_is_no_key() -> None:
    columns = FrozenColumns()
    with pytest.raises(KeyError):
        columns[1]
    with pytest.raises(KeyError):
        del columns[1]


def test_room_is_given_back() -> None:
    both = Both()
    socks = list(range(64, 50_000 * 64, 64))
    both.columns.add(words(socks), both._new_rows(socks, 8), digests(socks))
    (held,) = both.columns._rows.values()
    assert len(held._rows) < 1.3 * len(socks)
    remove(both.columns, socks[1000:])
    assert len(held._rows) < 2500
    remove(both.columns, socks[:1000])
    assert not both.columns._rows


def test_one_that_is_frozen_anew_keeps_its_age() -> None:
    columns = FrozenColumns()
    for sock in (64, 128, 192, 64):
        columns[sock] = bytes(8)
    assert columns.oldest_first() == [64, 128, 192]


def test_room_is_given_back_whichever_row_goes() -> None:
    columns = FrozenColumns()
    for sock in range(1, 5001):
        columns[sock] = bytes(8)
    for sock in range(5000, 1, -1):
        del columns[sock]
    (left,) = columns._rows.values()
    assert len(left._rows) <= 2 * (1 + rows._LEAST_SPARE) + 1
