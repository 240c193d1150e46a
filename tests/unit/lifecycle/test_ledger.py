from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcptrace.lifecycle import ledger as module
from tcptrace.lifecycle.connection import Process
from tcptrace.lifecycle.ledger import (
    DROP_STAGES,
    KEEP_CLOSED_NS,
    PEAK_WINDOW_NS,
    Address,
    Ledger,
    Listening,
    other,
)
from tcptrace.wire.events import Stage
from unit import samples
from unit.slots import NETNS, counts, overflow, reading, slot

WEB = Address(NETNS, "0.0.0.0", 80)  # noqa: S104 - in a table
LATE_S = KEEP_CLOSED_NS / samples.S + 2


def known(ledger: Ledger) -> dict[Address, Listening]:
    return {one.address: one for one in ledger.listeners}


def the_only(ledger: Ledger) -> Listening:
    (only,) = ledger.listeners
    return only


def closed(at_s: float) -> int:
    return samples.START + int(at_s * samples.S)


def test_a_listener_is_what_its_slot_says() -> None:
    ledger = Ledger(10)
    one = slot(counts={Stage.OTHER: 2}, cgroup=7, accept_queue_len=3)
    ledger.absorb(reading(slots={1: one}, cgroups={7: "/system.slice/nginx.service"}))
    web = the_only(ledger)
    assert (web.address, web.family, web.is_open) == (WEB, "ipv4", True)
    assert web.owner == Process(1234, b"nginx")
    assert web.cgroup == "/system.slice/nginx.service"
    assert web.drops == {stage: 2 * (stage is Stage.OTHER) for stage in DROP_STAGES}
    assert (web.accept_queue_limit, web.syn_queue_limit) == (128, 128)
    assert list(web.members) == [1]


def test_a_dual_stack_listener_is_ipv6() -> None:
    ledger = Ledger(10)
    ledger.absorb(reading(slots={1: slot("::"), 2: slot("::ffff:192.0.2.1")}))
    assert [(one.address.address, one.family) for one in ledger.listeners] == [
        ("::", "ipv6"),
        ("192.0.2.1", "ipv4"),
    ]


@pytest.mark.parametrize(
    ("syncookies", "max_syn_backlog", "limit", "expected"),
    [(1, 8, 128, 128), (2, 8, 128, 128), (0, 8, 128, 6), (0, 1024, 128, 128), (0, 7, 128, 6)],
)
def test_the_syn_queues_limit(
    syncookies: int, max_syn_backlog: int, limit: int, expected: int
) -> None:
    ledger = Ledger(10)
    one = slot(syncookies=syncookies, max_syn_backlog=max_syn_backlog, accept_queue_limit=limit)
    ledger.absorb(reading(slots={1: one}))
    assert the_only(ledger).syn_queue_limit == expected


def test_a_reuseport_group_is_one_listener() -> None:
    ledger = Ledger(10)
    group = {n: slot(counts={Stage.OTHER: n}, accept_queue_limit=n) for n in (1, 2, 3)}
    ledger.absorb(reading(slots=group))
    web = the_only(ledger)
    assert (len(web.members), web.accept_queue_limit, web.drops[Stage.OTHER]) == (3, 6, 6)


def test_a_restarted_listener_counts_on() -> None:
    ledger = Ledger(10)
    first = slot(counts={Stage.OTHER: 5}, pid=1)
    ledger.absorb(reading(1, {1: first}))
    gone = first._replace(closed_at_ns=closed(1.5), counts=counts({Stage.OTHER: 6}))
    ledger.absorb(reading(2, {1: gone, 2: slot(counts={Stage.OTHER: 1}, pid=2)}))
    web = the_only(ledger)
    assert web.drops[Stage.OTHER] == 7
    assert list(web.members) == [2]
    assert web.owner == Process(2, b"nginx")


def test_what_a_closed_one_still_counts_is_not_its_successors_owner() -> None:
    ledger = Ledger(10)
    old = slot(pid=1, closed_at_ns=closed(0.5))
    ledger.absorb(reading(1, {1: slot(pid=2), 2: old}))
    ledger.absorb(reading(2, {1: slot(pid=2), 2: old._replace(counts=counts({Stage.OTHER: 1}))}))
    web = the_only(ledger)
    assert web.owner == Process(2, b"nginx")
    assert (web.is_open, web.closed_at_ns, web.drops[Stage.OTHER]) == (True, 0, 1)


def test_a_closed_listener_still_counts_and_is_forgotten_in_time() -> None:
    ledger = Ledger(10)
    gone = slot(closed_at_ns=closed(1), counts={Stage.LISTENER_CLOSED: 3})
    ledger.absorb(reading(2, {1: gone}))
    web = the_only(ledger)
    assert (web.is_open, web.accept_queue_limit, web.closed_at_ns) == (False, 0, closed(1))
    late = gone._replace(counts=counts({Stage.LISTENER_CLOSED: 3, Stage.REQUEST_EXPIRED: 2}))
    ledger.absorb(reading(3, {1: late}))
    assert web.drops[Stage.REQUEST_EXPIRED] == 2
    ledger.absorb(reading(LATE_S, {1: late}))
    assert not known(ledger)
    assert dict(ledger.sums())[NETNS] == late.counts


def test_the_last_of_a_group_to_close_counts_for_the_time() -> None:
    ledger = Ledger(10)
    group = {1: slot(closed_at_ns=closed(200)), 2: slot(closed_at_ns=closed(10))}
    ledger.absorb(reading(201, group))
    group[2] = group[2]._replace(counts=counts({Stage.OTHER: 1}))
    ledger.absorb(reading(202, group))
    assert the_only(ledger).closed_at_ns == closed(200)


def test_what_a_forgotten_listener_counts_stays_its_namespaces() -> None:
    ledger = Ledger(10)
    gone = slot(closed_at_ns=closed(1), counts={Stage.OTHER: 1})
    ledger.absorb(reading(LATE_S, {1: gone}))
    late = gone._replace(counts=counts({Stage.OTHER: 4}))
    ledger.absorb(reading(LATE_S + 1, {1: late}))
    assert dict(ledger.sums())[NETNS] == late.counts
    anew = slot(port=443, sequence=4, counts={Stage.OTHER: 10})
    ledger.absorb(reading(LATE_S + 2, {1: anew}))
    assert known(ledger).keys() == {Address(NETNS, "0.0.0.0", 443)}  # noqa: S104
    assert dict(ledger.sums())[NETNS] == counts({Stage.OTHER: 14})


def test_but_not_in_too_many_namespaces_that_nobody_watches(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MOST_HEIRS", 0)
    ledger = Ledger(10)
    gone = slot(netns=NETNS + 1, closed_at_ns=closed(1), counts={Stage.OTHER: 1})
    ledger.absorb(reading(LATE_S, {1: gone}))
    assert NETNS + 1 in dict(ledger.sums())
    ledger.absorb(reading(LATE_S + 1, {1: slot(sequence=4)}))
    assert NETNS + 1 not in dict(ledger.sums())


def test_a_listener_whose_close_was_never_read_is_forgotten_too() -> None:
    """Closed and its slot taken anew, both between two readings."""
    ledger = Ledger(10)
    ledger.absorb(reading(1, {1: slot(counts={Stage.OTHER: 1})}))
    anew = slot(port=443, sequence=4)
    ledger.absorb(reading(2, {1: anew}))
    assert not known(ledger)[WEB].is_open
    ledger.absorb(reading(LATE_S + 1, {1: anew}))
    assert WEB not in known(ledger)
    assert dict(ledger.sums())[NETNS] == counts({Stage.OTHER: 1})


def test_a_slot_that_lost_the_race_for_its_listener_is_never_told() -> None:
    """closed_at_ns 1: another CPU was first."""
    ledger = Ledger(10)
    ledger.absorb(reading(1, {1: slot("::1", closed_at_ns=1), 2: slot()}))
    assert known(ledger).keys() == {WEB}
    ledger.absorb(reading(2, {1: slot("::1", closed_at_ns=1), 2: slot()}))
    assert known(ledger).keys() == {WEB}


def test_a_listener_that_never_bound_moves_to_its_port() -> None:
    """listen() chooses the port, after the change of state at which the slot is taken."""
    ledger = Ledger(10)
    early = slot(port=0, counts={Stage.OTHER: 1})
    ledger.absorb(reading(1, {1: early}))
    ledger.absorb(reading(2, {1: early._replace(port=40000)}))
    moved = the_only(ledger)
    assert moved.address.port == 40000
    assert moved.is_open
    assert dict(ledger.sums())[NETNS] == early.counts


def test_an_address_that_one_of_two_leaves_keeps_the_others_counts() -> None:
    ledger = Ledger(10)
    two = {n: slot(port=0, counts={Stage.OTHER: n}) for n in (1, 2)}
    ledger.absorb(reading(1, two))
    ledger.absorb(reading(2, {1: two[1]._replace(port=40000), 2: two[2]}))
    drops = {one.address.port: one.drops[Stage.OTHER] for one in ledger.listeners}
    assert drops == {40000: 1, 0: 2}


def test_owners_that_are_known_later() -> None:
    """The probe writes the pid after the sequence; others come from /proc."""
    ledger = Ledger(10)
    nobody = slot(pid=0, comm=bytes(16), inode=7)
    ledger.absorb(reading(1, {1: nobody}))
    assert the_only(ledger).owner is None
    ledger.absorb(reading(2, {1: nobody}, owners={7: (5, b"found")}))
    assert the_only(ledger).owner == Process(5, b"found")
    ledger = Ledger(10)
    ledger.absorb(reading(1, {1: nobody}))
    ledger.absorb(reading(2, {1: slot(pid=9)}))
    assert the_only(ledger).owner == Process(9, b"nginx")


def test_the_overflow_slot_counts_and_has_no_queues() -> None:
    ledger = Ledger(10)
    ledger.absorb(reading(1))
    assert not known(ledger)
    for at_s in (2, 3):
        full = overflow({Stage.OTHER: at_s})._replace(accept_queue_len=77)
        ledger.absorb(reading(at_s, {0: full}))
    nameless = the_only(ledger)
    assert nameless.address == other(0)
    assert not nameless.is_open
    assert nameless.drops[Stage.OTHER] == 3
    assert dict(ledger.sums()) == {0: counts({Stage.OTHER: 3})}
    ledger.absorb(reading(LATE_S, {0: full}))
    assert the_only(ledger) is nameless


def test_listeners_beyond_the_limit_are_added_up() -> None:
    ledger = Ledger(2)
    many = {n: slot(port=n, counts={Stage.OTHER: n}) for n in range(1, 6)}
    ledger.absorb(reading(1, many))
    ports = {one.address.port: one.drops[Stage.OTHER] for one in ledger.listeners}
    assert ports == {1: 1, 2: 2, 0: 3 + 4 + 5}
    assert known(ledger)[other(NETNS)].is_open
    assert ledger.folded == 3
    many[3] = many[3]._replace(closed_at_ns=closed(1.5))
    ledger.absorb(reading(2, many))
    assert ledger.folded == 2


def test_once_another_is_forgotten_the_next_one_has_room() -> None:
    ledger = Ledger(1)
    gone = slot(port=1, closed_at_ns=closed(1))
    ledger.absorb(reading(2, {1: gone, 2: slot(port=2)}))
    assert ledger.folded == 1
    ledger.absorb(reading(LATE_S, {1: gone, 2: slot(port=2)}))
    ledger.absorb(reading(LATE_S + 1, {2: slot(port=2), 3: slot(port=3)}))
    assert Address(NETNS, "0.0.0.0", 3) not in known(ledger)  # noqa: S104 - `other` takes the place


class TestPeaks:
    def tagged(self, epoch: int, length: int) -> int:
        return (epoch << 32) + length

    def peak_after(self, epoch: int, peaks: tuple[int, int], length: int = 0) -> int:
        ledger = Ledger(10)
        one = slot(accept_queue_peaks=peaks, accept_queue_len=length)
        ledger.absorb(reading(1, {1: one}, epoch=epoch))
        return the_only(ledger).members[1].accept_queue_peak

    @pytest.mark.parametrize("epoch", [0, 1, 2, 7, 2**32 - 1])
    def test_the_epoch_that_has_ended_is_told(self, epoch: int) -> None:
        peaks = [self.tagged((epoch + 1) & 0xFFFFFFFF, 9)] * 2
        peaks[epoch & 1] = self.tagged(epoch, 5)
        assert self.peak_after(epoch, (peaks[0], peaks[1])) == 5

    def test_an_epoch_in_which_nothing_happened_has_none(self) -> None:
        """What stands there is from two epochs before."""
        assert self.peak_after(4, (self.tagged(2, 99), self.tagged(3, 88))) == 0

    def test_the_length_itself_is_a_peak(self) -> None:
        assert self.peak_after(4, (self.tagged(4, 3), 0), length=6) == 6

    @given(st.lists(st.tuples(st.integers(1, 40), st.integers(0, 100)), min_size=1, max_size=40))
    def test_it_is_the_greatest_of_the_last_minute(self, steps: list[tuple[int, int]]) -> None:
        ledger = Ledger(10)
        told: list[tuple[int, int]] = []
        at_s = 0
        for epoch, (seconds, length) in enumerate(steps):
            at_s += seconds
            told.append((at_s, length))
            peaks = [0, 0]
            peaks[epoch & 1] = self.tagged(epoch, length)
            one = slot(accept_queue_peaks=tuple(peaks), syn_queue_peaks=tuple(peaks))
            ledger.absorb(reading(at_s, {1: one}, epoch=epoch))
            member = the_only(ledger).members[1]
            window_s = PEAK_WINDOW_NS // samples.S
            expected = max(length for then, length in told if then >= at_s - window_s)
            assert member.accept_queue_peak == member.syn_queue_peak == expected
            assert member.accept_queue_fill == expected / 129


class TestHostile:
    """No kernel writes these; a recording may hold them."""

    def test_the_overflow_slots_listener_is_never_forgotten(self) -> None:
        ledger = Ledger(0)
        some = overflow({Stage.OTHER: 3})
        ended = slot(netns=0, closed_at_ns=closed(1), counts={Stage.OTHER: 4})
        for at_s in (1, LATE_S, 2 * LATE_S):
            ledger.absorb(reading(at_s, {0: some, 1: ended}))
            assert dict(ledger.sums()) == {0: counts({Stage.OTHER: 7})}

    def test_the_port_of_a_forgotten_slot_changes(self) -> None:
        ledger = Ledger(10)
        ended = slot(closed_at_ns=closed(1), counts={Stage.OTHER: 4})
        ledger.absorb(reading(1, {1: ended}))
        ledger.absorb(reading(LATE_S, {1: ended}))
        assert not known(ledger)
        more = ended._replace(port=81, counts=counts({Stage.OTHER: 5}))
        ledger.absorb(reading(LATE_S + 1, {1: more}))
        assert dict(ledger.sums()) == {NETNS: more.counts}

    def test_a_forgotten_slot_opens_again(self) -> None:
        ledger = Ledger(10)
        ended = slot(closed_at_ns=closed(1), counts={Stage.OTHER: 4})
        ledger.absorb(reading(1, {1: ended}))
        ledger.absorb(reading(LATE_S, {1: ended}))
        opened = slot(counts={Stage.OTHER: 5})
        ledger.absorb(reading(LATE_S + 1, {1: opened}))
        assert dict(ledger.sums()) == {NETNS: opened.counts}


def test_of_what_counted_nothing_nothing_is_kept() -> None:
    ledger = Ledger(10)
    ledger.absorb(reading(1, {1: slot(closed_at_ns=closed(1))}))
    ledger.absorb(reading(LATE_S, {1: slot(closed_at_ns=closed(1))}))
    assert ledger._forgotten
    ledger.absorb(reading(LATE_S + 1, {1: slot(netns=7, sequence=4)}))
    assert not ledger._forgotten
