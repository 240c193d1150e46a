from __future__ import annotations

import pytest

from tcptrace.lifecycle import listeners as module
from tcptrace.lifecycle import unkept
from tcptrace.lifecycle.listeners import MOST_CLOSED, Listeners
from tcptrace.tcp import Endpoint, State
from tcptrace.wire.events import Kind, Record, Stage
from unit import samples

LISTENER = 5


def listening(at_ns: int = 1, sock: int = LISTENER) -> Record:
    return samples.record(at_ns, sock=sock)._replace(
        old_state=State.CLOSE, new_state=State.LISTEN, accept_queue_limit=3
    )


def refusal(stage: Stage = Stage.SYN_ACCEPT_QUEUE_FULL, accept_queue_len: int = 0) -> Record:
    return samples.record(2, Kind.SYN_DROPPED, 0)._replace(
        stage=stage, accept_queue_len=accept_queue_len, accept_queue_limit=4, syn_queue_len=1
    )


def test_opened_and_closed() -> None:
    listeners = Listeners()
    listeners.open(listening(1))
    assert listeners.is_open(LISTENER)
    listeners.close(samples.record(9, sock=LISTENER))
    assert not listeners.is_open(LISTENER)
    (listener,) = listeners.all
    assert (listener.opened_at_ns, listener.closed_at_ns) == (1, 9)
    assert listener.process == samples.WEB
    assert listener.accept_queue_limit == 3


def test_listening_again_is_another_listener() -> None:
    listeners = Listeners()
    listeners.open(listening(1))
    listeners.open(listening(7))
    first, second = listeners.all
    assert (first.opened_at_ns, first.closed_at_ns) == (1, 7)
    assert (second.opened_at_ns, second.closed_at_ns) == (7, None)


def test_closing_what_is_unknown_is_nothing() -> None:
    listeners = Listeners()
    listeners.close(samples.record(9, sock=LISTENER))
    assert listeners.all == []


@pytest.mark.parametrize("end", [samples.server().local, samples.v6().local])
def test_one_from_before_the_trace_is_known_by_its_port_alone(end: Endpoint) -> None:
    """Not by the packet's address: it may be bound to any."""
    listeners = Listeners()
    listeners.see(refusal()._replace(local=end.address, local_port=end.port), LISTENER)
    (listener,) = listeners.all
    assert listener.local.port == end.port
    assert listener.local.is_ipv4 == end.is_ipv4
    assert str(listener.local).startswith("0.0.0.0" if end.is_ipv4 else "[::]")  # noqa: S104
    assert listener.process is None


def test_peaks_and_the_limit() -> None:
    """listen() called again changes the limit, and no hook tells: the next record does."""
    listeners = Listeners()
    listeners.open(listening())
    for accept_queue_len in (1, 5, 2):
        listener = listeners.see(refusal(accept_queue_len=accept_queue_len), LISTENER)
    assert (listener.accept_queue_peak, listener.syn_queue_peak) == (5, 1)
    assert listener.accept_queue_limit == 4


def test_drops_by_stage() -> None:
    listeners = Listeners()
    for stage in (Stage.OTHER, Stage.ACK_ACCEPT_QUEUE_FULL, Stage.OTHER):
        listeners.drop(refusal(stage), LISTENER)
    listeners.drop(refusal()._replace(stage=77), LISTENER)
    (listener,) = listeners.all
    assert listener.drops == {Stage.OTHER: 3, Stage.ACK_ACCEPT_QUEUE_FULL: 1}


class TestConnectionsThatWaitWhenItCloses:
    def test_are_lost_with_it(self) -> None:
        listeners = Listeners()
        listeners.open(listening())
        closed = listeners.close(samples.record(9, sock=LISTENER)._replace(accept_queue_len=3))
        (listener,) = listeners.all
        assert closed is listener
        assert listener.drops == {Stage.LISTENER_CLOSED: 3}

    def test_of_one_never_seen_are_told_with_its_address(self) -> None:
        listeners = Listeners()
        record = samples.record(9, sock=LISTENER)._replace(accept_queue_len=2)
        listeners.close(record)
        (listener,) = listeners.all
        assert listener.local.address == record.local
        assert (listener.opened_at_ns, listener.closed_at_ns) == (None, 9)
        assert listener.drops == {Stage.LISTENER_CLOSED: 2}


class TestManyClosed:
    def test_the_oldest_are_added_up(self) -> None:
        listeners = Listeners()
        for number in range(MOST_CLOSED + 5):
            listeners.open(listening(number, sock=number))
            listeners.drop(refusal(Stage.OTHER), number)
            listeners.close(samples.record(number, sock=number))
        assert len(listeners) == MOST_CLOSED
        oldest, *others = listeners.all
        assert (oldest.folded, oldest.drops) == (5, {Stage.OTHER: 5})
        assert [listener.opened_at_ns for listener in others] == [*range(5, MOST_CLOSED + 5)]
        assert sum(listener.drops[Stage.OTHER] for listener in listeners.all) == MOST_CLOSED + 5

    def test_one_object_again_and_again(self) -> None:
        listeners = Listeners()
        for at_ns in range(MOST_CLOSED + 5):
            listeners.open(listening(at_ns))
            listeners.close(samples.record(at_ns, sock=LISTENER))
        listeners.drop(refusal(Stage.LISTENER_CLOSED), LISTENER)
        assert listeners.all[-1].drops == {Stage.LISTENER_CLOSED: 1}


class TestRequestsThatOutliveTheirListener:
    def test_count_on_it(self) -> None:
        listeners = Listeners()
        listeners.open(listening())
        listeners.close(samples.record(9, sock=LISTENER))
        for _ in range(2):
            listeners.drop(refusal(Stage.LISTENER_CLOSED), LISTENER)
        (listener,) = listeners.all
        assert listener.drops == {Stage.LISTENER_CLOSED: 2}

    def test_open_none_if_it_was_never_seen(self) -> None:
        listeners = Listeners()
        for _ in range(2):
            listeners.drop(refusal(Stage.LISTENER_CLOSED), LISTENER)
        (listener,) = listeners.all
        assert listener.drops == {Stage.LISTENER_CLOSED: 2}
        assert not listeners.is_open(LISTENER)


class TestMoreThanAreKept:
    @pytest.fixture(autouse=True)
    def _one_is_kept(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "MOST_OPEN", 1)
        monkeypatch.setattr(unkept, "MOST_UNKEPT", 3)

    def opened(self, *socks: int) -> Listeners:
        listeners = Listeners()
        for sock in socks:
            listeners.open(listening(1, sock))
        return listeners

    def opens(self, listeners: Listeners) -> list[int]:
        return [sock for sock in range(10) if listeners.is_open(sock)]

    def test_it_is_known_which_of_them_are_open(self) -> None:
        listeners = self.opened(1, 2, 3)
        assert self.opens(listeners) == [1, 2, 3]
        listeners.close(samples.record(9, sock=2))
        assert self.opens(listeners) == [1, 3]
        for sock in (1, 3):
            listeners.close(samples.record(9, sock=sock))
        assert self.opens(listeners) == []

    def test_so_many_that_nobody_knows(self) -> None:
        """Any object may be one of them, until there are fewer."""
        listeners = self.opened(1, 2, 3, 4, 5)
        assert self.opens(listeners) == [*range(10)]
        listeners.close(samples.record(9, sock=4))
        assert self.opens(listeners) == [1, 2, 3]

    def test_what_waited_in_one_is_lost_with_it(self) -> None:
        listeners = self.opened(1, 2)
        listeners.close(samples.record(9, sock=2)._replace(accept_queue_len=3))
        assert listeners.all[0].drops == {Stage.LISTENER_CLOSED: 3}

    def test_those_that_a_snapshot_does_not_find_are_gone(self) -> None:
        listeners = self.opened(1, 2, 3)
        netns = listening().netns
        for sock in (1, 3):
            listeners.sight(listening(50, sock), None)
        listeners.lose_unseen({netns + 1}, 40)
        assert self.opens(listeners) == [1, 2, 3]
        for sock in (1, 3):
            listeners.sight(listening(50, sock), None)
        listeners.lose_unseen({netns}, 1)
        assert self.opens(listeners) == [1, 2, 3]  # it may have come too late to be found
        for sock in (1, 3):
            listeners.sight(listening(50, sock), None)
        listeners.lose_unseen({netns}, 40)
        assert self.opens(listeners) == [1, 3]

    def test_another_listener_in_the_same_object(self) -> None:
        """The end of the first was lost."""
        listeners = self.opened(1, 2)
        listeners.close(samples.record(9, sock=1))
        listeners.open(listening(10, 2))
        assert listeners.find(2) is not None
        listeners.close(samples.record(11, sock=2))
        assert self.opens(listeners) == []

    def test_one_that_is_kept_again(self) -> None:
        listeners = self.opened(1, 2)
        listeners.close(samples.record(9, sock=1))
        listeners.sight(listening(50, 2), None)
        assert listeners.find(2) is not None
        listeners.close(samples.record(60, sock=2))
        assert self.opens(listeners) == []
