"""Numbers by which one sees where they come from: what a life comes to is learnt with them.

A tracker that is fed records whose times and other numbers are marks tells of a life made of marks,
and of the differences of times. Each then stands for a column of the true numbers of many lives.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt
    from numpy import int64

    Numbers = npt.NDArray[int64]

_MARKED: Final = 1 << 63
_LEAST_BIT: Final = 34
"""No number of a record that is no mark is so large, but times and objects."""
MOST_TIMES: Final = 63 - _LEAST_BIT


@dataclass(frozen=True, slots=True)
class Time:
    """One of a life's times."""

    number: int


@dataclass(frozen=True, slots=True)
class Span:
    """What lay between two of them."""

    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class Value:
    """Any other number of a life."""

    number: int


Meaning = Time | Span | Value


def time(number: int) -> int:
    """The mark of a time: the difference of two tells which two they are."""
    return _MARKED + (1 << (_LEAST_BIT + number))


def value(number: int) -> int:
    """The mark of another number."""
    return _MARKED + number


def meaning_of(number: int) -> Meaning | None:
    """What a number stands for; None if for itself.

    Raises:
        ValueError: it comes from marks in a way that is not foreseen.
    """
    if abs(number) < 1 << _LEAST_BIT:
        return None
    if number < 0:
        raise ValueError("a negative difference")
    if number < _MARKED:
        begin, end = (number & -number).bit_length() - 1, number.bit_length()
        if number != (1 << end) - (1 << begin) or begin < _LEAST_BIT:
            raise ValueError("no difference of two times")
        return Span(begin - _LEAST_BIT, end - _LEAST_BIT)
    rest = number - _MARKED
    if rest < 1 << _LEAST_BIT:
        return Value(rest)
    if rest & (rest - 1):
        raise ValueError("no time")
    return Time(rest.bit_length() - 1 - _LEAST_BIT)


class Columns(NamedTuple):
    """The true numbers of some lives.

    Attributes:
        times: a row for each life.
        value_of: the column of another number.
    """

    times: Numbers
    value_of: Callable[[int], Numbers]

    def of(self, meaning: Meaning) -> Numbers:
        """The numbers that one stands for."""
        if isinstance(meaning, Time):
            return self.times[:, meaning.number]
        if isinstance(meaning, Span):
            return self.times[:, meaning.end] - self.times[:, meaning.begin]
        return self.value_of(meaning.number)

    def known(self, number: int | None) -> Numbers | None:
        """The same of a number; None for None."""
        meaning = None if number is None else meaning_of(number)
        return None if meaning is None else self.of(meaning)
