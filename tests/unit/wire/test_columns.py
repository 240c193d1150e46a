from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcptrace.wire import columns, framing
from tcptrace.wire.columns import words_of
from tcptrace.wire.decode import decode_batch
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
