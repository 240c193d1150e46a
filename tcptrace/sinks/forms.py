"""Lines of many lives at once: what is the same in all is written once, the rest by columns.

A form is made of one life whose numbers are marks. Each number that differs from life to life has a
field there, as wide as the widest of them; what narrower ones leave is NUL, which no line has, and
goes when all of them are done.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from tcptrace.lifecycle import marks
from tcptrace.lifecycle.marks import Span, Time, Value
from tcptrace.sinks.jsonl import text_of
from tcptrace.tcp import address_text
from tcptrace.wire.columns import different

if TYPE_CHECKING:
    import numpy.typing as npt

    from tcptrace.lifecycle.marks import Columns
    from tcptrace.sinks.units import WallClock
    from tcptrace.wire.columns import Words

    Numbers = npt.NDArray[np.int64]
    Bytes = npt.NDArray[np.uint8]

_FIELD: Final = re.compile(r'"\\u0000(\d+)"')
"""As JSON has a string that no life has: NUL and a number."""
_GROUP: Final = 10_000
"""Numbers are written four digits at a time."""
_GROUP_DIGITS: Final = 4
_NS_PER_S: Final = 1_000_000_000
_DAY: Final = '"2025-11-21T21:17:03.123456Z"'
_MICROS: Final = 6
"""Digits of a day's fraction, before its Z."""


class Sides(NamedTuple):
    """The ends of some lives: raw addresses, two words each, and ports."""

    local: Words
    local_port: Numbers
    remote: Words
    remote_port: Numbers


@dataclass(frozen=True, slots=True)
class _Day:
    """A time of day."""

    time: Time


_Field = str | _Day | Time | Span | Value
"""What stands in a line: one of Sides, by its name; a time of day; a number."""


class Form:
    """The lines of lives of one shape.

    Args:
        told: the object of one whose numbers are marks.

    Raises:
        ValueError: it has a number of which it is not clear where it comes from.
    """

    def __init__(self, told: dict[str, Any]) -> None:
        self._fields: list[_Field] = []
        began_at = marks.meaning_of(told["began_at_ns"])
        if not isinstance(began_at, Time):
            raise ValueError("it has no begin")  # noqa: TRY004 - the number is at fault
        told["began_at"] = self._field(_Day(began_at))
        for side in ("local", "remote"):
            told[side]["address"] = self._field(side)
            told[side]["port"] = self._field(f"{side}_port")
        pieces = _FIELD.split(f"{text_of(self._with_fields(told))}\n")
        self._constants = [piece.encode("ascii") for piece in pieces[0::2]]
        self._order = [int(number) for number in pieces[1::2]]

    def _field(self, field: _Field) -> str:
        if field not in self._fields:
            self._fields.append(field)
        return f"\0{self._fields.index(field)}"

    def _with_fields(self, told: Any) -> Any:
        if isinstance(told, dict):
            return {key: self._with_fields(value) for key, value in told.items()}
        if isinstance(told, list):
            return [self._with_fields(value) for value in told]
        if isinstance(told, bool) or not isinstance(told, int):
            return told
        meaning = marks.meaning_of(told)
        return told if meaning is None else self._field(meaning)

    def lines(self, columns: Columns, sides: Sides, clock: WallClock) -> list[bytes]:
        """Writes the lines of such lives."""
        written = _write(self._fields, columns, sides, clock)
        blank = self._constants[0]
        places = []
        for number, constant in zip(self._order, self._constants[1:], strict=True):
            text = written[number]
            places.append((len(blank), text))
            blank += bytes(text.shape[1]) + constant
        rows: Bytes = np.empty((len(columns.times), len(blank)), np.uint8)
        rows[:] = np.frombuffer(blank, np.uint8)
        for at, text in places:
            rows[:, at : at + text.shape[1]] = text
        return BytesIO(rows.tobytes().replace(b"\0", b"")).readlines()


def _write(
    fields: list[_Field], columns: Columns, sides: Sides, clock: WallClock
) -> dict[int, Bytes]:
    """What stands in each field, by its number: a row for each line, or one for all of them."""
    written: dict[int, Bytes] = {}
    wide: dict[int, Numbers] = {}
    narrow: dict[int, Numbers] = {}
    for number, field in enumerate(fields):
        if isinstance(field, Time):
            wide[number] = columns.of(field)
        elif isinstance(field, Span | Value):
            narrow[number] = columns.of(field)
        elif isinstance(field, _Day):
            written[number] = _days(columns.of(field.time), clock)
        elif field.endswith("port"):
            narrow[number] = getattr(sides, field)
        else:
            written[number] = _addresses(getattr(sides, field))
    for some in (wide, narrow):
        numbers = np.stack(list(some.values()), axis=1)
        text = digits(numbers)
        size = text.shape[2]
        for place, (number, most) in enumerate(
            zip(some, numbers.max(axis=0).tolist(), strict=True)
        ):
            written[number] = text[:, place, size - len(str(most)) :]
    return written


def _days(times: Numbers, clock: WallClock) -> Bytes:
    """Times of day: text of the second, then microseconds."""
    seconds, rest = np.divmod(times + clock.shift_ns, _NS_PER_S)
    text = np.empty((len(times), len(_DAY)), np.uint8)
    for second in different(seconds):
        stamp = f'"{clock.utc(second * _NS_PER_S - clock.shift_ns)}"'
        text[seconds == second] = np.frombuffer(stamp.encode(), np.uint8)
    text[:, -_MICROS - 2 : -2] = digits(rest // 1000 + 10**_MICROS)[:, 1:]
    return text


def _addresses(words: Words) -> Bytes:
    """Addresses in quotes; one for all if they are the same."""
    if (words == words[0]).all():
        words = words[:1]
    raw = words.tobytes()
    texts = [_quoted(raw[at : at + 16]) for at in range(0, len(raw), 16)]
    return np.array(texts).view(np.uint8).reshape(len(texts), -1)


@lru_cache(maxsize=4096)
def _quoted(address: bytes) -> bytes:
    return f'"{address_text(address)}"'.encode()


def _groups() -> npt.NDArray[np.uint32]:
    """The texts of groups of digits: within a number, and then the same where it begins."""
    inner = b"".join(b"%04d" % number for number in range(_GROUP))
    first = b"".join((b"%d" % number).rjust(_GROUP_DIGITS, b"\0") for number in range(_GROUP))
    texts = np.frombuffer(inner + first, np.uint32).copy()
    texts[_GROUP] = 0  # nothing stands before a number
    return texts


_TEXTS: Final = _groups()
_ZERO: Final = np.frombuffer(b"0".rjust(_GROUP_DIGITS, b"\0"), np.uint32)[0]


def digits(numbers: Numbers) -> Bytes:
    """Numbers that are not negative as text: a row for each, NUL before the first digit."""
    most = int(numbers.max(initial=0))
    groups = -(-len(str(most)) // _GROUP_DIGITS)
    text = np.empty((*numbers.shape, groups), np.uint32)
    left = numbers
    for group in range(groups - 1, -1, -1):
        higher = left // _GROUP
        text[..., group] = _TEXTS.take(left - higher * _GROUP + (higher == 0) * _GROUP)
        left = higher
    text[..., -1][numbers == 0] = _ZERO
    return text.view(np.uint8)[..., _GROUP_DIGITS * groups - len(str(most)) :]
