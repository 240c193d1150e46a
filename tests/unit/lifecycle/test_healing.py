"""A loss makes the counts doubtful; a snapshot that loses nothing mends them where it was."""

from __future__ import annotations

from tcptrace.lifecycle.healing import HEAL_AFTER_NS, Healing
from unit.samples import S

OLD, NEW = 7, 8
"""A namespace that was there when tracing began, and one that came later."""


def snapshot(
    healing: Healing,
    at_ns: int,
    *,
    is_whole: bool = True,
    covered: tuple[int, ...] = (OLD,),
    known: tuple[int, ...] = (OLD,),
) -> None:
    healing.begin(at_ns)
    if not is_whole:
        healing.lose(at_ns + S)
    healing.end(at_ns + S, set(covered), known, is_whole=is_whole)


def test_a_namespace_that_no_snapshot_covers_stays_unhealed() -> None:
    healing = Healing()
    healing.lose(10 * S)
    assert healing.suspects((OLD, NEW)) == {OLD, NEW}
    for at_ns in (20 * S, 80 * S):
        snapshot(healing, at_ns, known=(OLD, NEW))
        assert healing.is_suspect
        assert healing.suspects((OLD, NEW)) == {NEW}
        assert not healing.is_due(at_ns + 1000 * S)
    assert (healing.heals, healing.last_heal_ns) == (1, 21 * S)


def test_one_whose_walk_failed_is_healed_by_the_next() -> None:
    healing = Healing()
    healing.lose(10 * S)
    snapshot(healing, 20 * S, covered=())
    assert (healing.suspects((OLD,)), healing.heals) == ({OLD}, 0)
    snapshot(healing, 80 * S)
    assert (healing.is_suspect, healing.heals, healing.last_heal_ns) == (False, 1, 81 * S)


def test_what_came_after_the_healing_lacks_nothing() -> None:
    healing = Healing()
    healing.lose(10 * S)
    snapshot(healing, 20 * S)
    snapshot(healing, 80 * S, known=(OLD, NEW))
    assert not healing.is_suspect
    healing.lose(90 * S)
    snapshot(healing, 100 * S, known=(OLD, NEW))
    assert healing.suspects((OLD, NEW)) == {NEW}


def test_a_snapshot_that_loses_findings_heals_nothing() -> None:
    healing = Healing()
    healing.lose(10 * S)
    snapshot(healing, 20 * S, covered=(), known=(OLD,))
    snapshot(healing, 80 * S, is_whole=False)
    assert healing.suspects((OLD, NEW)) == {OLD, NEW}


def test_a_snapshot_right_after_a_loss_heals_nothing() -> None:
    """What was told of just before it is not missed by it: it may be what was lost since."""
    healing = Healing()
    healing.lose(10 * S)
    snapshot(healing, 10 * S + HEAL_AFTER_NS - 1)
    assert healing.suspects((OLD, NEW)) == {OLD, NEW}
    assert (healing.heals, healing.last_heal_ns) == (0, None)
    assert healing.is_due(10 * S + HEAL_AFTER_NS)
    snapshot(healing, 10 * S + HEAL_AFTER_NS)
    assert (healing.is_suspect, healing.heals) == (False, 1)


def test_one_that_loses_nothing_right_after_a_loss_puts_off_no_other() -> None:
    healing = Healing()
    healing.lose(0)
    for _ in range(3):
        snapshot(healing, (healing.last_loss_ns or 0) + HEAL_AFTER_NS, is_whole=False)
    last_ns = healing.last_loss_ns or 0
    snapshot(healing, last_ns + S)
    assert healing.is_due(last_ns + HEAL_AFTER_NS)


def test_a_namespace_that_is_gone_is_in_doubt_no_more() -> None:
    healing = Healing()
    healing.lose(10 * S)
    snapshot(healing, 20 * S, known=(OLD, NEW, 9))
    healing.forget(NEW)
    assert healing.unhealed == {9}
    snapshot(healing, 80 * S, known=(OLD,))
    assert not healing.is_suspect


def test_nor_does_one_during_which_something_is_lost_that_is_no_finding() -> None:
    """A probe's run was skipped: there is no record of it."""
    healing = Healing()
    healing.lose(10 * S)
    healing.begin(20 * S)
    healing.lose(20 * S)
    healing.end(21 * S, {OLD}, (OLD,), is_whole=True)
    assert healing.is_suspect
    snapshot(healing, 30 * S)
    assert not healing.is_suspect


def test_without_a_loss_there_is_nothing_to_heal() -> None:
    healing = Healing()
    snapshot(healing, 0)
    assert not healing.is_suspect
    assert not healing.is_due(1000 * S)
    assert (healing.heals, healing.last_heal_ns) == (0, None)


def test_a_snapshot_is_due_soon_after_the_last_loss() -> None:
    healing = Healing()
    healing.lose(10 * S)
    healing.lose(11 * S)
    assert healing.is_suspect
    assert not healing.is_due(11 * S + HEAL_AFTER_NS - 1)
    assert healing.is_due(11 * S + HEAL_AFTER_NS)


def test_a_whole_snapshot_heals_once() -> None:
    healing = Healing()
    healing.lose(10 * S)
    snapshot(healing, 20 * S)
    snapshot(healing, 80 * S)
    assert not healing.is_suspect
    assert (healing.heals, healing.last_loss_ns, healing.last_heal_ns) == (1, 10 * S, 21 * S)


def test_one_that_loses_its_findings_is_tried_again_later_and_later() -> None:
    healing = Healing()
    healing.lose(0)
    waits = []
    at_ns = HEAL_AFTER_NS
    for _ in range(8):
        snapshot(healing, at_ns, is_whole=False)
        assert healing.is_suspect
        begin_ns = healing.last_loss_ns or 0
        at_ns = next(begin_ns + n * S for n in range(1000) if healing.is_due(begin_ns + n * S))
        waits.append((at_ns - begin_ns) // S)
    assert waits == [6, 12, 24, 48, 48, 48, 48, 48]
    snapshot(healing, at_ns)
    assert healing.heals == 1


def test_losses_by_others_during_a_snapshot_do_not_put_off_the_next() -> None:
    healing = Healing()
    for second in range(0, 60, 2):
        healing.lose(second * S)
        if second % 10 == 0:
            snapshot(healing, second * S, is_whole=False)
    last_ns = healing.last_loss_ns or 0
    assert healing.is_due(last_ns + HEAL_AFTER_NS)
