"""Batches as columns: each field of many records at once, without decoding any."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from tcptrace.wire.framing import BUSY, DISCARDED
from tcptrace.wire.layout import OFFSETS, RECORD_SIZE

if TYPE_CHECKING:
    import numpy.typing as npt

    Words = npt.NDArray[np.uint64]
    Truths = npt.NDArray[np.bool_]

_WORDS: Final = RECORD_SIZE // 8
_PLACES: Final = OFFSETS["netns"] // 8
_PORTS: Final = OFFSETS["local_port"] // 8
_REST: Final = OFFSETS["error"] // 8
_BUSY: Final = np.uint32(BUSY)
_DISCARDED: Final = np.uint32(DISCARDED)
_LOW: Final = np.uint64(0xFFFFFFFF)
_HALF: Final = np.uint64(32)
_MAPPED: Final = np.uint64(0xFFFF0000)
"""What lies before an IPv4 address in the word that it ends."""
_MULTIPLIER: Final = np.uint64(0x9E3779B97F4A7C15)

AT_NS: Final = OFFSETS["at_ns"] // 8
SOCK: Final = OFFSETS["sock"] // 8
ORIGIN: Final = OFFSETS["origin"] // 8
LOCAL: Final = OFFSETS["local"] // 8
REMOTE: Final = OFFSETS["remote"] // 8
"""The place of each among a record's words; the addresses have two."""
ACCEPT_QUEUE: Final = OFFSETS["accept_queue_len"] // 8
"""Its length in the low half, its limit in the high one."""
SYN_QUEUE: Final = OFFSETS["syn_queue_len"] // 8
"""Its length in the low half; in the high one retransmits."""


def words_of(batch: bytes) -> Words:
    """A batch as its records' 64-bit words: one row for each record."""
    return np.frombuffer(batch, np.uint64).reshape(-1, _WORDS)


def what(words: Words) -> Words:
    """What records tell, but for when, of whom and how much.

    Kind, family, old state and new state in the low half, byte by byte from the lowest; error,
    stage and flags in the high one.
    """
    return high(words[:, _PORTS]) | (words[:, _REST] << _HALF)


def kinds(what: Words) -> Words:
    """Of what(): the kind."""
    return what & np.uint64(0xFF)


def families(what: Words) -> Words:
    """Of what(): the family."""
    return (what >> np.uint64(8)) & np.uint64(0xFF)


def old_states(what: Words) -> Words:
    """Of what(): the old state."""
    return (what >> np.uint64(16)) & np.uint64(0xFF)


def new_states(what: Words) -> Words:
    """Of what(): the new state."""
    return (what >> np.uint64(24)) & np.uint64(0xFF)


def flags(what: Words) -> Words:
    """Of what(): the flags."""
    return what >> np.uint64(56)


def netns(words: Words) -> Words:
    """The inode number of the network namespace."""
    return low(words[:, _PLACES])


def ports(words: Words) -> Words:
    """Both ports: the local one low, the remote one high."""
    return low(words[:, _PORTS])


def ends_print(words: Words) -> Words:
    """A number for the namespace and ends that each record names: the same for the same."""
    addresses = (words[:, place] for place in (LOCAL, LOCAL + 1, REMOTE, REMOTE + 1))
    mixed = ports(words)
    for word in (netns(words), *addresses):
        mixed = (mixed ^ word) * _MULTIPLIER
        mixed ^= high(mixed)
    return mixed


def are_ipv4(words: Words) -> Truths:
    """Whether the remote address that each record names is an IPv4 one."""
    are_mapped: Truths = (words[:, REMOTE] == 0) & (low(words[:, REMOTE + 1]) == _MAPPED)
    return are_mapped


def low(words: Words) -> Words:
    """The lower halves of words."""
    return words & _LOW


def high(words: Words) -> Words:
    """The upper halves."""
    return words >> _HALF


def unframe(span: memoryview, stride: int) -> tuple[bytes, int]:
    """As framing.Framing has it."""
    words = np.frombuffer(span, np.uint64).reshape(-1, stride // 8)
    # Headers first: what is copied must have been finished before.
    lengths = words[:, 0].astype(np.uint32)
    busy = np.flatnonzero(lengths & _BUSY)
    taken = int(busy[0]) if len(busy) else len(lengths)
    is_kept = lengths[:taken] & _DISCARDED == 0
    records = words[:taken, 1:]
    return (records if is_kept.all() else records[is_kept]).tobytes(), taken


def places_in(batch: bytes, stride: int) -> set[tuple[int, int]]:
    """As framing.Framing has it."""
    halves = np.frombuffer(batch, np.uint32).reshape(-1, stride // 4)
    places = halves[:, OFFSETS["netns"] // 4].astype(np.uint64) << _HALF
    places |= halves[:, OFFSETS["cgroup"] // 4]
    return {divmod(place, 1 << 32) for place in np.unique(places).tolist()}
