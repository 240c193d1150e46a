from __future__ import annotations

from typing import TYPE_CHECKING

from tcptrace.lifecycle import counts as module
from tcptrace.lifecycle.counts import MOST_NAMESPACES, OTHER_NETNS, StateCounts
from tcptrace.tcp import State
from unit.lifecycle.steps import CONNECTING, LISTENER, close_at_once, listen, open_client
from unit.lifecycle.stream import CLIENT, HERE, LISTENING, Lives, Stream
from unit.lifecycle.tallies import new_tally

if TYPE_CHECKING:
    import pytest

S = State


def test_beyond_the_limit_namespaces_share_a_place_for_each_family() -> None:
    counts = StateCounts()
    for netns in range(1, MOST_NAMESPACES + 3):
        counts.place(netns, "ipv4").by_state[S.LISTEN] += 1
    late = MOST_NAMESPACES + 5
    assert counts.place(late, "ipv4") is counts.place(late + 1, "ipv4")
    assert counts.place(late, "ipv4") is not counts.place(late, "ipv6")
    assert len(counts.namespaces) == MOST_NAMESPACES + 1
    assert counts.sockets[OTHER_NETNS, "ipv4"][S.LISTEN] == 2
    assert counts.sockets[1, "ipv4"][S.LISTEN] == 1


def test_what_was_counted_in_a_place_goes_from_it(
    stream: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is room for its namespace meanwhile, but what it was counted as stays."""
    monkeypatch.setattr(module, "MOST_NAMESPACES", 1)
    lives = Lives(new_tally())
    counts = lives.tracker.counts
    counts.place(1, "ipv4")
    listen(stream)
    open_client(stream)
    lives.tracker.feed(stream.records)
    assert counts.namespaces == [OTHER_NETNS, 1]
    assert counts.occupied == {OTHER_NETNS}
    counts.forget(1)
    counts.forget(OTHER_NETNS)
    monkeypatch.setattr(module, "MOST_NAMESPACES", 9)
    counts.place(HERE, "ipv4")
    stream.records.clear()
    close_at_once(stream, CONNECTING, CLIENT)
    stream.goes(LISTENER, LISTENING, S.LISTEN, S.CLOSE)
    lives.tracker.feed(stream.records)
    assert not counts.occupied
    assert not any(any(cells) for cells in counts.sockets.values())
