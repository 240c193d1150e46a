"""A trace's head and ending as JSON, and back, every type checked: the file may be anybody's."""

from __future__ import annotations

import json
from typing import Any, Final, NamedTuple, cast

from tcptrace.wire.head import AttachedHook, Losses, TraceHead

_MAX_NUMBER: Final = (1 << 64) - 1


class BadHead(ValueError):  # noqa: N818
    """The JSON is broken, or doesn't have what it must have."""


class Ending(NamedTuple):
    """How a recorded trace ended."""

    losses: Losses
    ended_monotonic_ns: int
    records: int
    """How many were written."""


def head_json(head: TraceHead) -> bytes:
    """Writes the head as one JSON object."""
    hooks = [hook._asdict() for hook in head.hooks]
    return json.dumps({**head._asdict(), "hooks": hooks}).encode()


def head_from(data: bytes) -> TraceHead:
    """Reads what `head_json` wrote.

    Raises:
        BadHead: it is something else.
    """
    fields = _object(data)
    hooks = tuple(
        AttachedHook(_text(_mapping(hook), "name"), _text(_mapping(hook), "carrier"))
        for hook in _sequence(fields, "hooks")
    )
    return TraceHead(
        wire_version=_number(fields, "wire_version"),
        record_size=_number(fields, "record_size"),
        stacks=_flag(fields, "stacks"),
        kernel=_text(fields, "kernel"),
        machine=_text(fields, "machine"),
        hostname=_text(fields, "hostname"),
        began_monotonic_ns=_number(fields, "began_monotonic_ns"),
        began_realtime_ns=_number(fields, "began_realtime_ns"),
        what=_text(fields, "what"),
        port=None if fields.get("port") is None else _number(fields, "port"),
        carrier=_text(fields, "carrier"),
        hooks=hooks,
        untold=_texts(fields, "untold") if "untold" in fields else (),
        uncompared=_texts(fields, "uncompared") if "uncompared" in fields else (),
    )


def ending_json(ending: Ending) -> bytes:
    """Writes the ending as one JSON object."""
    return json.dumps({**ending._asdict(), "losses": ending.losses._asdict()}).encode()


def ending_from(data: bytes) -> Ending:
    """Reads what `ending_json` wrote.

    Raises:
        BadHead: it is something else.
    """
    fields = _object(data)
    losses = _mapping(fields.get("losses"))
    missed = _mapping(losses.get("missed_by_hook"))
    lost = _mapping(losses.get("lost_by_hook", {}))
    return Ending(
        Losses(
            lost_records=_number(losses, "lost_records"),
            missed_by_hook={hook: _number(missed, hook) for hook in missed},
            uncounted_hooks=_texts(losses, "uncounted_hooks"),
            lost_by_hook={hook: _number(lost, hook) for hook in lost},
        ),
        ended_monotonic_ns=_number(fields, "ended_monotonic_ns"),
        records=_number(fields, "records"),
    )


def _object(data: bytes) -> dict[str, Any]:
    try:
        return _mapping(json.loads(data))
    except BadHead:
        raise
    except (ValueError, RecursionError) as error:
        raise BadHead("its JSON is broken") from error


def _mapping(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise BadHead("its JSON has no object where one must be")
    return cast("dict[str, Any]", value)


def _sequence(fields: dict[str, Any], key: str) -> list[Any]:
    value = fields.get(key)
    if not isinstance(value, list):
        raise BadHead(f"{key} is no list")
    return value


def _number(fields: dict[str, Any], key: str) -> int:
    value = fields.get(key)
    if type(value) is not int or not 0 <= value <= _MAX_NUMBER:
        raise BadHead(f"{key} is no number of 64 bits")
    return value


def _text(fields: dict[str, Any], key: str) -> str:
    value = fields.get(key)
    if not isinstance(value, str):
        raise BadHead(f"{key} is no text")
    return value


def _flag(fields: dict[str, Any], key: str) -> bool:
    value = fields.get(key)
    if not isinstance(value, bool):
        raise BadHead(f"{key} is neither true nor false")
    return value


def _texts(fields: dict[str, Any], name: str) -> tuple[str, ...]:
    texts = _sequence(fields, name)
    if not all(isinstance(text, str) for text in texts):
        raise BadHead(f"{name} are not all text")
    return tuple(texts)
