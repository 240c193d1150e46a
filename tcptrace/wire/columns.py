"""Batches as columns: each field of many records at once, without decoding any."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from tcptrace.wire.digest import KEYS, SPARE_BITS
from tcptrace.wire.framing import BUSY, DISCARDED
from tcptrace.wire.layout import OFFSETS, RECORD_SIZE

if TYPE_CHECKING:
    from collections.abc import Collection

    import numpy.typing as npt

    Bytes = npt.NDArray[np.uint8]
    Halves = npt.NDArray[np.uint32]
    Words = npt.NDArray[np.uint64]
    Truths = npt.NDArray[np.bool_]

_WORDS: Final = RECORD_SIZE // 8
_PLACES: Final = OFFSETS["netns"] // 8
_PORTS: Final = OFFSETS["local_port"] // 8
_CGROUP: Final = OFFSETS["cgroup"] // 8
"""In the high half."""
_KIND_HALF: Final = OFFSETS["kind"] // 4
_ERROR_HALF: Final = OFFSETS["error"] // 4
_PORTS_HALF: Final = OFFSETS["local_port"] // 4
_ADDRESS_HALVES: Final = [
    OFFSETS[side] // 4 + half for side in ("local", "remote") for half in range(4)
]
_NETNS_HALF: Final = OFFSETS["netns"] // 4
_PORT: Final = np.uint64(0xFFFF)
_PORT_BITS: Final = np.uint64(16)
_BUSY: Final = np.uint32(BUSY)
_DISCARDED: Final = np.uint32(DISCARDED)
_LOW: Final = np.uint64(0xFFFFFFFF)
_HALF: Final = np.uint64(32)
_ZERO: Final = np.uint64(0)
_MAPPED: Final = np.uint64(0xFFFF0000)
"""What lies before an IPv4 address in the word that it ends."""
_LOOPBACK4: Final = np.uint64(127)
_LOOPBACK6: Final = np.uint64(1 << 56)
"""The last word of ::1."""
_FEW: Final = 8
_MULTIPLIER: Final = np.uint64(0x9E3779B97F4A7C15)
_KEYS: Final = [np.uint64(key) for key in KEYS]
_SPARE_BITS: Final = np.uint64(SPARE_BITS)
_ONE: Final = np.uint64(1)

AT_NS: Final = OFFSETS["at_ns"] // 8
SOCK: Final = OFFSETS["sock"] // 8
ORIGIN: Final = OFFSETS["origin"] // 8
LOCAL: Final = OFFSETS["local"] // 8
REMOTE: Final = OFFSETS["remote"] // 8
COMM: Final = OFFSETS["comm"] // 8
"""The place of each among a record's words; addresses and names have two."""
ACCEPT_QUEUE: Final = OFFSETS["accept_queue_len"] // 8
"""Its length in the low half, its limit in the high one."""
SYN_QUEUE: Final = OFFSETS["syn_queue_len"] // 8
"""Its length in the low half; in the high one retransmits."""


def words_of(batch: bytes | memoryview) -> Words:
    """A batch as its records' 64-bit words: one row for each record."""
    return np.frombuffer(batch, np.uint64).reshape(-1, _WORDS)


def what(words: Words) -> Words:
    """What records tell, but for when, of whom and how much.

    Kind, family, old state and new state in the low half, byte by byte from the lowest; error,
    stage and flags in the high one.
    """
    halves = words.view(np.uint32)
    told: Halves = np.empty((len(words), 2), np.uint32)
    told[:, 0] = halves[:, _KIND_HALF]
    told[:, 1] = halves[:, _ERROR_HALF]
    return told.view(np.uint64)[:, 0]


def kinds(what: Words) -> Bytes:
    """Of what(): the kind."""
    return what.view(np.uint8)[::8]


def families(what: Words) -> Bytes:
    """Of what(): the family."""
    return what.view(np.uint8)[1::8]


def old_states(what: Words) -> Bytes:
    """Of what(): the old state."""
    return what.view(np.uint8)[2::8]


def new_states(what: Words) -> Bytes:
    """Of what(): the new state."""
    return what.view(np.uint8)[3::8]


def flags(what: Words) -> Bytes:
    """Of what(): the flags."""
    return what.view(np.uint8)[7::8]


def are_any(of: Bytes, *these: int) -> Truths:
    """Whether each byte is one of these."""
    each = np.ascontiguousarray(of)
    found: Truths = each == np.uint8(these[0])
    for one in these[1:]:
        found |= each == np.uint8(one)
    return found


def netns(words: Words) -> Words:
    """The inode number of the network namespace."""
    return low(words[:, _PLACES])


def cgroups(words: Words) -> Words:
    """The id of the cgroup; 0 where none is told."""
    return high(words[:, _CGROUP])


def ports(words: Words) -> Words:
    """Both ports: the local one low, the remote one high."""
    return low(words[:, _PORTS])


def ends_change(words: Words) -> Truths:
    """Of each record but the first, whether it names other ends than the one before."""
    halves = words.view(np.uint32)
    change: Truths = halves[1:, _PORTS_HALF] != halves[:-1, _PORTS_HALF]
    change |= halves[1:, _NETNS_HALF] != halves[:-1, _NETNS_HALF]
    for word in (LOCAL, LOCAL + 1, REMOTE, REMOTE + 1):
        change |= words[1:, word] != words[:-1, word]
    return change


def have_same_remote(words: Words, others: Words) -> Truths:
    """Whether each record names the same namespace and remote end as the other one."""
    same: Truths = netns(words) == netns(others)
    same &= ports(words) >> _PORT_BITS == ports(others) >> _PORT_BITS
    for word in (REMOTE, REMOTE + 1):
        same &= words[:, word] == others[:, word]
    return same


def have_local_port(words: Words) -> Truths:
    """Whether each record knows its local port."""
    are_known: Truths = words[:, _PORTS] & _PORT != _ZERO
    return are_known


def digests(words: Words) -> Words:
    """digest.digest_of() the sides that each record names."""
    halves = words.view(np.uint32)
    *keys, key_of_ports = _KEYS
    mixed = halves[:, _PORTS_HALF] * key_of_ports
    for key, place in zip(keys, _ADDRESS_HALVES, strict=True):
        mixed += halves[:, place] * key
    mixed >>= _SPARE_BITS
    mixed |= _ONE
    return mixed


def ends_print(words: Words) -> Words:
    """A number for the namespace and ends that each record names: the same for the same."""
    return mix(digests(words), netns(words))


def mix(mixed: Words, word: Words) -> Words:
    """A number for two: others for others, as good as always."""
    mixed = (mixed ^ word) * _MULTIPLIER
    mixed ^= high(mixed)
    return mixed


def identity(words: Words) -> list[Words]:
    """Where records come from and whom they name, but for ports and addresses."""
    return [words[:, _PLACES], words[:, COMM], words[:, COMM + 1], cgroups(words)]


def pair_print(words: Words) -> Words:
    """ends_print() but for the namespace, whichever of both ends is the local one."""
    both = ports(words)
    local, remote = both & _PORT, both >> _PORT_BITS
    for word in (0, 1):
        local = mix(local, words[:, LOCAL + word])
        remote = mix(remote, words[:, REMOTE + word])
    return mix(local + remote, local ^ remote)


def identities(words: Words) -> list[Words]:
    """identity(), and of what kind the addresses are."""
    kinds = are_ipv4(words, LOCAL).astype(np.uint64) << np.uint64(1)
    kinds |= are_ipv4(words)
    return [kinds, *map(np.ascontiguousarray, identity(words))]


def are_ipv4(words: Words, side: int = REMOTE) -> Truths:
    """Whether the address that each record names is an IPv4 one, of the remote or LOCAL side."""
    are_mapped: Truths = words[:, side] == _ZERO
    are_mapped &= low(words[:, side + 1]) == _MAPPED
    return are_mapped


def are_loopback(words: Words) -> Truths:
    """Whether the local address that each record names is one that every namespace has."""
    last = words[:, LOCAL + 1]
    are: Truths = are_ipv4(words, LOCAL) & (high(last) & np.uint64(0xFF) == _LOOPBACK4)
    are |= (words[:, LOCAL] == _ZERO) & (last == _LOOPBACK6)
    return are


def low(words: Words) -> Words:
    """The lower halves of words."""
    return words & _LOW


def high(words: Words) -> Words:
    """The upper halves."""
    return words >> _HALF


def different(words: Words) -> list[int]:
    """The different ones of many words that are mostly the same.

    np.unique() would import numpy.ma, which takes 25 ms.
    """
    found: list[int] = []
    while len(words) and len(found) < _FEW:
        found.append(int(words[0]))
        words = words[words != words[0]]
    return [*found, *set(words.tolist())]


def are_among(words: Words, others: Words) -> Truths:
    """Whether each word is one of the others."""
    if not len(others):
        return np.zeros(len(words), np.bool_)
    ordered = np.sort(others)
    places = np.searchsorted(ordered, words)
    places[places == len(ordered)] = 0
    among: Truths = ordered.take(places) == words
    return among


def are_any_of(ordered: Words, others: Collection[int]) -> Truths:
    """Whether each word, of different ones in ascending order, is one of the others."""
    if len(others) > len(ordered):
        return np.fromiter(map(others.__contains__, ordered.tolist()), np.bool_, len(ordered))
    are = np.zeros(len(ordered), np.bool_)
    if len(ordered):
        each = np.fromiter(others, np.uint64, len(others))
        places = np.searchsorted(ordered, each)
        places[places == len(ordered)] = 0
        are[places[ordered.take(places) == each]] = True
    return are


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
    # Few of them differ from the one before.
    changes = places.take(np.flatnonzero(places[1:] != places[:-1]) + 1).tolist()
    return {divmod(place, 1 << 32) for place in {*changes, *places[:1].tolist()}}
