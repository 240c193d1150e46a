"""Where the line is between a fault and what only looks like one: a listener's verdicts."""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import pytest

from tcptrace.lifecycle.connection import Process
from tcptrace.lifecycle.ledger import Address
from tcptrace.lifecycle.names import Names
from tcptrace.sinks.verdicts import advice, sentences
from tcptrace.verdicts.case import Case, Limits, ListenerNow
from tcptrace.verdicts.facts import ListenerFacts
from tcptrace.verdicts.judging import judge
from tcptrace.verdicts.verdict import Cause, Confidence
from tcptrace.verdicts.window import Slice
from tcptrace.wire.events import Stage
from tcptrace.wire.ledger import Count

if TYPE_CHECKING:
    from tcptrace.verdicts.verdict import Verdict

S: Final = 1_000_000_000
MS: Final = 1_000_000
WHERE: Final = Address(4026531840, "0.0.0.0", 8080)  # noqa: S104 - a listener's
READINGS: Final = 20


def verdicts(  # noqa: PLR0913 - what a listener is known by
    counts: dict[Any, int] | None = None,
    *,
    limit: int = 64,
    somaxconn: int = 4096,
    syncookies: int = 1,
    unanswered: int = 0,
    defer_accept: int = 0,
    **facts: Any,
) -> list[Verdict]:
    """On one listener, of which so much was seen within 20 s."""
    seen = Slice(0)
    seen.readings = READINGS
    mine = seen.listener(WHERE)
    assert mine is not None
    for what, number in (counts or {}).items():
        mine.counts[what] += number
    for name, value in facts.items():
        setattr(mine, name, value)
    limits = Limits(somaxconn, 256, syncookies, min(limit, 192), defer_accept)
    now = ListenerNow(Process(812, b"gunicorn"), 0, limit, 0, unanswered, limits, is_open=True)
    return judge(Case(seen, 20 * S, 20 * S, {WHERE: now}))


def cause(counts: dict[Any, int] | None = None, **facts: Any) -> Cause | None:
    found = verdicts(counts, **facts)
    assert len(found) <= 1
    return found[0].cause if found else None


FULL: Final = {Stage.SYN_ACCEPT_QUEUE_FULL: 40, Stage.ACK_ACCEPT_QUEUE_FULL: 10}
QUICK: Final[dict[str, Any]] = {"accepts": 100, "wait_ns": 100 * 90 * MS}
SLOW: Final[dict[str, Any]] = {"accepts": 100, "wait_ns": 100 * 900 * MS}


def test_a_queue_that_stands_full_is_no_burst_however_short_the_wait() -> None:
    """By Little's law the wait is short where many are accepted."""
    stands = READINGS * 511
    busy: dict[str, Any] = {"accepts": 40_000, "wait_ns": 40_000 * 255 * MS}
    assert cause(FULL, limit=511, accept_lengths=stands, **busy) is Cause.ACCEPT_LOOP_SLOW
    assert (
        cause(FULL, limit=511, accept_lengths=stands // 2, **busy) is Cause.ACCEPT_QUEUE_TOO_SMALL
    )


def test_a_quiet_listener_has_none() -> None:
    assert verdicts() == []
    assert verdicts({Count.SYN_QUEUED: 900, Count.CHILD_CREATED: 900}, **QUICK) == []


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (QUICK, Cause.ACCEPT_QUEUE_TOO_SMALL),
        (SLOW, Cause.ACCEPT_LOOP_SLOW),
        ({}, Cause.ACCEPT_LOOP_SLOW),
        ({**QUICK, "limit": 128, "somaxconn": 128}, Cause.SOMAXCONN_CAPS_BACKLOG),
        ({**QUICK, "limit": 127, "somaxconn": 128}, Cause.ACCEPT_QUEUE_TOO_SMALL),
        ({**SLOW, "limit": 128, "somaxconn": 128}, Cause.ACCEPT_LOOP_SLOW),
    ],
)
def test_whose_fault_a_full_accept_queue_is(more: dict[str, Any], expected: Cause) -> None:
    assert cause(FULL, **more) is expected


def test_two_drops_prove_nothing() -> None:
    assert cause({Stage.SYN_ACCEPT_QUEUE_FULL: 2}, **QUICK) is None
    (verdict,) = verdicts({Stage.SYN_ACCEPT_QUEUE_FULL: 3}, **QUICK)
    assert verdict.confidence is Confidence.LIKELY


def test_a_reset_for_a_full_accept_queue_is_told_as_such() -> None:
    assert cause({**FULL, Stage.ABORT_ON_OVERFLOW: 4}, **QUICK) is Cause.ABORT_ON_OVERFLOW


def test_what_follows_from_a_full_accept_queue_is_not_told_beside_it() -> None:
    follows = {Stage.REQUEST_EXPIRED: 50, Count.COOKIE_SENT: 300, Count.COOKIE_VALID: 20}
    assert cause({**FULL, **follows}, **QUICK) is Cause.ACCEPT_QUEUE_TOO_SMALL


@pytest.mark.parametrize(
    ("mean", "facts", "expected"),
    [
        (3, SLOW, None),
        (4, SLOW, Cause.ACCEPT_LOOP_SLOW),
        (4, QUICK, None),
        (4, {}, Cause.ACCEPT_LOOP_SLOW),
        (4, {"accepts": 9, "wait_ns": 9 * S}, None),
    ],
)
def test_who_waits_without_a_drop(mean: int, facts: dict[str, Any], expected: Cause | None) -> None:
    assert cause(accept_lengths=mean * READINGS, **facts) is expected


@pytest.mark.parametrize(
    ("counts", "syncookies", "expected"),
    [
        ({Count.COOKIE_SENT: 100, Count.COOKIE_VALID: 49}, 1, Cause.SYN_FLOOD_WITH_COOKIES),
        ({Count.COOKIE_SENT: 100, Count.COOKIE_VALID: 50}, 1, Cause.SYN_QUEUE_FULL),
        ({Count.COOKIE_SENT: 100, Count.COOKIE_VALID: 100}, 2, None),
        ({Count.COOKIE_SENT: 9}, 1, None),
        ({Stage.SYN_SYN_QUEUE_FULL: 2}, 0, None),
        (
            {Stage.SYN_SYN_QUEUE_FULL: 90, Count.SYN_QUEUED: 60, Count.CHILD_CREATED: 29},
            0,
            Cause.SYN_FLOOD_WITHOUT_COOKIES,
        ),
        (
            {Stage.SYN_LAST_QUARTER: 90, Count.SYN_QUEUED: 60, Count.CHILD_CREATED: 31},
            0,
            Cause.SYN_QUEUE_FULL,
        ),
    ],
)
def test_a_full_syn_queue(counts: dict[Any, int], syncookies: int, expected: Cause | None) -> None:
    assert cause(counts, syncookies=syncookies) is expected


@pytest.mark.parametrize(
    ("expired", "unanswered", "requests", "expected"),
    [
        (5, 0, 40, Cause.HALF_OPEN_EXPIRY),
        (0, 5, 40, Cause.HALF_OPEN_EXPIRY),
        (2, 3, 40, Cause.HALF_OPEN_EXPIRY),
        (4, 0, 10, None),
        (5, 0, 100, None),
    ],
)
def test_half_open_requests(
    expired: int, unanswered: int, requests: int, expected: Cause | None
) -> None:
    counts = {Stage.REQUEST_EXPIRED: expired, Count.SYN_QUEUED: requests}
    assert cause(counts, unanswered=unanswered) is expected


@pytest.mark.parametrize(
    ("late", "children", "expected"),
    [(3, 59, Cause.SYN_ACK_LOST), (3, 60, None), (2, 10, None)],
)
def test_syn_acks_that_are_answered_late(late: int, children: int, expected: Cause | None) -> None:
    assert cause({Count.CHILD_CREATED: children}, late=late) is expected


def test_a_listener_that_waits_for_data_has_others_in_its_syn_queue() -> None:
    """TCP_DEFER_ACCEPT: who sends nothing stays there, though it has answered."""
    silent = {Stage.SYN_SYN_QUEUE_FULL: 90, Count.SYN_QUEUED: 60, Count.CHILD_CREATED: 29}
    (verdict,) = verdicts(silent, syncookies=0, defer_accept=5)
    assert (verdict.cause, verdict.confidence) == (Cause.SYN_QUEUE_FULL, Confidence.LIKELY)
    assert "TCP_DEFER_ACCEPT" in sentences(verdict, Names())
    assert "The peers do answer" not in sentences(verdict, Names())
    gone = {**silent, Stage.REQUEST_EXPIRED: 31}
    assert cause(gone, syncookies=0, defer_accept=5) is Cause.SYN_FLOOD_WITHOUT_COOKIES
    assert cause({Count.CHILD_CREATED: 59}, late=3, defer_accept=5) is None
    expired = {Stage.REQUEST_EXPIRED: 50, Count.SYN_QUEUED: 60}
    (verdict,) = verdicts(expired, defer_accept=5)
    assert (verdict.cause, verdict.confidence) == (Cause.HALF_OPEN_EXPIRY, Confidence.LIKELY)
    assert "TCP_DEFER_ACCEPT" in sentences(verdict, Names())
    (verdict,) = verdicts(expired)
    assert verdict.confidence is Confidence.CERTAIN
    assert "TCP_DEFER_ACCEPT" not in sentences(verdict, Names())


def test_it_says_which_limit_it_is_and_which_not() -> None:
    (small,) = verdicts(FULL, limit=5, drops_peak=40, **QUICK)
    assert "listen backlog to 64 or more" in advice(small)
    assert "net.core.somaxconn is 4,096, not the limit here" in advice(small)
    (capped,) = verdicts(FULL, limit=128, somaxconn=128, drops_peak=40, **QUICK)
    assert "net.core.somaxconn (now 128) to 256 or more" in advice(capped)
    (slow,) = verdicts(FULL, **SLOW)
    assert "neither the limit nor net.core.somaxconn" in advice(slow).lower()


FLOODLESS: Final = {Count.COOKIE_SENT: 100, Count.COOKIE_VALID: 90, Count.CHILD_CREATED: 90}
CROWDED: Final = {Stage.SYN_SYN_QUEUE_FULL: 50, Count.SYN_QUEUED: 90, Count.CHILD_CREATED: 90}


@pytest.mark.parametrize(
    ("counts", "facts", "said"),
    [
        (FLOODLESS, {}, "Raise the listen backlog (the limit is 64; net.core.somaxconn is 4,096"),
        (FLOODLESS, {"somaxconn": 64}, "Raise net.core.somaxconn (now 64"),
        (CROWDED, {"syncookies": 0}, "Raise the listen backlog (the limit is 64;"),
        (CROWDED, {"syncookies": 0, "somaxconn": 64}, "Raise net.core.somaxconn (now 64"),
        (
            CROWDED,
            {"syncookies": 0, "limit": 512, "somaxconn": 512},
            "Raise net.ipv4.tcp_max_syn_backlog (now 256, of which 192 count",
        ),
    ],
)
def test_which_limit_of_the_syn_queue_it_is(
    counts: dict[Any, int], facts: dict[str, Any], said: str
) -> None:
    (verdict,) = verdicts(counts, **facts)
    assert verdict.cause is Cause.SYN_QUEUE_FULL
    assert advice(verdict).startswith(said)


EXPIRED: Final = {Stage.REQUEST_EXPIRED: 50, Count.SYN_QUEUED: 60}
NEITHER: Final = "neither queue was full"


def test_it_says_of_the_queues_what_was_seen() -> None:
    (verdict,) = verdicts(EXPIRED)
    assert NEITHER in sentences(verdict, Names()).lower()
    for more in (
        {"counts": {**EXPIRED, Stage.SYN_ACCEPT_QUEUE_FULL: 2}, "accept_peak": 65},
        {"counts": {**EXPIRED, Stage.SYN_SYN_QUEUE_FULL: 2}},
        {"counts": {**EXPIRED, Count.COOKIE_SENT: 9}},
        {"counts": EXPIRED, "accept_peak": 65},
        {"counts": EXPIRED, "syn_peak": 64},
    ):
        (verdict,) = verdicts(**more)
        assert verdict.cause is Cause.HALF_OPEN_EXPIRY
        assert NEITHER not in sentences(verdict, Names()).lower()
    seen = Slice(0)
    mine = seen.listener(WHERE)
    assert mine is not None
    mine.counts[Stage.REQUEST_EXPIRED] = mine.lives = 10
    now = ListenerNow(None, 0, 64, 0, 0, None, is_open=True)
    (verdict,) = judge(Case(seen, 20 * S, 20 * S, {WHERE: now}))
    assert NEITHER not in sentences(verdict, Names()).lower(), "nobody looked at them"


def test_without_a_ledger_late_ones_may_be_quiet_clients_of_a_listener_that_defers() -> None:
    (verdict,) = verdicts({Count.CHILD_CREATED: 20}, late=9)
    assert "TCP_DEFER_ACCEPT" not in sentences(verdict, Names())
    seen = Slice(0)
    mine = seen.listener(WHERE)
    assert mine is not None
    mine.lives, mine.late = 20, 9
    now = ListenerNow(None, 0, 64, 0, 0, None, is_open=True)
    (verdict,) = judge(Case(seen, 20 * S, 20 * S, {WHERE: now}))
    assert verdict.cause is Cause.SYN_ACK_LOST
    assert "TCP_DEFER_ACCEPT" in sentences(verdict, Names())


def test_a_crowd_is_no_full_queue_whatever_else_is_dropped() -> None:
    (verdict,) = verdicts({Stage.OTHER: 100}, accept_lengths=10 * READINGS, **SLOW)
    assert verdict.cause is Cause.ACCEPT_LOOP_SLOW
    assert "was full" not in sentences(verdict, Names())


def test_who_rarely_accepts_does_accept() -> None:
    """Once in 20 s is rounded to 0.05; once in a long trace to 0."""
    (verdict,) = verdicts(FULL, accepts=1, wait_ns=S)
    assert "takes nobody" not in sentences(verdict, Names())
    rare = dataclasses.replace(verdict, figures={**verdict.figures, "accept_rate": 0.0})
    assert "takes nobody" not in sentences(rare, Names())


def test_a_few_drops_where_few_answer_tell_nothing() -> None:
    drops = {Stage.SYN_SYN_QUEUE_FULL: 9, Count.SYN_QUEUED: 60}
    assert cause({**drops, Count.CHILD_CREATED: 29}, syncookies=0) is None
    assert cause({**drops, Count.CHILD_CREATED: 30}, syncookies=0) is Cause.SYN_QUEUE_FULL


def test_delays_are_the_usual_ones() -> None:
    (verdict,) = verdicts(FULL, delays=Counter({1: 50, 3: 20, 7: 10, 15: 1}), **QUICK)
    assert verdict.delays_ns == (S, 3 * S, 7 * S)
    assert "Clients wait 1 s, 3 s, 7 s: the SYN's retransmits." in sentences(verdict, Names())


def test_facts_add_up() -> None:
    one, two = Slice(0), Slice(5)
    for part, drops, peak in ((one, 3, 9), (two, 4, 7)):
        facts = part.listener(WHERE)
        assert facts is not None
        facts.counts[Stage.SYN_ACCEPT_QUEUE_FULL] = drops
        facts.accept_peak = peak
        facts.delays[1] = drops
    one.absorb(two)
    (facts,) = one.listeners.values()
    assert isinstance(facts, ListenerFacts)
    assert (facts.counts[Stage.SYN_ACCEPT_QUEUE_FULL], facts.accept_peak) == (7, 9)
    assert facts.delays == {1: 7}
