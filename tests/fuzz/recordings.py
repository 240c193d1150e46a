"""Inputs: recordings of every kind of damage whose checksums are right all the same."""

from __future__ import annotations

import io
import json
import random
import zlib
from functools import cache
from pathlib import Path
from typing import Any, Final

from unit import samples, slots

from tcptrace.lifecycle.names import Names, PodNames
from tcptrace.sinks.recording import RecordingWriter
from tcptrace.sinks.recording.layout import CRC, FORMAT_VERSION, FRONT, MAGIC, START
from tcptrace.wire.layout import RECORD_SIZE
from tcptrace.wire.ledger import SLOT_SIZE

DATA: Final = Path(__file__).resolve().parents[1] / "data"
_BLOCKS: Final = 6
"""Of a real recording, in each input."""
_LONGEST: Final = 4096
"""Bytes kept of a block, so that an input takes milliseconds."""
_INTERESTING: Final = (0, 1, 0x7F, 0x80, 0xFF, 0x1B, 0x0A, 0x22)
Block = tuple[bytes, bytes]
"""Tag and payload."""


def sealed(blocks: list[Block]) -> bytes:
    """A recording of these blocks, each with its right checksums."""
    parts = [START.pack(MAGIC, FORMAT_VERSION)]
    for tag, payload in blocks:
        front = FRONT.pack(tag, len(payload), zlib.crc32(payload))
        parts.append(front + CRC.pack(zlib.crc32(front)) + payload)
    return b"".join(parts)


def blocks_of(data: bytes) -> list[Block]:
    """The blocks of a sound recording."""
    at, found = START.size, []
    while at < len(data):
        tag, length, _ = FRONT.unpack_from(data, at)
        at += FRONT.size + CRC.size
        found.append((tag, data[at : at + length]))
        at += length
    return found


@cache
def real() -> tuple[tuple[Block, ...], ...]:
    """The recordings of tests/data, and a small one with names and stacks of everything."""
    files = sorted(DATA.rglob("*.tcptrace"))
    assert files
    return (*(tuple(blocks_of(path.read_bytes())) for path in files), tuple(blocks_of(_small())))


def _small() -> bytes:
    file = io.BytesIO()
    writer = RecordingWriter(file, "t.rec", samples.head())
    reading = slots.reading(
        1,
        {1: slots.slot(), 2: slots.slot("::1", 443, pid=0, cgroup=9)},
        namespaces=(slots.figures({"ListenDrops": 1}, name="blue"),),
        owners={12345: (77, b"h\xffllo")},
        cgroups={9: "/system.slice/web.service"},
    )
    names = Names(own_netns=1)
    names.cgroups.learn(9, "/system.slice/web.service")
    names.cgroups.learn(8, f"/docker/{'a1' * 32}")
    names.namespaces.learn(slots.NETNS, "blue")
    names.containers.learn("a1" * 32, PodNames("web", "web-7d4b9c", "default"))
    writer.write_names(names)
    writer.write_ledger(reading)
    writer.write(samples.batch(*(samples.record(samples.START + at) for at in range(5))))
    writer.write_lost(3)
    writer.finish(samples.NO_LOSSES, samples.START + samples.S)
    return file.getvalue()


def damaged(seed: int) -> bytes:
    """A few blocks of a real recording after a few mutations, sealed again."""
    rng = random.Random(seed)  # noqa: S311 - a fuzzer's
    chosen = rng.choice(real())
    start = rng.randrange(1, max(2, len(chosen) - _BLOCKS))
    blocks = [chosen[0], *((tag, _shortened(tag, part, rng)) for tag, part in
                           chosen[start : start + _BLOCKS])]  # fmt: skip
    for _ in range(rng.randrange(1, 4)):
        _mutate_blocks(blocks, rng)
    for _ in range(rng.randrange(1, 8)):
        place = rng.randrange(len(blocks)) if rng.random() < 0.9 else 0
        tag, payload = blocks[place]
        if tag == b"HEAD" and place == 0 and rng.random() < 0.8:
            continue  # a head that can't be read hides all else
        blocks[place] = tag, _mutated(payload, rng)
    data = sealed(blocks)
    return data[: rng.randrange(len(data))] if rng.random() < 0.1 else data


def _shortened(tag: bytes, payload: bytes, rng: random.Random) -> bytes:
    if tag != b"RECS" or len(payload) <= _LONGEST:
        return payload[:_LONGEST] if tag == b"RECS" else payload
    first = rng.randrange(len(payload) // RECORD_SIZE) * RECORD_SIZE
    return payload[first : first + _LONGEST // RECORD_SIZE * RECORD_SIZE]


def _mutate_blocks(blocks: list[Block], rng: random.Random) -> None:
    place, other = rng.randrange(len(blocks)), rng.randrange(len(blocks))
    match rng.randrange(5):
        case 0 if len(blocks) > 2 and place:
            del blocks[place]
        case 1:
            blocks.insert(place + 1, blocks[other])
        case 2 if place and other:
            blocks[place], blocks[other] = blocks[other], blocks[place]
        case 3 if place:
            tag = rng.choice([b"RECS", b"SYMS", b"LDGR", b"LOST", b"DONE", b"HEAD", b"NAME"])
            blocks[place] = tag, blocks[place][1]
        case _:
            return


def _mutated(payload: bytes, rng: random.Random) -> bytes:
    if payload[:1] in (b"{", b"[") and rng.random() < 0.7:
        return _mutated_json(payload, rng)
    data = bytearray(payload or b"\0")
    for _ in range(rng.choice((1, 1, 2, 8, 64))):
        at = rng.randrange(len(data))
        match rng.randrange(6):
            case 0:
                data[at] ^= 1 << rng.randrange(8)
            case 1:
                data[at] = rng.choice(_INTERESTING)
            case 2:
                data[at : at + 8] = rng.choice((bytes(8), b"\xff" * 8, rng.randbytes(8)))[
                    : len(data[at : at + 8])
                ]
            case 3:  # a whole record or slot comes again, elsewhere
                size = rng.choice((RECORD_SIZE, SLOT_SIZE))
                source = rng.randrange(len(data)) // size * size
                target = at // size * size
                data[target : target + size] = data[source : source + size]
            case 4 if rng.random() < 0.1:
                del data[at:]
                data += b"\0"
            case _:
                data[at] = rng.randrange(256)
    return bytes(data)


_WORDS: Final[tuple[Any, ...]] = (
    None, True, -1, 0, 2**63, 2**64, 10**400, 1e308, "", "x" * 3000, "\x1b[2J", "\u202e", "\ud800",
    [], {}, [[]], [1, 2, 3], {"a": 1},
)  # fmt: skip


def _mutated_json(payload: bytes, rng: random.Random) -> bytes:
    try:
        told: Any = json.loads(payload)
    except ValueError:
        return payload
    holder, key = None, None
    value = told
    while isinstance(value, (dict, list)) and value and rng.random() < 0.8:
        holder = value
        key = rng.choice(list(value)) if isinstance(value, dict) else rng.randrange(len(value))
        value = value[key]
    if holder is None:
        told = rng.choice(_WORDS)
    elif isinstance(holder, dict) and rng.random() < 0.2:
        del holder[key]
    else:
        holder[key] = rng.choice(_WORDS)  # type: ignore[index]
    return json.dumps(told).encode()
