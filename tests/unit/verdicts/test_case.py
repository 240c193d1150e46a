"""What a listener is told to be now, by the ledger's readings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tcptrace.lifecycle.ledger import Ledger
from tcptrace.verdicts.case import ListenerNow, of_ledger
from unit import slots

if TYPE_CHECKING:
    from tcptrace.wire.ledger import Slot


def now(*readings: dict[int, Slot]) -> ListenerNow:
    """The only listener, after readings of a second each."""
    ledger = Ledger(100)
    for at_s, told in enumerate(readings, 1):
        ledger.absorb(slots.reading(at_s, told))
    (found,) = of_ledger(ledger).values()
    return found


def waiting(**changes: Any) -> Slot:
    """10 in the SYN queue, 4 of them young."""
    return slots.slot(syn_queue_len=10, syn_queue_young=4, **changes)


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
