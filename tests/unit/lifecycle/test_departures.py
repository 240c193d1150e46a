"""Namespaces that are gone, or seem to be."""

from __future__ import annotations

import pytest

from tcptrace.lifecycle.departures import IDLE_NS, SILENT_NS, Departures
from tcptrace.lifecycle.healing import Healing
from tcptrace.tcp import State
from tcptrace.wire.events import Kind
from unit import samples
from unit.lifecycle.seen import counted
from unit.lifecycle.steps import CONNECTING, connect, listen, open_client
from unit.lifecycle.stream import CLIENT, HERE, Lives, Stream
from unit.lifecycle.tallies import new_tally

ELSEWHERE = HERE + 1


class Host:
    """A connection and a listener here, of which no end was told."""

    def __init__(self, most: int = 10) -> None:
        self.stream = Stream()
        listen(self.stream)
        open_client(self.stream)
        self.tally = new_tally()
        lives = Lives(self.tally)
        self.tracker = lives.tracker
        self.tracker._registry.most = most
        self.tracker.feed(self.stream.records)
        self.tally.heard.clear()
        self.healing = Healing()
        self.departures = Departures(self.tracker, self.tally, self.healing)
        self.later_ns = self.stream.now_ns + 60 * samples.S

    def lose(self) -> None:
        """A snapshot has not covered this namespace since."""
        self.healing.lose(self.stream.now_ns)
        self.healing.begin(self.later_ns)
        self.healing.end(self.later_ns, set(), (HERE,), is_whole=True)

    def look(self, *watched: int, every_s: int = 60, for_ns: int) -> None:
        """So often for so long, the first time at once."""
        until_ns = self.later_ns + for_ns
        while self.later_ns <= until_ns:
            self.departures.look(set(watched), self.later_ns)
            self.later_ns += every_s * samples.S

    @property
    def count(self) -> dict[State, int]:
        return {state: count for (_, _, state), count in counted(self.tracker).items()}


OPEN = {State.LISTEN: 1, State.ESTABLISHED: 1}


@pytest.fixture
def host() -> Host:
    host = Host()
    assert host.count == OPEN
    return host


def test_what_was_in_a_namespace_that_is_gone_is_over(host: Host) -> None:
    host.lose()
    host.departures.leave({ELSEWHERE}, host.later_ns)
    assert host.count == OPEN
    host.departures.leave({HERE}, host.later_ns)
    assert host.count == {}
    assert host.tracker.healed == 1
    assert not host.healing.is_suspect


def test_but_not_what_has_just_begun(host: Host) -> None:
    """Its number may be another's already."""
    host.lose()
    host.departures.leave({HERE}, host.stream.now_ns)
    assert host.count == OPEN
    assert host.healing.unhealed == {HERE}


def test_what_was_told_of_just_before_it_was_left_is_over_a_second_later(host: Host) -> None:
    """The usual case when a container is killed; what came after it was left is another's."""
    host.lose()
    left_ns = host.stream.now_ns + samples.S // 2
    host.departures.leave({HERE}, left_ns)
    later = Stream(left_ns)
    connect(later, 0x51)
    host.tracker.feed(later.records)
    for second in range(1, 4):
        host.departures.leave({ELSEWHERE} if second == 2 else set(), left_ns + second * samples.S)
    assert host.count == {State.SYN_SENT: 1}


def test_once_nothing_is_counted_there_it_is_in_doubt_no_more(host: Host) -> None:
    host.lose()
    left_ns = host.stream.now_ns + samples.S // 2
    host.departures.leave({HERE}, left_ns)
    assert host.healing.is_suspect
    host.departures.leave(set(), left_ns + samples.S)
    assert (host.count, host.healing.is_suspect) == ({}, False)


def test_folded_ones_are_over_too(host: Host) -> None:
    counts = host.tracker.counts
    place = counts.add_folded(HERE, "ipv4", State.ESTABLISHED)
    counts.add_folded(ELSEWHERE, "ipv4", State.ESTABLISHED)
    host.departures.leave({HERE}, host.later_ns)
    assert not any(place.by_state)
    assert counts.occupied == {ELSEWHERE}
    assert host.tracker.healed == 2


@pytest.mark.parametrize("every_s", [5, 60, 700])
def test_sockets_whose_ends_may_be_lost_keep_a_namespace_for_an_hour_of_silence(
    host: Host, every_s: int
) -> None:
    """However often snapshots are taken: losses make them come every few seconds."""
    host.lose()
    host.look(every_s=every_s, for_ns=SILENT_NS - 1)
    assert host.count == OPEN
    host.look(for_ns=0)
    assert host.count == {}
    assert not host.tracker.counts.namespaces
    assert not host.tally.namespaces
    assert not host.healing.is_suspect


def test_any_record_breaks_the_silence(host: Host) -> None:
    host.lose()
    for _ in range(3):
        again = Stream(host.later_ns)
        again.tell(Kind.SYNACK_RETRANSMITTED, CONNECTING, CLIENT)
        host.tally.fed(again.records)
        host.look(for_ns=SILENT_NS - 1)
    assert host.count == OPEN


@pytest.mark.parametrize("is_watched", [False, True])
def test_sockets_that_no_loss_has_touched_keep_it_for_ever(host: Host, is_watched: bool) -> None:
    if is_watched:
        host.lose()
    host.look(*[HERE] * is_watched, for_ns=3 * SILENT_NS)
    assert host.count == OPEN


@pytest.mark.parametrize("every_s", [5, 60])
def test_without_sockets_and_news_it_is_forgotten_soon(host: Host, every_s: int) -> None:
    host.lose()
    host.tracker.leave({HERE}, host.later_ns)
    host.look(every_s=every_s, for_ns=IDLE_NS - 1)
    assert host.tracker.counts.namespaces == [HERE]
    assert host.healing.is_suspect
    host.look(for_ns=0)
    assert not host.healing.is_suspect
    assert not host.tracker.counts.namespaces
