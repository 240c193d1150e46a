"""Verdicts on a listener: its accept queue, its SYN queue, handshakes that stay half-open.

One listener has one of them: a full accept queue also makes requests expire and SYN queues fill,
and a flood fills the SYN queue. What is nearer to the application is asked first.

With TCP_DEFER_ACCEPT a request waits in the SYN queue for data, its final ACK dropped: who says
nothing looks half-open, and gets another SYN-ACK at last. There only those that expire are gone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tcptrace.verdicts.gathering import ACCEPT_STAGES, CROWD
from tcptrace.verdicts.verdict import Cause, Confidence, Verdict
from tcptrace.wire.events import Stage
from tcptrace.wire.ledger import Count

if TYPE_CHECKING:
    from collections import Counter

    from tcptrace.lifecycle.ledger import Address
    from tcptrace.verdicts.case import Case, ListenerNow
    from tcptrace.verdicts.facts import ListenerFacts

FEWEST: Final = 3
"""Fewer of anything prove nothing."""
ENOUGH: Final = 10
SLOW_NS: Final = 500_000_000
"""Whoever waits longer for accept() waits for the process, not for a burst to pass."""
_STANDING: Final = 0.9
"""Of the limit: so long is a queue that stands full. Bursts leave it at a fifth, on average."""
_FEWEST_READINGS: Final = 5
_FEWEST_GONE: Final = 5
"""Scans leave half-open requests too."""
_STUCK_NS: Final = 5_000_000_000
_SECOND: Final = 1_000_000_000
_MOST_DELAYS: Final = 3
_ANSWERED: Final = 0.5
"""A flood answers less than this share of SYN-ACKs."""
_EXPIRING: Final = 0.05
"""Of the requests; a share of peers vanish everywhere."""
_ALWAYS: Final = 2
"""net.ipv4.tcp_syncookies: a cookie for every SYN."""

_SYN_STAGES: Final = (Stage.SYN_SYN_QUEUE_FULL, Stage.SYN_LAST_QUARTER)
_SYN_DROPS: Final = (Stage.SYN_ACCEPT_QUEUE_FULL, *_SYN_STAGES, Stage.OTHER)
DROPS: Final = (*_SYN_DROPS, Stage.ACK_ACCEPT_QUEUE_FULL)
"""A SYN or a final ACK was dropped."""


def listener_verdict(case: Case, address: Address, facts: ListenerFacts) -> Verdict | None:
    """The verdict on a listener; None if nothing is wrong, or too little was seen."""
    now = case.listeners.get(address)
    if now is None:
        return None
    one = _Listener(case, address, facts, now)
    return one.accept_queue() or one.syn_queue() or one.half_open()


class _Listener:
    """Weighs what was seen of one listener."""

    def __init__(
        self, case: Case, address: Address, facts: ListenerFacts, now: ListenerNow
    ) -> None:
        self._case = case
        self._address = address
        self._facts = facts
        self._now = now
        counts = facts.counts
        self._accept_drops = sum(counts[stage] for stage in ACCEPT_STAGES)
        self._syn_drops = sum(counts[stage] for stage in _SYN_STAGES)
        self._children = max(counts[Count.CHILD_CREATED], facts.lives)
        # One whose ACK finds the accept queue full is counted again when that comes again.
        self._answered = min(counts[Count.COOKIE_VALID], counts[Count.COOKIE_SENT])
        self._defers = now.limits is not None and now.limits.defer_accept > 0

    # The accept queue.

    def accept_queue(self) -> Verdict | None:
        """Too small, or emptied too slowly."""
        drops, facts = self._accept_drops, self._facts
        if drops < FEWEST:
            return self._crowd()
        if facts.counts[Stage.ABORT_ON_OVERFLOW]:
            cause = Cause.ABORT_ON_OVERFLOW
        elif self._is_slow:
            cause = Cause.ACCEPT_LOOP_SLOW
        elif self._is_capped:
            cause = Cause.SOMAXCONN_CAPS_BACKLOG
        else:
            cause = Cause.ACCEPT_QUEUE_TOO_SMALL
        is_certain = drops >= ENOUGH and cause is not Cause.SOMAXCONN_CAPS_BACKLOG
        return self._verdict(cause, is_certain=is_certain, stage=self._worst(ACCEPT_STAGES))

    def _crowd(self) -> Verdict | None:
        """Nothing is dropped; but too many wait for too long."""
        facts, readings = self._facts, self._case.facts.readings
        is_long = self._case.length_ns >= _STUCK_NS
        if not readings or not is_long or facts.accept_lengths < CROWD * readings:
            return None
        if not self._is_slow or 0 < facts.accepts < ENOUGH:
            return None
        waiting = facts.accept_lengths // readings
        is_certain = not facts.accepts
        return self._verdict(
            Cause.ACCEPT_LOOP_SLOW, is_certain=is_certain, hurt=max(facts.accepts, waiting)
        )

    @property
    def _is_slow(self) -> bool:
        """Whether accept() takes what has waited for long, or nothing at all, or never catches up.

        A burst passes; a queue that stands full whenever it is read is filled faster than emptied.
        """
        facts, readings = self._facts, self._case.facts.readings
        stands = facts.accept_lengths >= _STANDING * readings * max(1, self._now.limit)
        if readings >= _FEWEST_READINGS and stands:
            return True
        return not facts.accepts or facts.wait_ns > SLOW_NS * facts.accepts

    @property
    def _is_capped(self) -> bool:
        limits = self._now.limits
        return limits is not None and limits.somaxconn <= self._now.limit

    # The SYN queue.

    def syn_queue(self) -> Verdict | None:
        """Full: by a flood, or by those who do answer."""
        counts, limits = self._facts.counts, self._now.limits
        sent, answered = counts[Count.COOKIE_SENT], self._answered
        if limits is None:
            return None  # how many SYNs there were, and who answered, the ledger alone tells
        is_asked = limits.syncookies == _ALWAYS and not self._facts.syn_full
        if sent >= ENOUGH and answered < _ANSWERED * sent and not is_asked:
            return self._verdict(
                Cause.SYN_FLOOD_WITH_COOKIES,
                is_certain=sent >= ENOUGH * ENOUGH,
                hurt=answered,
                of=self._children,
            )
        if self._syn_drops >= FEWEST:
            return self._dropping()
        if sent >= ENOUGH and limits.syncookies != _ALWAYS:
            return self._verdict(
                Cause.SYN_QUEUE_FULL, is_certain=True, hurt=answered, of=self._children
            )
        return None

    def _dropping(self) -> Verdict | None:
        """It drops SYNs, for want of cookies."""
        counts, drops, stage = self._facts.counts, self._syn_drops, self._worst(_SYN_STAGES)
        queued = counts[Count.SYN_QUEUED]
        gone = counts[Stage.REQUEST_EXPIRED] if self._defers else queued - self._children
        is_certain = drops >= ENOUGH and not self._defers
        if gone <= _ANSWERED * queued:
            return self._verdict(Cause.SYN_QUEUE_FULL, is_certain=is_certain, stage=stage)
        if drops < ENOUGH:
            return None
        # Who of them was a real client, nobody can tell: SYNs are counted.
        return self._verdict(
            Cause.SYN_FLOOD_WITHOUT_COOKIES,
            is_certain=is_certain,
            stage=stage,
            hurt=drops,
            of=drops + queued,
        )

    # Half-open.

    def half_open(self) -> Verdict | None:
        """SYN-ACKs that nobody answers, or not the first ones."""
        facts, counts = self._facts, self._facts.counts
        queued = max(counts[Count.SYN_QUEUED], facts.lives)
        gone = counts[Stage.REQUEST_EXPIRED] + self._now.unanswered
        if gone >= _FEWEST_GONE and gone > _EXPIRING * queued and gone >= facts.late:
            return self._verdict(
                Cause.HALF_OPEN_EXPIRY,
                is_certain=counts[Stage.REQUEST_EXPIRED] >= ENOUGH and not self._defers,
                stage=Stage.REQUEST_EXPIRED,
                hurt=gone,
                of=max(queued, gone),
            )
        is_late = facts.late >= FEWEST and facts.late > _EXPIRING * self._children
        if is_late and not self._defers:
            return self._verdict(
                Cause.SYN_ACK_LOST, is_certain=False, hurt=facts.late, of=self._children
            )
        return None

    # What a verdict says.

    def _worst(self, stages: tuple[Stage, ...]) -> Stage:
        return max(stages, key=lambda stage: self._facts.counts[stage])

    def _verdict(
        self,
        cause: Cause,
        *,
        is_certain: bool,
        stage: Stage | None = None,
        hurt: int | None = None,
        of: int | None = None,
    ) -> Verdict:
        facts, now = self._facts, self._now
        if hurt is None:
            hurt = max(facts.hurt, 1)
        if of is None:
            of = self._children + facts.unborn
        return Verdict(
            cause,
            Confidence.CERTAIN if is_certain else Confidence.LIKELY,
            self._address.netns,
            self._address,
            now.process,
            now.cgroup,
            stage,
            hurt,
            max(hurt, of),
            delays_of(facts.delays),
            self._figures(),
            facts.last_at_ns or self._case.now_ns,
        )

    def _figures(self) -> dict[str, int | float]:
        facts, now, counts = self._facts, self._now, self._facts.counts
        readings = self._case.facts.readings
        figures: dict[str, int | float] = {
            "seconds": round(self._case.seconds, 1),
            "accept_queue_limit": now.limit,
            "accept_queue_peak": facts.accept_peak,
            "syns_dropped": sum(counts[stage] for stage in _SYN_DROPS),
            "acks_dropped": counts[Stage.ACK_ACCEPT_QUEUE_FULL],
            "drops_at_once": facts.drops_peak,
            "acks_reset": counts[Stage.ABORT_ON_OVERFLOW],
            "accept_rate": round(facts.accepts / self._case.seconds, 2),
            "requests": counts[Count.SYN_QUEUED] or facts.lives + counts[Stage.REQUEST_EXPIRED],
            "requests_expired": counts[Stage.REQUEST_EXPIRED],
            "requests_unanswered": now.unanswered,
            "cookies_sent": counts[Count.COOKIE_SENT],
            "cookies_valid": self._answered,
            "syn_acks_late": facts.late,
        }
        if facts.accepts:
            figures["accept_wait_ns"] = facts.wait_ns // facts.accepts
        if readings:
            figures["accept_queue_full_share"] = round(facts.accept_full / readings, 3)
            figures["syn_queue_full_share"] = round(facts.syn_full / readings, 3)
            figures["accept_queue_mean"] = round(facts.accept_lengths / readings, 1)
        if now.limits is not None:
            figures |= {
                "somaxconn": now.limits.somaxconn,
                "max_syn_backlog": now.limits.max_syn_backlog,
                "syncookies": now.limits.syncookies,
                "syn_queue_limit": now.limits.syn_queue,
                "syn_queue_peak": facts.syn_peak,
                "defer_accept": now.limits.defer_accept,
            }
        return figures


def delays_of(delays: Counter[int]) -> tuple[int, ...]:
    """The usual ones, ns, ascending."""
    return tuple(sorted(seconds * _SECOND for seconds, _ in delays.most_common(_MOST_DELAYS)))
