"""What a snapshot finds as it is known, many findings at once.

A snapshot tells of every socket, and most of what it tells of those that rest is known: nothing is
kept of it but that they were found.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from tcptrace.lifecycle.freezing import HEAD, SEEN_AT
from tcptrace.lifecycle.frozen_rows import column, groups_of, have_ends
from tcptrace.tcp import State
from tcptrace.wire import columns
from tcptrace.wire.events import Kind

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from tcptrace.lifecycle.connection import Process
    from tcptrace.lifecycle.freezing import Shape
    from tcptrace.lifecycle.frozen_columns import FrozenColumns
    from tcptrace.lifecycle.registry import Registry
    from tcptrace.lifecycle.snapshots import Snapshots
    from tcptrace.lifecycle.tally import Tally
    from tcptrace.wire.columns import Words

    Bytes = npt.NDArray[np.uint8]
    Numbers = npt.NDArray[np.int64]
    Truths = npt.NDArray[np.bool_]

FEWEST: Final = 8
"""Fewer findings are not worth the columns."""
_WITHOUT_OWNER: Final = (State.TIME_WAIT, State.NEW_SYN_RECV)


class Findings:
    """Takes such findings.

    Args:
        registry: where the lives are.
        frozen: what they are frozen to there.
        snapshots: knows the snapshot that is being taken.
        tally: hears of them.
    """

    def __init__(
        self, registry: Registry, frozen: FrozenColumns, snapshots: Snapshots, tally: Tally
    ) -> None:
        self._freezer = registry.objects.freezer
        self._frozen = frozen
        self._snapshots = snapshots
        self._tally = tally

    def take(self, batch: bytes | memoryview) -> bytes | memoryview:
        """Takes those that tell nothing new of frozen lives, alone in their objects.

        Args:
            batch: records of a snapshot that is being taken, and others.

        Returns:
            All other records.
        """
        words = columns.words_of(batch)
        what = columns.what(words)
        places = np.flatnonzero(columns.are_any(columns.kinds(what), Kind.SEEN))
        if len(places) < FEWEST:
            return batch
        socks = np.sort(words[:, columns.SOCK])
        shared = socks[1:][socks[1:] == socks[:-1]]
        places = places[~columns.are_among(words[:, columns.SOCK][places], shared)]
        left = np.ones(len(words), np.bool_)
        for which, rows, _ in self._frozen.look(words[:, columns.SOCK][places]):
            found = places.take(which)
            for some in groups_of(rows, what.take(found)):
                left[self._see(words, found.take(some), rows.take(some, axis=0))] = False
        return words[left].tobytes()

    def _see(self, words: Words, places: Numbers, rows: Bytes) -> Numbers:
        """Takes those of lives of one shape, found in one state, that are as known."""
        records = words.take(places, axis=0)
        (number, _, _) = HEAD.unpack_from(rows[0])
        shape = self._freezer.shape_of(number)
        is_known = _is_state_known(shape, records[:1]) & have_ends(rows, shape, records)
        is_known &= _are_owners_known(shape, records, self._snapshots.owners)
        if not shape.has_cgroup:
            is_known &= columns.cgroups(records) == np.uint64(0)
        if not is_known.any():
            return places[:0]
        rows, records = rows[is_known], records[is_known]
        column(rows, "<u4", SEEN_AT)[:] = self._snapshots.number
        self._frozen.change(np.ascontiguousarray(records[:, columns.SOCK]), rows)
        self._tally.events[Kind.SEEN] += len(records)
        self._tally.heard.update(columns.different(columns.netns(records)))
        return places[is_known]


def _is_state_known(shape: Shape, record: Words) -> bool:
    """Whether a finding is of the state and the kind of object that lives of a shape are in."""
    what = columns.what(record)
    found, stands_for = int(columns.old_states(what)[0]), int(columns.new_states(what)[0])
    if shape.life_was_released or found in (State.CLOSE, State.LISTEN):
        return False
    if found == State.TIME_WAIT:
        is_one = stands_for in (State.FIN_WAIT2, State.TIME_WAIT)
        return shape.is_timewait and is_one and shape.state == stands_for
    is_request = found == State.NEW_SYN_RECV
    return not shape.is_timewait and shape.is_request == is_request and shape.state == found


def _are_owners_known(shape: Shape, records: Words, owners: Mapping[int, Process]) -> Truths:
    """Whether nobody is known to hold each socket of whom its life does not know."""
    old_state = int(columns.old_states(columns.what(records[:1]))[0])
    if shape.has_process or old_state in _WITHOUT_OWNER:
        return np.ones(len(records), np.bool_)
    held = np.fromiter(owners, np.uint64, len(owners))
    return ~columns.are_among(records[:, columns.ORIGIN], held)
