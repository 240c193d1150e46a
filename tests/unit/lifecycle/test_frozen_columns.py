"""Frozen lives are the same in columns as one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcptrace.lifecycle import rows
from tcptrace.lifecycle.ends import SIDES, digest_of
from tcptrace.lifecycle.frozen_columns import FrozenColumns, digests_of
from tcptrace.lifecycle.frozen_lives import FrozenLives

if TYPE_CHECKING:
    from collections.abc import Sequence

SOCKS = range(1, 60)
some_socks = st.lists(st.sampled_from(SOCKS), unique=True)
steps = st.lists(
    st.tuples(st.sampled_from(["add", "remove", "change", "set", "delete"]), some_socks, st.just(8))
    | st.tuples(st.sampled_from(["add", "set"]), some_socks, st.sampled_from([4, 8, 12]))
)


def words(numbers: Sequence[int]) -> Any:
    return np.array(numbers, np.uint64)


def sides_of(socks: Sequence[int]) -> Any:
    """Two by two they have the same."""
    packed = [SIDES.pack(b"local", sock // 2, b"remote", 80) for sock in socks]
    return np.frombuffer(b"".join(packed), np.uint8).reshape(-1, SIDES.size)


class Both:
    """Columns, and what is told the same and has no columns."""

    def __init__(self) -> None:
        self.columns, self.lives = FrozenColumns(), FrozenLives()
        self._made = 0

    def make(self, width: int) -> bytes:
        self._made += 1
        return self._made.to_bytes(width, "little")

    def step(self, what: str, socks: list[int], width: int) -> None:
        mine = [sock for sock in socks if sock in self.lives]
        others = [sock for sock in socks if sock not in self.lives]
        if what == "add":
            self._add(others, width)
        elif what == "remove":
            self.columns.remove(words(mine), digests_of(sides_of(mine)))
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
            self.columns.add(
                words(socks), self._new_rows(socks, width), digests_of(sides_of(socks))
            )
        for sock, sides in zip(socks, sides_of(socks), strict=True):
            self.lives.by_sides.add(digest_of(sides.tobytes()), sock)

    def _forget(self, socks: list[int]) -> None:
        for sock, sides in zip(socks, sides_of(socks), strict=True):
            del self.lives[sock]
            self.lives.by_sides.remove(digest_of(sides.tobytes()), sock)

    def _change_one(self, sock: int, width: int, *, is_deleted: bool) -> None:
        if is_deleted:
            del self.columns[sock]
            self.columns.by_sides.remove(digest_of(sides_of([sock]).tobytes()), sock)
            self._forget([sock])
        else:
            self.columns[sock] = frozen = self.make(width)
            self.lives[sock] = frozen

    def check(self) -> None:
        columns, lives = self.columns, self.lives
        assert len(columns) == len(lives)
        assert dict(columns.each()) == lives
        assert set(columns.oldest_first()) == set(lives)
        assert columns.are_there(words(SOCKS)).tolist() == [sock in lives for sock in SOCKS]
        found: dict[int, bytes] = {}
        for which, some in columns.look(words(SOCKS)):
            found.update(zip(which.tolist(), [row.tobytes() for row in some], strict=True))
        assert {SOCKS[place]: frozen for place, frozen in found.items()} == lives
        for sock in (0, *SOCKS):
            assert columns.get(sock) == lives.get(sock)
        for sock in SOCKS:
            digest = digest_of(sides_of([sock]).tobytes())
            held = lives.by_sides.of(digest)
            assert sorted(columns.by_sides.of(digest)) == sorted(held)
            assert columns.are_free(words([digest])).tolist() == [not held]


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
    free = FrozenColumns().are_free(digests_of(sides_of([1, 2, 3, 4])))
    assert free.tolist() == [True, False, False, True]


def test_what_is_not_there_is_no_key() -> None:
    columns = FrozenColumns()
    with pytest.raises(KeyError):
        columns[1]
    with pytest.raises(KeyError):
        del columns[1]


def test_room_is_given_back() -> None:
    both = Both()
    socks = list(range(1, 50_000))
    both.columns.add(words(socks), both._new_rows(socks, 8), digests_of(sides_of(socks)))
    (held,) = both.columns._rows.values()
    assert len(held._rows) < 1.3 * len(socks)
    some = words(socks[1000:])
    both.columns.remove(some, None)
    assert len(held._rows) < 2500
    both.columns.remove(words(socks[:1000]), None)
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
