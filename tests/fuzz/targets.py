"""What is fuzzed: each entrance from outside, with its inputs and what must hold."""

from __future__ import annotations

import json
import struct
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import yaml
from hypothesis import strategies as st
from unit import samples
from unit.sinks.test_recording import HOSTILE, JSON
from unit.sinks.web.test_config_fuzz import PIECES, TREES
from unit.sinks.web.test_config_fuzz import read as read_web_config
from unit.test_pipeline import records

from tcptrace.kernel.sock_diag import _one_part
from tcptrace.sinks.metrics.families import label_text
from tcptrace.sinks.terminal import comm_text, safe_text
from tcptrace.wire.decode import WireError, decode_batch, decode_stacked
from tcptrace.wire.layout import RECORD_SIZE, STACK_SIZE
from tcptrace.wire.ledger import SLOT_SIZE, decode_slot

from . import otlp, recordings, shown, web
from .recordings import sealed

if TYPE_CHECKING:
    from collections.abc import Callable

    from hypothesis.strategies import SearchStrategy

    from tcptrace.wire.events import Record

SEEDS: Final = st.integers(0, 2**64 - 1)
"""For inputs that a random generator makes: shrinking them would say nothing."""


class Target(NamedTuple):
    """One entrance.

    Attributes:
        inputs: what is tried.
        check: raises what is not foreseen.
        weight: its share of the time.
    """

    inputs: SearchStrategy[Any]
    check: Callable[[Any], object]
    weight: int = 1


def _head() -> tuple[bytes, bytes]:
    return recordings.real()[-1][0]


def _random_bytes(data: bytes) -> None:
    for whole in (data, sealed([_head()]) + data):
        shown.check_lives(whole)


def _damaged(seed: int) -> None:
    data = recordings.damaged(seed)
    shown.check_lives(data)
    shown.check_host(data)


def _records(many: list[Record]) -> None:
    data = sealed([_head(), (b"RECS", samples.batch(*many))])
    shown.check_lives(data)
    shown.check_host(data)


_FRONT: Final = struct.Struct("<QQII")
_SLOTS: Final = st.lists(
    st.tuples(st.integers(0, 9), st.binary(min_size=SLOT_SIZE, max_size=SLOT_SIZE)), max_size=4
)


def _slots(found: list[tuple[int, bytes]]) -> None:
    packed = b"".join(struct.pack("<Q", number) + raw for number, raw in found)
    words = b'{"namespaces": []}'
    blocks = [
        (b"LDGR", _FRONT.pack(at, at, 1, len(found)) + packed + words)
        for at in (samples.START, samples.START + samples.S)
    ]
    shown.check_host(sealed([_head(), *blocks]))
    for _, raw in found:
        decode_slot(raw)


LEDGERS: Final = st.fixed_dictionaries(
    {},
    optional={
        "namespaces": JSON | st.lists(st.fixed_dictionaries(HOSTILE), max_size=2),
        "owners": JSON | st.lists(st.tuples(JSON, JSON, JSON), max_size=2),
        "cgroups": JSON | st.lists(st.tuples(JSON, JSON), max_size=2),
    },
)
"""As tests/unit reads them; here they are shown, too."""


def _ledger_words(words: object) -> None:
    payload = _FRONT.pack(samples.START, 1, 1, 0) + json.dumps(words).encode()
    shown.check_host(sealed([_head(), (b"LDGR", payload)]))


def _decode(data: bytes) -> None:
    for decode, size in ((decode_batch, RECORD_SIZE), (decode_stacked, RECORD_SIZE + STACK_SIZE)):
        try:
            found: list[Any] = list(decode(data))
        except WireError:
            assert len(data) % size
        else:
            assert len(found) * size == len(data)


def _diag(data: bytes) -> None:
    with suppress(OSError):
        for message in _one_part(memoryview(data), 1):
            assert len(message) <= len(data)


_MESSAGES: Final = st.lists(
    st.builds(
        lambda length, kind, sequence, payload: (
            struct.pack("=IHHII", length, kind, 2, sequence, 0) + payload
        ),
        st.integers(0, 200) | st.integers(0, 2**32 - 1),
        st.sampled_from([2, 3, 20, 65535]),
        st.integers(0, 2),
        st.binary(max_size=100),
    ),
    max_size=4,
).map(b"".join)


def _names(name: bytes) -> None:
    text = comm_text(name)
    assert "\0" not in text
    assert safe_text(text).isprintable()
    assert label_text(name.decode("utf-8", "backslashreplace")).isprintable()
    assert label_text(name.decode("latin-1")).isprintable()


def _as_yaml(tree: object) -> bytes:
    return yaml.safe_dump(tree, allow_unicode=True).encode("utf-8", "surrogatepass")


_WHOLE: Final = st.integers(0, 3).flatmap(
    lambda count: st.binary(min_size=count * RECORD_SIZE, max_size=count * RECORD_SIZE)
)

TARGETS: Final[dict[str, Target]] = {
    "recording: random bytes": Target(st.binary(max_size=600), _random_bytes),
    "recording: damaged, checksums right": Target(SEEDS, _damaged, 6),
    "recording: records of any content": Target(st.lists(records, max_size=25), _records, 4),
    "recording: slots of any content": Target(_SLOTS, _slots, 2),
    "recording: a ledger of any JSON": Target(LEDGERS, _ledger_words, 2),
    "wire.decode": Target(st.binary(max_size=3 * RECORD_SIZE) | _WHOLE, _decode),
    "sock_diag's answers": Target(_MESSAGES | st.binary(max_size=200), _diag),
    "names": Target(st.binary(max_size=40) | st.text(max_size=20).map(str.encode), _names),
    "web: request heads": Target(web.HEADS, web.check_head, 2),
    "web: Accept": Target(web.WORDS, web.check_accept),
    "web: Authorization": Target(web.WORDS, web.check_authorization),
    "web: paths": Target(web.PATHS, web.check_path),
    "web: bytes to a server": Target(web.HEADS, web.check_bytes, 2),
    "web: TLS hellos": Target(SEEDS, web.check_hello, 2),
    "OTLP: an endpoint's answers": Target(otlp.ANSWERS, otlp.check_answer, 2),
    "OTLP: Retry-After": Target(otlp.RETRIES, otlp.check_retry),
    "OTLP: lines of the child that sends": Target(otlp.LINES, otlp.check_line),
    "web configuration": Target(
        st.binary(max_size=200)
        | st.lists(PIECES, max_size=40).map(lambda pieces: "".join(pieces).encode())
        | TREES.map(_as_yaml),
        read_web_config,
        2,
    ),
}
