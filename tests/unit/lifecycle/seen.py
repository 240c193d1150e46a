"""Snapshots as the probes tell of them, and sockets counted by hand."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from tcptrace.lifecycle.connection import Role
from tcptrace.tcp import State, family_name
from tcptrace.wire.events import Kind, Record
from unit.lifecycle.stream import Stream

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tcptrace.lifecycle.tracker import Tracker
    from unit.lifecycle.model.end import Object

S = State
Count = Counter[tuple[int, str, State]]


def finding(sock: int, found: Object, at_ns: int) -> Record:
    stream = Stream(at_ns)
    old = S.TIME_WAIT if found.is_timewait else found.state
    stream.tell(
        Kind.SEEN, sock, found.ends, origin=found.origin, old_state=old, new_state=found.state
    )
    return stream.records[0]._replace(at_ns=at_ns)


def findings(objects: Mapping[int, Object], at_ns: int) -> list[Record]:
    return [finding(sock, found, at_ns) for sock, found in objects.items() if found.is_hashed]


def take_snapshot(
    tracker: Tracker, objects: Mapping[int, Object], at_ns: int, netns: Iterable[int]
) -> None:
    """A snapshot during which nothing else happens."""
    tracker.begin_snapshot(at_ns, {})
    tracker.feed(findings(objects, at_ns))
    tracker.end_snapshot(set(netns))


def played(objects: Mapping[int, Object]) -> Count:
    """What the model's kernel has."""
    count: Count = Counter()
    for found in objects.values():
        ends = found.ends
        address = ends.local.address if found.state is S.LISTEN else ends.remote.address
        count[ends.netns, family_name(address), found.state] += 1
    return count


def counted(tracker: Tracker) -> Count:
    """What the tracker says that there is."""
    count: Count = Counter()
    for (netns, family), cells in tracker.counts.sockets.items():
        assert all(cell >= 0 for cell in cells)
        count.update({(netns, family, state): cells[state] for state in S if cells[state]})
    return count


def check_counts(tracker: Tracker) -> None:
    """The counts are what a walk over all lives and listeners comes to."""
    registry = tracker._registry
    lives = [life.connection for life in registry.objects.peek()]
    assert tracker.open_count == len(lives) + len(registry._held) + len(registry.waiting)
    count: Count = Counter()
    for life in lives:
        if life.state is not None and life.state is not S.CLOSE:
            count[life.netns, life.family_name, life.state] += 1
    for netns, place in tracker.counts.places():
        family = next(name for name, one in tracker.counts._places[netns].items() if one is place)
        count.update({(netns, family, state): place.folded[state] for state in S})
    count = +count
    for listener in registry.listeners._open.values():
        count[listener.netns, family_name(listener.local.address), S.LISTEN] += 1
    assert counted(tracker) == count
    for netns in tracker.counts.namespaces:
        for state in (S.CLOSE_WAIT, S.TIME_WAIT):
            those = [life for life in lives if (life.netns, life.state) == (netns, state)]
            times = tracker.counts.entered_ns(netns, state)
            assert len(times) == len(those)
            known = Counter(life.spans[-1].at_ns for life in those if not life.partial)
            assert known <= Counter(times)
            if state is S.TIME_WAIT:
                roles = Counter(life.role for life in those)
                places = tracker.counts._places[netns].values()
                roles[Role.UNKNOWN] += sum(place.folded[state] for place in places)
                assert tracker.counts.time_waits(netns) == {
                    role: roles[role] for role in tracker.counts.time_waits(netns)
                }
