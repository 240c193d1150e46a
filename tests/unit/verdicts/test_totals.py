"""What is done where the tracker is told of few of the connections: `port --json` in bulk."""

from __future__ import annotations

from tcptrace.tcp import Endpoint
from tcptrace.verdicts.window import Plain, Slice, Totals

NETNS = 4026531840
ONE, OTHER = (Endpoint(bytes(15) + bytes([number]), 80) for number in (1, 2))


def test_one_end_gets_all_of_them() -> None:
    facts = Slice(0)
    facts.plain[NETNS, ONE] = Plain(3, 3, 30)
    facts.connects[NETNS] = 6
    assert facts.complete(Totals(Plain(600, 600, 6000), 300))
    assert facts.plain[NETNS, ONE] == Plain(600, 600, 6000)
    assert facts.connects[NETNS] == 300


def test_between_several_nobody_can_tell() -> None:
    facts = Slice(0)
    facts.plain[NETNS, ONE] = Plain(20, 20, 0)
    facts.plain[NETNS, OTHER] = Plain(20, 20, 0)
    assert not facts.complete(Totals(Plain(600, 600, 0), 0))
    assert facts.plain[NETNS, ONE].lives == 20


def test_of_connects_from_several_namespaces_neither() -> None:
    facts = Slice(0)
    facts.connects.update({NETNS: 6, NETNS + 1: 6})
    assert not facts.complete(Totals(Plain(), 300))


def test_calls_to_one_end_are_all_of_them_and_to_several_are_not_known() -> None:
    facts = Slice(0)
    facts.connects[NETNS] = 6
    facts.calls[NETNS, ONE] = 6
    assert facts.complete(Totals(Plain(), 300))
    assert facts.calls == {(NETNS, ONE): 300}
    facts.calls[NETNS, OTHER] = 1
    assert facts.complete(Totals(Plain(), 400))
    assert facts.calls == {}


def test_where_all_were_told_of_nothing_is_missing() -> None:
    facts = Slice(0)
    facts.plain[NETNS, ONE] = Plain(20, 20, 0)
    facts.plain[NETNS, OTHER] = Plain(20, 20, 0)
    facts.connects[NETNS] = 6
    assert facts.complete(Totals(Plain(40, 40, 0), 6))
