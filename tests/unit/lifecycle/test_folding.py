"""Beyond the limit sockets are counted, not kept; and the counts stay right."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

from tcptrace.lifecycle import folding, listeners
from tcptrace.lifecycle import registry as registry_module
from tcptrace.lifecycle.connection import Partial, Role
from tcptrace.lifecycle.life import MOST_SPANS
from tcptrace.tcp import State
from tcptrace.wire.events import Kind, Stage
from unit import samples
from unit.lifecycle.model.end import Object
from unit.lifecycle.seen import check_counts, finding
from unit.lifecycle.steps import TIMEWAIT, enter_timewait, kill_timewait, open_client
from unit.lifecycle.stream import CLIENT, HERE, LISTENING, Ends, Lives, Stream, story
from unit.lifecycle.tallies import new_tally

if TYPE_CHECKING:
    from collections.abc import Callable

S = State
IDLE = 60 * samples.MS
FIRST_SOCK = 0x1000


def ends_of(number: int) -> Ends:
    return CLIENT._replace(remote=CLIENT.remote._replace(port=1 + number))


def found(number: int, state: State, stream: Stream) -> None:
    """A snapshot finds a socket."""
    stream.records.append(
        finding(FIRST_SOCK + number, Object(ends_of(number), state), stream.now_ns)
    )


class Watched:
    """Lives of which few are kept."""

    def __init__(self, most: int) -> None:
        self.lives = Lives(new_tally(), most)
        self.tracker = self.lives.tracker
        self.stream = Stream()

    def feed(self) -> None:
        self.tracker.feed(self.stream.records)
        self.stream.records.clear()
        check_counts(self.tracker)

    def establish(self, count: int) -> None:
        """So many connections, which are idle then."""
        for number in range(count):
            self.stream.goes(FIRST_SOCK + number, ends_of(number), S.SYN_RECV, S.ESTABLISHED)
        self.stream.wait(IDLE)
        self.feed()
        self.stream.tell(Kind.RESET_SENT, 1, CLIENT)
        self.feed()

    def close(self, number: int) -> None:
        self.stream.goes(FIRST_SOCK + number, ends_of(number), S.ESTABLISHED, S.CLOSE)
        self.feed()

    def snapshot(self, *steps: Callable[[], None]) -> None:
        self.tracker.begin_snapshot(self.stream.now_ns, {})
        for step in steps:
            step()
            self.feed()
        self.stream.wait(2 * samples.S)
        self.tracker.end_snapshot({HERE})
        check_counts(self.tracker)

    def find(self, *numbers: int, state: State = S.ESTABLISHED) -> Callable[[], None]:
        def step() -> None:
            for number in numbers:
                found(number, state, self.stream)

        return step

    @property
    def count(self) -> Counter[State]:
        cells = self.tracker.counts.sockets.get((HERE, "ipv4"), [0] * 13)
        return Counter({state: cells[state] for state in S if cells[state]})


@pytest.fixture
def watched() -> Watched:
    return Watched(3)


def test_what_is_folded_counts_on_and_leaves_its_state_when_a_record_says_so(
    watched: Watched,
) -> None:
    watched.establish(10)
    assert watched.tracker.open_count == 3
    assert watched.tracker.folded == 7
    assert watched.count == {S.ESTABLISHED: 10}
    watched.stream.goes(FIRST_SOCK, ends_of(0), S.ESTABLISHED, S.CLOSE_WAIT)
    watched.feed()
    assert watched.count == {S.ESTABLISHED: 9, S.CLOSE_WAIT: 1}
    watched.stream.goes(FIRST_SOCK, ends_of(0), S.CLOSE_WAIT, S.LAST_ACK, S.CLOSE)
    watched.feed()
    assert watched.count == {S.ESTABLISHED: 9}
    told = "unknown | ESTABLISHED→CLOSE_WAIT→LAST_ACK→CLOSE | remote fin | closed | folded"
    assert [story(life) for life in watched.lives.ended] == [told]


def test_the_oldest_go_first_but_those_in_close_wait_last(watched: Watched) -> None:
    watched.stream.goes(FIRST_SOCK, ends_of(0), S.ESTABLISHED, S.CLOSE_WAIT)
    for number in range(1, 5):
        watched.stream.goes(FIRST_SOCK + number, ends_of(number), S.SYN_RECV, S.ESTABLISHED)
    watched.stream.wait(IDLE)
    watched.stream.tell(Kind.RESET_SENT, 1, CLIENT)
    watched.feed()
    kept = list(watched.tracker._registry.objects.peek())
    assert [life.sock - FIRST_SOCK for life in kept] == [0, 3, 4]
    assert watched.tracker.counts.entered_ns(HERE, S.CLOSE_WAIT)


def test_what_is_not_idle_is_kept(watched: Watched) -> None:
    for number in range(10):
        watched.stream.goes(FIRST_SOCK + number, ends_of(number), S.SYN_RECV, S.ESTABLISHED)
    watched.feed()
    assert watched.tracker.open_count == 10


def test_unless_there_is_far_too_much_of_it(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry_module, "MOST_BUSY", 4)
    for number in range(10):
        watched.stream.goes(FIRST_SOCK + number, ends_of(number), S.SYN_RECV, S.ESTABLISHED)
    watched.feed()
    assert watched.tracker.open_count == 3
    assert watched.count == {S.ESTABLISHED: 10}


def test_a_time_wait_socket_that_is_folded_ends_and_holds_no_role_meanwhile() -> None:
    watched = Watched(0)
    open_client(watched.stream)
    enter_timewait(watched.stream)
    watched.stream.wait(IDLE)
    watched.stream.tell(Kind.RESET_SENT, 1, CLIENT)
    watched.feed()
    counts = watched.tracker.counts
    assert watched.tracker.open_count == 0
    assert watched.count == {S.TIME_WAIT: 1}
    assert counts.time_waits(HERE)[Role.UNKNOWN] == 1
    assert counts.entered_ns(HERE, S.TIME_WAIT) == []
    kill_timewait(watched.stream, released=False)
    watched.feed()
    assert not watched.count
    assert not any(counts.time_waits(HERE).values())
    assert len(watched.lives.closed) == 1
    (rest,) = watched.lives.ended
    assert rest.partial == {Partial.FOLDED}
    assert rest.timewait_end == "timer"


def test_a_fin_for_a_folded_time_wait_socket() -> None:
    watched = Watched(0)
    open_client(watched.stream)
    watched.stream.goes(0x40, CLIENT, S.ESTABLISHED, S.FIN_WAIT1, S.FIN_WAIT2)
    told = {"origin": 0x40, "old_state": S.FIN_WAIT2, "new_state": S.FIN_WAIT2}
    watched.stream.tell(Kind.TIMEWAIT_ENTERED, TIMEWAIT, CLIENT, **told)  # type: ignore[arg-type]
    watched.stream.goes(0x40, CLIENT, S.FIN_WAIT2, S.CLOSE)
    watched.stream.wait(IDLE)
    watched.stream.tell(Kind.RESET_SENT, 1, CLIENT)
    watched.feed()
    assert watched.count == {S.FIN_WAIT2: 1}
    watched.stream.tell(Kind.TIMEWAIT_STATE_CHANGED, TIMEWAIT, CLIENT, new_state=S.TIME_WAIT)
    watched.feed()
    assert watched.count == {S.TIME_WAIT: 1}


def test_a_request_that_is_folded_makes_its_child(watched: Watched) -> None:
    for number in range(5):
        watched.stream.tell(Kind.SYN_QUEUED, FIRST_SOCK + number, ends_of(number), origin=9)
    watched.stream.wait(IDLE)
    watched.stream.tell(Kind.RESET_SENT, 1, CLIENT)
    watched.feed()
    assert watched.count == {S.NEW_SYN_RECV: 5, S.LISTEN: 1}
    watched.stream.tell(Kind.CHILD_CREATED, 7, ends_of(0), origin=FIRST_SOCK)
    request = FIRST_SOCK + 1
    expired = Stage.REQUEST_EXPIRED
    watched.stream.tell(Kind.REQUEST_DROPPED, request, ends_of(1), origin=9, stage=expired)
    watched.feed()
    assert watched.count == {S.NEW_SYN_RECV: 3, S.SYN_RECV: 1, S.LISTEN: 1}


class TestSnapshots:
    def test_more_than_the_limit_are_counted_and_never_kept(self, watched: Watched) -> None:
        watched.snapshot(watched.find(*range(10)))
        assert watched.tracker.open_count == 3
        assert watched.count == {S.ESTABLISHED: 10}
        watched.snapshot(watched.find(*range(10)))
        assert watched.count == {S.ESTABLISHED: 10}
        assert watched.tracker.healed == 0

    def test_it_ends_folded_ones_whose_end_was_lost(self, watched: Watched) -> None:
        watched.establish(10)
        watched.snapshot(watched.find(*range(2, 10)))
        assert watched.count == {S.ESTABLISHED: 8}
        assert watched.tracker.healed == 2

    def test_and_finds_those_whose_birth_was_lost(self, watched: Watched) -> None:
        watched.establish(10)
        watched.snapshot(watched.find(*range(12)))
        assert watched.count == {S.ESTABLISHED: 12}
        assert watched.tracker.healed == 0

    def test_one_that_was_lost_in_another_state(self, watched: Watched) -> None:
        watched.establish(10)
        watched.snapshot(watched.find(*range(1, 10)), watched.find(0, state=S.FIN_WAIT2))
        assert watched.count == {S.ESTABLISHED: 9, S.FIN_WAIT2: 1}

    @pytest.mark.parametrize("most_found", [0, 3, 100])
    def test_what_ends_meanwhile(
        self, watched: Watched, monkeypatch: pytest.MonkeyPatch, most_found: int
    ) -> None:
        """Whether it was found before or not, and known to have been or not."""
        monkeypatch.setattr(folding, "MOST_FOUND", most_found)
        watched.establish(10)
        watched.snapshot(
            watched.find(0, 1, 2, 3),
            lambda: watched.close(1),
            lambda: watched.close(4),
            watched.find(*range(5, 10)),
        )
        assert watched.count == {S.ESTABLISHED: 8}
        assert watched.tracker.healed == 0

    def test_a_birth_that_it_saw_first(self) -> None:
        watched = Watched(0)

        def queue() -> None:
            watched.stream.tell(Kind.SYN_QUEUED, FIRST_SOCK, ends_of(0), origin=9)

        watched.snapshot(watched.find(0, state=S.NEW_SYN_RECV), queue)
        assert watched.count == {S.NEW_SYN_RECV: 1, S.LISTEN: 1}

    def test_where_it_was_not_nothing_is_ended(self, watched: Watched) -> None:
        watched.establish(10)
        watched.tracker.begin_snapshot(watched.stream.now_ns, {})
        watched.tracker.end_snapshot({HERE + 1})
        assert watched.count == {S.ESTABLISHED: 10}

    def test_where_there_is_room_again_they_are_kept_again(self, watched: Watched) -> None:
        watched.establish(5)
        for number in (2, 3, 4):
            watched.close(number)
        watched.snapshot(watched.find(0, 1))
        assert watched.tracker.open_count == 2 + len(watched.tracker._registry._held)
        assert watched.count == {S.ESTABLISHED: 2}


def test_listeners_beyond_the_limit_are_counted(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listeners, "MOST_OPEN", 2)
    socks = range(0x10, 0x15)
    for sock in socks:
        watched.stream.goes(sock, LISTENING, S.CLOSE, S.LISTEN)
    watched.feed()
    assert watched.tracker.listener_count == 2
    assert watched.count == {S.LISTEN: 5}
    watched.stream.tell(Kind.SYN_DROPPED, 0, CLIENT, origin=0x14, stage=Stage.SYN_ACCEPT_QUEUE_FULL)
    watched.stream.goes(0x14, LISTENING, S.LISTEN, S.CLOSE, accept_queue_len=2)
    watched.feed()
    assert watched.count == {S.LISTEN: 4}
    rest = watched.tracker.listeners[0]
    assert rest.folded == 3
    assert rest.drops == {Stage.SYN_ACCEPT_QUEUE_FULL: 1, Stage.LISTENER_CLOSED: 2}
    listening = [Object(LISTENING, S.LISTEN) for _ in socks]
    for _ in range(2):
        watched.snapshot(
            lambda: watched.stream.records.extend(
                finding(sock, one, watched.stream.now_ns)
                for sock, one in zip(socks[:4], listening, strict=False)
            )
        )
        assert watched.count == {S.LISTEN: 4}


def test_without_an_observer_too(stream: Stream) -> None:
    lives = Lives(most=1)
    for number in range(4):
        stream.goes(FIRST_SOCK + number, ends_of(number), S.SYN_RECV, S.ESTABLISHED)
    stream.wait(IDLE)
    stream.goes(FIRST_SOCK + 9, ends_of(9), S.SYN_RECV, S.ESTABLISHED)
    lives.tracker.feed(stream.records)
    assert lives.tracker.folded == 4
    stream.records.clear()
    stream.goes(FIRST_SOCK, ends_of(0), S.ESTABLISHED, S.CLOSE)
    lives.tracker.feed(stream.records)
    lives.finish(stream.now_ns)
    assert lives.tracker.counts.folded == {S.ESTABLISHED: 3}
    assert sorted(map(story, lives.ended)) == [
        "unknown | ESTABLISHED→CLOSE | unknown | folded",
        "unknown | SYN_RECV→ESTABLISHED | open | began_before",
    ]


def test_a_life_keeps_few_states(stream: Stream) -> None:
    """The ends of all but the last were lost: it goes round and round."""
    lives = Lives()
    for _ in range(100):
        stream.goes(FIRST_SOCK, CLIENT, S.SYN_RECV, S.ESTABLISHED)
    lives.tracker.feed(stream.records)
    lives.finish(stream.now_ns)
    (life,) = lives.ended
    assert len(life.spans) == MOST_SPANS
    assert life.state is S.ESTABLISHED
