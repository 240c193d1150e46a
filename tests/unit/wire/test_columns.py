from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcptrace.lifecycle.ends import SIDES
from tcptrace.wire import columns, framing
from tcptrace.wire.columns import words_of
from tcptrace.wire.decode import decode_batch
from tcptrace.wire.digest import digest_of
from tcptrace.wire.layout import RECORD_SIZE, STACK_SIZE
from unit import samples

if TYPE_CHECKING:
    from tcptrace.wire.framing import Framing

raw = st.integers(0, 5).flatmap(
    lambda count: st.binary(min_size=count * RECORD_SIZE, max_size=count * RECORD_SIZE)
)


@given(raw)
def test_columns_hold_what_decoding_gives(batch: bytes) -> None:
    words = words_of(batch)
    what = columns.what(words)
    records = list(decode_batch(batch))
    assert words[:, columns.AT_NS].tolist() == [one.at_ns for one in records]
    assert words[:, columns.SOCK].tolist() == [one.sock for one in records]
    assert words[:, columns.ORIGIN].tolist() == [one.origin for one in records]
    assert columns.kinds(what).tolist() == [one.kind for one in records]
    assert columns.old_states(what).tolist() == [one.old_state for one in records]
    assert columns.new_states(what).tolist() == [one.new_state for one in records]
    assert columns.flags(what).tolist() == [one.flags for one in records]
    assert columns.netns(words).tolist() == [one.netns for one in records]
    assert columns.ports(words).tolist() == [
        one.local_port | one.remote_port << 16 for one in records
    ]
    queues = words[:, columns.ACCEPT_QUEUE]
    assert columns.low(queues).tolist() == [one.accept_queue_len for one in records]
    assert (queues >> 32).tolist() == [one.accept_queue_limit for one in records]
    lengths = columns.low(words[:, columns.SYN_QUEUE])
    assert lengths.tolist() == [one.syn_queue_len for one in records]


@given(raw)
def test_what_records_tell_is_told_apart(batch: bytes) -> None:
    told = {
        (one.kind, one.family, one.old_state, one.new_state, one.error, one.stage, one.flags)
        for one in decode_batch(batch)
    }
    assert len(set(columns.what(words_of(batch)).tolist())) == len(told)


def test_prints_are_of_the_ends_alone() -> None:
    one = samples.record(1)
    alike = one._replace(sock=9, at_ns=1, origin=2, pid=3, cgroup=4)
    others = [
        one._replace(netns=99),
        one._replace(local_port=99),
        one._replace(remote_port=99),
        one._replace(local=one.remote, remote=one.local),
    ]
    first, second, *rest = columns.ends_print(words_of(samples.batch(one, alike, *others))).tolist()
    assert first == second
    assert len({first, *rest}) == 1 + len(others)


@given(raw)
def test_digests_are_those_of_each(batch: bytes) -> None:
    each = [
        digest_of(SIDES.pack(one.local, one.local_port, one.remote, one.remote_port))
        for one in decode_batch(batch)
    ]
    assert columns.digests(words_of(batch)).tolist() == each
    assert all(0 < one < 1 << 60 for one in each)


def test_no_sides_can_be_chosen_that_share_a_digest() -> None:
    """Neither by what a port would change, nor where a product would lose what differs."""
    sides = struct.Struct("<2QH2QH")
    of_ports = [sides.pack(7 ^ port, 7, port, 9, 9, 80) for port in range(1, 60_000, 7)]
    tops = [
        (first << 58, second << 58 | second << 26) for first in range(64) for second in range(64)
    ]
    of_tops = [sides.pack(*top, 1, 7, 8, 2) for top in tops]
    for chosen in (of_ports, of_tops):
        assert len(set(map(digest_of, chosen))) == len(chosen)


@pytest.mark.parametrize("count", [0, 3, 300])
def test_which_are_any_of_others(count: int) -> None:
    ordered = np.arange(0, 200, 2, dtype=np.uint64) + np.uint64(1 << 63)
    others = {(1 << 63) + number: None for number in range(count)}
    are = columns.are_any_of(ordered, others.keys())
    assert are.tolist() == [number in others for number in ordered.tolist()]
    assert not len(columns.are_any_of(ordered[:0], others.keys()))


@pytest.mark.parametrize("handling", [framing, columns], ids=["stdlib", "numpy"])
def test_the_places_that_records_name(handling: Framing) -> None:
    places_in = handling.places_in
    told = [samples.record()._replace(cgroup=cgroup, netns=7) for cgroup in (5, 0, 5, 2**32 - 1)]
    told.append(told[0]._replace(netns=8))
    batch = samples.batch(*told)
    assert places_in(batch, RECORD_SIZE) == {(7, 5), (7, 0), (7, 2**32 - 1), (8, 5)}
    stacked = b"".join(samples.batch(one) + b"\xff" * STACK_SIZE for one in told[:2])
    assert places_in(stacked, RECORD_SIZE + STACK_SIZE) == {(7, 5), (7, 0)}
    assert places_in(b"", RECORD_SIZE) == set()
