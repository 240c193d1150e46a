from __future__ import annotations

from tcptrace.lifecycle.connection import Outcome, Partial, Role
from tcptrace.lifecycle.summary import Summary
from tcptrace.tcp import State
from tcptrace.wire.events import Stage
from unit import samples


def test_lives_count_by_role_and_outcome() -> None:
    summary = Summary()
    for life in samples.every_life():
        summary.add(life)
    assert summary.connection_count == 8
    assert summary.outcomes[Role.SERVER] == {
        Outcome.CLOSED: 3,
        Outcome.SYN_DROPPED: 1,
        Outcome.NEVER_ACCEPTED: 1,
    }
    assert summary.outcomes[Role.CLIENT] == {Outcome.CLOSED: 1, Outcome.REFUSED: 1}
    assert summary.outcomes[Role.UNKNOWN] == {Outcome.OPEN: 1}


def test_waits_are_apart_and_unknown_ones_do_not_count() -> None:
    summary = Summary()
    summary.add(samples.overflowed())
    summary.add(samples.leaked())
    assert summary.handshakes[Role.SERVER].max == 1021 * samples.MS + 112 * samples.US
    assert summary.syn_queue_wait.max == 102 * samples.US
    assert summary.accept_wait.max == 1198 * samples.US
    assert summary.handshakes[Role.UNKNOWN].count == 0


def test_the_kernels_count_of_retransmits_has_the_syns_in_it() -> None:
    summary = Summary()
    life = samples.client()
    life.retransmits = 5
    summary.add(life)
    assert (summary.syn_retransmits, summary.data_retransmits) == (2, 3)


def test_open_close_wait_names_who_holds_it() -> None:
    summary = Summary()
    summary.add(samples.leaked())
    assert summary.open_states == {State.CLOSE_WAIT: 1}
    assert summary.close_wait_holders == {samples.WEB: 1}
    assert summary.partial == {Partial.BEGAN_BEFORE: 1}


def test_nobody_holds_what_accept_has_not_taken() -> None:
    summary = Summary()
    life = samples.leaked()
    life.role, life.queued_at_ns = Role.SERVER, samples.START
    summary.add(life)
    assert summary.close_wait_queued == 1
    assert not summary.close_wait_holders


def test_drops_add_up_over_listeners() -> None:
    summary = Summary()
    summary.add_listeners([samples.listener(), samples.listener()])
    assert summary.drops == {Stage.SYN_ACCEPT_QUEUE_FULL: 8, Stage.ACK_ACCEPT_QUEUE_FULL: 24}
