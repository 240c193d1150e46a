from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tcptrace.kernel import lookup as module
from tcptrace.kernel.lookup import Lookup
from tcptrace.lifecycle.names import Known

if TYPE_CHECKING:
    from collections.abc import Iterator


class World:
    """Things with numbers and names, a clock, and how long it takes to come across one."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.things: dict[int, str] = {}
        self.step_s = 0.0
        self.now_s = 1000.0
        self.walks = 0
        self.known: Known[int, str] = Known()
        monkeypatch.setattr("time.monotonic", lambda: self.now_s)
        self.lookup = Lookup(self._walk, self.known)

    def _walk(self) -> Iterator[tuple[int, str] | None]:
        self.walks += 1
        for thing in list(self.things.items()):
            self.now_s += self.step_s
            yield thing

    def want(self, *numbers: int) -> None:
        self.lookup.want(numbers)
        self.lookup.look()


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


def test_what_is_new_is_found_at_once(world: World) -> None:
    world.lookup.walk_once()
    world.things[7] = "seven"
    world.want(7)
    assert world.known == {7: "seven"}


def test_a_name_is_kept_when_what_it_named_is_gone(world: World) -> None:
    world.things = {7: "seven", 8: "eight"}
    world.want(7)
    world.things.clear()
    world.want(7, 8)
    assert world.known == {7: "seven", 8: "eight"}


def test_what_was_not_found_is_not_looked_for_again(world: World) -> None:
    world.want(9)
    world.now_s += 1000
    world.want(9)
    assert world.walks == 1
    assert world.known == {}


def test_nobody_asks_nothing_is_walked(world: World) -> None:
    world.things[7] = "seven"
    world.want(0)
    assert world.walks == 0


def test_a_long_walk_is_done_in_slices_and_walks_have_a_share_of_the_time(world: World) -> None:
    world.things = {number: str(number) for number in range(1, 1001)}
    world.step_s = 0.005
    world.want(1000)
    began_s = world.now_s
    looks = 0
    while 1000 not in world.known:
        looks += 1
        assert looks < 10_000
        before_s = world.now_s
        world.lookup.look()
        assert world.now_s - before_s <= 0.03
        world.now_s += 0.01
    assert world.walks == 1
    took_s = 1000 * world.step_s
    assert world.now_s - began_s > 4 * took_s


def test_a_short_walk_has_no_rests(world: World) -> None:
    world.things = {number: str(number) for number in range(1, 71)}
    world.step_s = 0.005
    world.lookup.want([70])
    began_s = world.now_s
    while world.lookup.is_due():
        world.lookup.look()
    assert world.known == {70: "70"}
    assert world.now_s - began_s == pytest.approx(70 * world.step_s)


def test_what_comes_while_it_walks_is_looked_for_in_the_next_walk(world: World) -> None:
    world.things = {number: str(number) for number in range(1, 11)}
    world.step_s = 0.011
    world.want(10)
    world.things[11] = "late"
    world.lookup.want([11])
    for _ in range(50):
        world.now_s += 1
        world.lookup.look()
    assert world.known[11] == "late"
    assert world.walks == 2


def test_there_are_only_so_many_of_each(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_WALKED", 3)
    monkeypatch.setattr(module, "_MOST_PENDING", 5)
    world.things = {number: str(number) for number in range(1, 101)}
    world.lookup.walk_once()
    assert len(world.lookup._walked) == 3
    world.lookup.want(range(1, 101))
    assert len(world.lookup._pending) == 5
    world.lookup.look()
    assert len(world.known) == 8


def test_the_oldest_names_go_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tcptrace.lifecycle.names.MOST_NAMES", 2)
    known: Known[int, str] = Known()
    for number in range(4):
        known.learn(number, str(number))
    assert known == {2: "2", 3: "3"}
    assert known.changes == 4
