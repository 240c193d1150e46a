"""What a listener is told to be now, by the ledger's readings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest

from tcptrace.lifecycle.ledger import Ledger
from tcptrace.verdicts.case import Limits, ListenerNow, of_ledger
from unit import samples, slots

if TYPE_CHECKING:
    from tcptrace.wire.ledger import Slot


def now(*readings: dict[int, Slot]) -> ListenerNow:
    """The first listener, after readings of a second each."""
    ledger = Ledger(100)
    for at_s, told in enumerate(readings, 1):
        ledger.absorb(slots.reading(at_s, told))
    (found, *_) = of_ledger(ledger).values()
    return found


def waiting(**changes: Any) -> Slot:
    """10 in the SYN queue, 4 of them young."""
    return slots.slot(syn_queue_len=10, syn_queue_young=4, cgroup=7, **changes)


@pytest.mark.parametrize(
    ("told", "unanswered", "defer_accept"),
    [
        ({1: waiting()}, 6, 0),
        ({1: waiting(defer_accept=5)}, 0, 5),
        ({1: waiting(), 2: waiting(sock=2, defer_accept=5)}, 6, 5),
    ],
)
def test_requests_that_wait_for_data_are_not_unanswered(
    told: dict[int, Slot], unanswered: int, defer_accept: int
) -> None:
    found = now(told)
    assert found.limits is not None
    assert (found.unanswered, found.limits.defer_accept) == (unanswered, defer_accept)


GONE: Final = {"closed_at_ns": samples.START + samples.S}


@pytest.mark.parametrize(
    "readings",
    [
        pytest.param([{1: waiting()}, {1: waiting(**GONE)}], id="seen closed"),
        pytest.param([{1: waiting(**GONE)}], id="seen closed alone"),
        pytest.param([{1: waiting()}, {1: slots.slot(port=99, sequence=4)}], id="its slot is used"),
    ],
)
def test_of_a_closed_listener_is_told_what_was_known_last(readings: list[dict[int, Slot]]) -> None:
    found = now(*readings)
    assert not found.is_open
    assert (found.limit, found.accept_len, found.unanswered) == (128, 0, 0)
    assert found.limits is not None
    assert found.limits == Limits(4096, 1024, 1, 128, 0)
    assert found.cgroup == 7
