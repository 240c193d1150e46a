"""The same for remote ends, CLOSE_WAIT, TIME_WAIT and RSTs; and what explains what."""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

import pytest

from tcptrace.lifecycle.connection import Process
from tcptrace.lifecycle.ledger import Address
from tcptrace.lifecycle.names import Names
from tcptrace.sinks.verdicts import advice, headline, sentences
from tcptrace.tcp import MAPPED_PREFIX, Endpoint
from tcptrace.verdicts.case import Case, Home, ListenerNow
from tcptrace.verdicts.judging import judge
from tcptrace.verdicts.survey import Held, Holder, Way
from tcptrace.verdicts.verdict import Cause, Confidence, Verdict
from tcptrace.verdicts.window import Plain, Slice
from tcptrace.wire.events import Stage
from tcptrace.wire.ledger import Count

S: Final = 1_000_000_000
HERE: Final = 4026531840
ELSEWHERE: Final = 4026532000
WEB: Final = Process(812, b"web")
LISTENER: Final = Address(ELSEWHERE, "0.0.0.0", 5432)  # noqa: S104 - a listener's


def end(last: int, port: int) -> Endpoint:
    return Endpoint(MAPPED_PREFIX + bytes((192, 0, 2, last)), port)


REMOTE: Final = end(1, 5432)


def of_remote(connects: int = 50, *, where: Endpoint = REMOTE, **facts: Any) -> Slice:
    """What clients saw of one remote end within 20 s."""
    seen = Slice(0)
    seen.connects[HERE] = connects
    remote = seen.remote(HERE, where)
    assert remote is not None
    for name, value in facts.items():
        setattr(remote, name, value)
    return seen


def judged(seen: Slice, **more: Any) -> list[Verdict]:
    listeners = {LISTENER: ListenerNow(WEB, 0, 64, 0, 0, None, is_open=True)}
    return judge(Case(seen, 20 * S, 20 * S, listeners, **more))


def causes(seen: Slice, **more: Any) -> list[Cause]:
    return [one.cause for one in judged(seen, **more)]


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"silent": 2}, []),
        ({"silent": 3}, [Cause.REMOTE_SILENT]),
        ({"refused": 4}, []),
        ({"refused": 5}, [Cause.REMOTE_REFUSES]),
        ({"refused": 4, "connects": 5}, []),
        ({"refused": 5, "connects": 500}, [Cause.REMOTE_REFUSES]),
        ({"refused": 5, "connects": 501}, []),
        ({"refused": 19, "connects": 10_000}, []),
        ({"refused": 20, "connects": 10_000}, [Cause.REMOTE_REFUSES]),
        ({"late": 4}, []),
        ({"late": 5}, [Cause.REMOTE_LATE]),
        ({"late": 5, "silent": 4}, [Cause.REMOTE_LATE]),
        ({"late": 4, "silent": 4}, [Cause.REMOTE_SILENT]),
        ({"late": 5, "connects": 200}, []),
    ],
)
def test_a_remote_end(facts: dict[str, Any], expected: list[Cause]) -> None:
    assert causes(of_remote(**facts)) == expected


@pytest.mark.parametrize(
    ("calls", "connects", "expected"),
    [(50, 50, [Cause.REMOTE_REFUSES]), (51, 60, []), (5, 10_000, [Cause.REMOTE_REFUSES])],
)
def test_refusals_are_a_share_of_the_calls_to_that_end_where_these_are_known(
    calls: int, connects: int, expected: list[Cause]
) -> None:
    seen = of_remote(connects=connects, refused=5)
    seen.calls[HERE, REMOTE] = calls
    seen.calls[HERE, end(3, 80)] = connects - calls
    assert causes(seen) == expected


def test_where_it_is_not_known_how_many_got_in_a_small_share_is_likely_at_most() -> None:
    (verdict,) = judged(of_remote(connects=10_000, refused=20))
    assert verdict.confidence is Confidence.LIKELY
    (verdict,) = judged(of_remote(connects=2_000, refused=20))
    assert verdict.confidence is Confidence.CERTAIN


ONE_V4: Final = Endpoint(MAPPED_PREFIX + bytes((127, 0, 0, 1)), 5432)
ONE_V6: Final = Endpoint(bytes(15) + b"\1", 5432)
OF_THE_OTHER: Final = {ONE_V4: "0.0.0.0", ONE_V6: "::1"}  # noqa: S104 - a listener's


def of_localhost(first: Endpoint, refused: int, came_in: int, connects: int) -> Case:
    """Refused by one address of localhost; so many got in by the other, where somebody listens."""
    (other,) = {ONE_V4, ONE_V6} - {first}
    seen = of_remote(connects, where=first, refused=refused)
    where = Address(HERE, OF_THE_OTHER[other], 5432)
    listener = seen.listener(where)
    assert listener is not None
    listener.counts[Count.CHILD_CREATED] = came_in
    now = ListenerNow(WEB, 0, 64, 0, 0, None, is_open=True)
    return Case(seen, 20 * S, 20 * S, {where: now})


@pytest.mark.parametrize("first", [ONE_V4, ONE_V6])
def test_localhosts_other_address_takes_whom_one_refuses(first: Endpoint) -> None:
    assert judge(of_localhost(first, 30, 30, 60)) == []
    assert judge(of_localhost(first, 30, 26, 60)) == []
    (verdict,) = judge(of_localhost(first, 30, 20, 60))
    assert (verdict.cause, verdict.where, verdict.hurt) == (Cause.REMOTE_REFUSES, first, 10)
    assert "30 of 60 connect() calls answered with RST" in sentences(verdict, Names())
    assert "20 of them got in by localhost's other address, it seems" in sentences(verdict, Names())


def test_a_port_here_where_nobody_listens_is_told_however_many_other_calls_there_are() -> None:
    seen = of_remote(10_000, where=ONE_V4, refused=10)
    (verdict,) = judged(seen)
    assert (verdict.cause, verdict.confidence) == (Cause.REMOTE_REFUSES, Confidence.CERTAIN)
    seen.plain[HERE, ONE_V4] = Plain(91)
    assert judged(seen) == []


@pytest.mark.parametrize("first", [ONE_V4, ONE_V6])
def test_who_comes_from_elsewhere_was_not_refused_before(first: Endpoint) -> None:
    (verdict,) = judge(of_localhost(first, 30, 5_000, 30))
    assert (verdict.cause, verdict.hurt) == (Cause.REMOTE_REFUSES, 30)


def test_without_a_ledger_lives_tell_who_got_in() -> None:
    seen = of_remote(60, where=ONE_V6, refused=30)
    assert causes(seen) == [Cause.REMOTE_REFUSES]
    seen.plain[HERE, ONE_V4] = Plain(30)
    assert causes(seen) == []


def test_who_gave_up_and_who_waits_still_is_told_and_no_timer() -> None:
    facts: dict[str, Any] = {
        "silent": 9,
        "waiting": 2,
        "given_up": Counter({(35, 3): 5, (10, 1): 2}),
    }
    (verdict,) = judged(of_remote(**facts))
    assert "late" not in headline(verdict, Names())
    told = sentences(verdict, Names())
    assert "7 gave up, mostly after 3.5 s and 3 SYNs sent again; 2 wait still." in told
    assert "retransmits" not in told
    facts["given_up"] = Counter({(35, 3): 3, (10, 1): 2, (20, 2): 2})
    (verdict,) = judged(of_remote(**facts))
    assert "7 gave up; 2 wait still." in sentences(verdict, Names())
    (verdict,) = judged(of_remote(silent=3, waiting=3))
    assert ". 3 wait still." in sentences(verdict, Names())


def test_a_check_that_fails_now_and_then_is_no_fault() -> None:
    seen = of_remote(connects=1000, refused=6, silent=3)
    assert judge(Case(seen, 60 * S, 60 * S, {})) == []


def hurt_ends(number: int) -> Counter[Endpoint]:
    return Counter({end(9, 40_000 + one): 1 for one in range(number)})


def test_where_both_ends_are_traced_it_is_known_what_happened() -> None:
    ends = hurt_ends(6)
    seen = of_remote(silent=3, late=3, hurt_ends=ends)
    seen.dropped = {(one, REMOTE): ELSEWHERE for one in ends}
    (verdict,) = judged(seen)
    assert verdict.cause is Cause.REMOTE_LISTENER_DROPS
    assert (verdict.confidence, verdict.where, verdict.hurt) == (Confidence.CERTAIN, REMOTE, 6)
    seen = of_remote(silent=3, late=3, hurt_ends=ends)
    seen.answered = {(one, REMOTE): ELSEWHERE for one in ends}
    (verdict,) = judged(seen)
    assert verdict.cause is Cause.SYN_ACK_LOST
    assert "6 connections from here" in sentences(verdict, Names())


@pytest.mark.parametrize("stage", [Stage.OTHER, Stage.SYN_SYN_QUEUE_FULL, None])
def test_why_a_remotes_listener_drops_is_told_as_it_was_seen(stage: Stage | None) -> None:
    """Where no ledger tells of limits, a full SYN queue has no verdict of its own."""
    ends = hurt_ends(6)
    seen = of_remote(silent=6, hurt_ends=ends)
    seen.dropped = {(one, REMOTE): ELSEWHERE for one in ends}
    listener = seen.listener(LISTENER)
    assert listener is not None
    if stage is not None:
        listener.counts[stage] = 6
    (verdict,) = judged(seen)
    assert (verdict.cause, verdict.stage) == (Cause.REMOTE_LISTENER_DROPS, stage)
    told = sentences(verdict, Names())
    assert ("for other reasons than a full queue" in told) is (stage is Stage.OTHER)
    assert ("mostly at the stage syn_syn_queue_full" in told) is (stage is Stage.SYN_SYN_QUEUE_FULL)


def test_a_listeners_own_verdict_explains_its_clients() -> None:
    ends = hurt_ends(6)
    seen = of_remote(late=6, hurt_ends=ends)
    seen.dropped = {(one, REMOTE): ELSEWHERE for one in ends}
    listener = seen.listener(LISTENER)
    assert listener is not None
    listener.counts[Stage.SYN_ACCEPT_QUEUE_FULL] = 40
    listener.accepts = 9
    assert causes(seen) == [Cause.ACCEPT_QUEUE_TOO_SMALL]


def test_who_answers_late_is_not_said_to_be_silent() -> None:
    (verdict,) = judged(of_remote(late=9, silent=1))
    told = sentences(verdict, Names())
    assert "9 connect() calls were answered only after the SYN was sent again" in told
    assert "1 connect() call was not answered" in told
    for wrong in ("never", "filtered", "does not answer"):
        assert wrong not in told + headline(verdict, Names())


def test_somebody_elses_drops_do_not() -> None:
    ends = hurt_ends(6)
    seen = of_remote(silent=6, hurt_ends=ends)
    seen.dropped = {(one, end(2, 5432)): ELSEWHERE for one in ends}
    assert causes(seen) == [Cause.REMOTE_SILENT]


def held(aged: int, oldest_s: int = 20) -> Held:
    one = Held()
    one.aged, one.oldest_ns = aged, oldest_s * S
    one.ends[end(7, 8080)] = aged
    return one


def holder(port: int = 8080, process: Process | None = WEB) -> Holder:
    return Holder(HERE, process, 0, port)


def test_who_does_not_close() -> None:
    assert causes(Slice(0), holders={holder(): held(19)}) == []
    (verdict,) = judged(Slice(0), holders={holder(): held(20)})
    assert (verdict.cause, verdict.process) == (Cause.CLOSE_WAIT_LEAK, WEB)
    assert verdict.where == Address(HERE, "192.0.2.7", 8080)
    assert verdict.confidence is Confidence.LIKELY
    (verdict,) = judged(Slice(0), holders={holder(): held(20, 60)})
    assert verdict.confidence is Confidence.LIKELY, "a pool of idle ones looks so too"
    (verdict,) = judged(Slice(0), holders={holder(): held(100, 60)})
    assert verdict.confidence is Confidence.CERTAIN
    (verdict,) = judged(Slice(0), holders={holder(port=0): held(20)})
    assert verdict.where == end(7, 8080), "of outgoing ones it is the remote end"


def test_what_accept_has_not_taken_is_nobodys_leak() -> None:
    where = Address(HERE, "192.0.2.7", 8080)
    now = ListenerNow(WEB, 0, 64, 15, 0, None, is_open=True)
    holders = {holder(process=None): held(30)}
    assert judge(Case(Slice(0), 20 * S, 20 * S, {where: now}, holders)) == []
    holders = {holder(process=None): held(35)}
    (verdict,) = judge(Case(Slice(0), 20 * S, 20 * S, {where: now}, holders))
    assert verdict.hurt == 20


@pytest.mark.parametrize(
    ("to_one", "failed", "expected", "confidence"),
    [
        (79, 0, None, None),
        (80, 0, Cause.EPHEMERAL_PORTS_IN_TIME_WAIT, Confidence.LIKELY),
        (95, 3, Cause.EPHEMERAL_PORTS_IN_TIME_WAIT, Confidence.CERTAIN),
    ],
)
def test_ports_that_time_wait_holds(
    to_one: int, failed: int, expected: Cause | None, confidence: Confidence | None
) -> None:
    ways = Counter({(SOURCE, REMOTE): to_one, (SOURCE, end(3, 80)): 40})
    found = judged(of_remote(failed=failed), homes={HERE: Home(100, 0, ways)})
    assert [(one.cause, one.confidence, one.hurt) for one in found] == (
        [(expected, confidence, failed)] if expected else []
    )


SOURCE: Final = end(9, 0).address
LOCAL: Final = ONE_V4.address


def of_ports(tw_reuse: int | None, ways: dict[Way, int], failed: int = 0) -> list[Verdict]:
    """Of 100 ports, so many are in TIME_WAIT by source and remote end."""
    seen = of_remote(failed=failed)
    if failed:
        seen.remotes[HERE, ONE_V4] = seen.remotes[HERE, REMOTE]
    return judged(seen, homes={HERE: Home(100, tw_reuse, Counter(ways))})


def test_each_source_address_has_its_own_ports() -> None:
    assert of_ports(0, {(SOURCE, REMOTE): 60, (end(8, 0).address, REMOTE): 60}) == []
    (verdict,) = of_ports(0, {(SOURCE, REMOTE): 80, (end(8, 0).address, REMOTE): 60})
    assert verdict.figures["time_waits"] == 80


@pytest.mark.parametrize(
    ("tw_reuse", "way", "is_told"),
    [
        (0, (SOURCE, REMOTE), True),
        (1, (SOURCE, REMOTE), False),
        (2, (SOURCE, REMOTE), True),
        (None, (SOURCE, REMOTE), True),
        (0, (LOCAL, ONE_V4), True),
        (2, (LOCAL, ONE_V4), False),
        (2, (LOCAL, REMOTE), False),
        (2, (bytes(15) + b"\1", ONE_V6), False),
        (None, (LOCAL, ONE_V4), False),
    ],
)
def test_ports_that_connect_may_use_again_are_not_held(
    tw_reuse: int | None, way: Way, is_told: bool
) -> None:
    """By tcp_tw_reuse, after a second; 2, the default, is for loopback alone."""
    assert bool(of_ports(tw_reuse, {way: 95})) is is_told


def test_where_connect_fails_in_spite_of_that_it_is_told() -> None:
    (verdict,) = of_ports(2, {(LOCAL, ONE_V4): 95}, failed=3)
    assert (verdict.confidence, verdict.hurt) == (Confidence.CERTAIN, 3)
    assert "Connect() may use one again after a second" not in sentences(verdict, Names())
    assert "connect() may use one again after a second" in sentences(verdict, Names())
    assert "set net.ipv4.tcp_tw_reuse" not in advice(verdict)
    (verdict,) = of_ports(2, {(SOURCE, REMOTE): 95})
    assert "set net.ipv4.tcp_tw_reuse (now 2) to 1" in advice(verdict)


def with_resets(children: int, sent: int, received: int, paired: int = 0) -> Slice:
    seen = Slice(0)
    listener = seen.listener(LISTENER)
    assert listener is not None
    listener.counts[Count.CHILD_CREATED] = children
    resets = listener.resets
    resets.sent, resets.received, resets.paired = sent, received, paired
    resets.peers = Counter({end(8, 0).address: sent + received})
    resets.processes = Counter({WEB: sent + received})
    return seen


@pytest.mark.parametrize(
    ("children", "sent", "received", "paired", "is_told"),
    [
        (30, 20, 0, 0, True),
        (30, 19, 0, 0, False),
        (100, 20, 0, 0, True),
        (101, 20, 0, 0, False),
        (30, 0, 20, 0, True),
        (30, 0, 20, 20, False),
        (30, 20, 0, 20, True),
    ],
)
def test_storms_of_resets(
    children: int, sent: int, received: int, paired: int, is_told: bool
) -> None:
    found = judged(with_resets(children, sent, received, paired))
    assert [one.cause for one in found] == ([Cause.RESET_STORM] if is_told else [])
    if found:
        assert (found[0].where, found[0].process) == (LISTENER, WEB)
        assert found[0].peer == end(8, 0).address


def test_most_harm_comes_first() -> None:
    seen = of_remote(refused=9)
    other = seen.remote(HERE, end(4, 80))
    assert other is not None
    other.silent = 12
    assert causes(seen) == [Cause.REMOTE_SILENT, Cause.REMOTE_REFUSES]
