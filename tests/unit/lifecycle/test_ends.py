from __future__ import annotations

from dataclasses import replace

from tcptrace.lifecycle.ends import Ends, is_known
from tcptrace.lifecycle.life import Life
from tcptrace.tcp import Endpoint
from unit import samples


def client() -> Life:
    """Of samples.server, still connecting."""
    life = samples.client(number=1)
    del life.spans[1:]
    return Life(replace(life, local=samples.server().remote, remote=samples.server().local))


def server(number: int = 2) -> Life:
    return Life(replace(samples.server(number=number), peer_id=None))


def peers(*lives: Life) -> list[int | None]:
    return [life.connection.peer_id for life in lives]


def test_two_ends_name_each_other_whoever_comes_first() -> None:
    for swap in (False, True):
        one, other = client(), server()
        one.connection.peer_id = None
        ends = Ends()
        for life in (other, one) if swap else (one, other):
            life.connection.spans[1:] = []
            ends.add(life, samples.START)
        assert peers(one, other) == [2, 1]


def test_a_removed_life_is_not_found() -> None:
    ends, one = Ends(), client()
    ends.add(one, samples.START)
    ends.remove(one)
    ends.remove(one)
    assert len(ends) == 0
    other = server()
    ends.add(other, samples.START)
    assert other.connection.peer_id is None


def test_a_successor_stays_when_its_predecessor_is_removed() -> None:
    ends, former, successor = Ends(), server(2), server(3)
    ends.add(former, samples.START)
    ends.add(successor, samples.START)
    ends.remove(former)
    connection = successor.connection
    assert ends.find(connection.netns, connection.local, connection.remote) is successor


def test_a_new_name_leaves_nothing_of_the_old_one() -> None:
    """connect() may be seen with one port, and then another: the last one counts."""
    ends, one = Ends(), client()
    ends.add(one, samples.START)
    before = len(ends)
    one.connection.local = Endpoint(one.connection.local.address, 1)
    ends.add(one, samples.START)
    assert len(ends) == before


def test_one_in_time_wait_meets_nobody() -> None:
    ends = Ends()
    waiting = Life(replace(samples.client(), peer_id=None))
    other = Life(
        replace(samples.server(), local=waiting.connection.remote, remote=waiting.connection.local)
    )
    ends.add(waiting, samples.START)
    ends.add(other, samples.START)
    assert peers(waiting, other) == [None, None]


def test_known_ends_have_both_ports() -> None:
    connection = samples.client()
    assert is_known(connection)
    assert not is_known(replace(connection, local=Endpoint(connection.local.address, 0)))
