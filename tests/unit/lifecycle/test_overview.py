from __future__ import annotations

from tcptrace.lifecycle.accept_waits import AcceptWaits
from tcptrace.lifecycle.ledger import Address, Ledger
from tcptrace.lifecycle.overview import PAST_PERIOD_NS, RATE_WINDOW_NS, Overview, Row
from tcptrace.wire.events import Stage
from unit.samples import MS, START, S
from unit.slots import NETNS, reading, slot

WEB = Address(NETNS, "0.0.0.0", 80)  # noqa: S104 - in a table


class Host:
    """A ledger that is looked at each time that it is read."""

    def __init__(self) -> None:
        self.ledger = Ledger(10)
        self.waits: dict[Address, AcceptWaits] = {}
        self.overview = Overview()

    def look(self, at_s: float, drops: int, *, accepts: int = 0, port: int = 80) -> Row:
        self.ledger.absorb(reading(at_s, {1: slot(port=port, counts={Stage.OTHER: drops})}))
        waits = self.waits.setdefault(WEB, AcceptWaits())
        while waits.count < accepts:
            waits.add(3 * MS, START + int(at_s * S))
        (row,) = self.overview.look(self.ledger, self.waits, START + int(at_s * S))
        return row


def test_the_first_look_has_no_rates() -> None:
    row = Host().look(1, 7, accepts=4)
    assert (row.drop_count, row.drop_rate) == (7, 0)
    assert (row.accepts, row.accept_rate) == (4, 0)
    assert row.drop_rates[Stage.OTHER] == 0
    assert row.accept_wait_p99_ns == 3 * MS


def test_rates_are_of_the_time_since_the_last_looks() -> None:
    host = Host()
    host.look(1, 0)
    row = host.look(3, 8, accepts=4)
    assert row.drop_rates[Stage.OTHER] == row.drop_rate == 4
    assert row.accept_rate == 2


def test_and_of_the_last_five_seconds_alone() -> None:
    host = Host()
    for second in range(10):
        host.look(second, 100 if second < 5 else 100 + second)
    assert host.look(10, 110).drop_rate == 1


def test_seldom_looks_have_longer_rates() -> None:
    host = Host()
    host.look(0, 0)
    host.look(60, 60)
    assert host.look(120, 180).drop_rate == 2


def test_a_listener_without_a_past_counts_from_nothing() -> None:
    host = Host()
    host.look(1, 5)
    host.ledger = Ledger(10)
    assert host.look(3, 4, port=443).drop_rate == 2


def test_a_rate_is_never_below_zero() -> None:
    """It was forgotten and came back: its counts begin anew."""
    host = Host()
    host.look(1, 500, accepts=50)
    host.ledger, host.waits = Ledger(10), {}
    row = host.look(3, 4, accepts=2)
    assert (row.drop_rate, row.accept_rate) == (2, 1)


def test_how_full_is_the_fullest_socket() -> None:
    host = Host()
    full = slot(accept_queue_len=4, accept_queue_limit=3)
    host.ledger.absorb(reading(1, {1: full, 2: slot(accept_queue_limit=1000)}))
    (row,) = host.overview.look(host.ledger, {}, START + S)
    assert row.accept_queue_fill == 1
    assert (row.accepts, row.accept_rate, row.accept_wait_p99_ns) == (0, 0, None)
    gone = {n: slot(closed_at_ns=START + S) for n in (1, 2)}
    host.ledger.absorb(reading(2, gone))
    (row,) = host.overview.look(host.ledger, {}, START + 2 * S)
    assert row.accept_queue_fill == 0


def test_however_often_it_looks_it_keeps_few_pasts() -> None:
    host = Host()
    for millisecond in range(0, 12_000, 20):
        row = host.look(millisecond / 1000, millisecond)
    assert len(host.overview._pasts) <= RATE_WINDOW_NS / PAST_PERIOD_NS + 2
    assert round(row.drop_rate) == 1000
