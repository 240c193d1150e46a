"""Frozen lives of one shape, side by side: a row of bytes each, as freezing packs them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from tcptrace.lifecycle.ends import SIDES
from tcptrace.lifecycle.freezing import HEAD, numbers_at
from tcptrace.lifecycle.shapes import number_of
from tcptrace.wire import columns
from tcptrace.wire.layout import OFFSETS

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from tcptrace.lifecycle.freezing import Freezer, Shape
    from tcptrace.lifecycle.life import Life
    from tcptrace.wire.columns import Words

    Bytes = npt.NDArray[np.uint8]
    Numbers = npt.NDArray[np.int64]
    Truths = npt.NDArray[np.bool_]

_SIDES: Final = (("<u8", 0), ("<u8", 8), ("<u2", 16), ("<u8", 18), ("<u8", 26), ("<u2", 34))
"""The numbers that ends.SIDES consists of, and where they are."""
_IN_RECORD: Final = (
    OFFSETS["local"],
    OFFSETS["local"] + 8,
    OFFSETS["local_port"],
    OFFSETS["remote"],
    OFFSETS["remote"] + 8,
    OFFSETS["remote_port"],
)
_MAPPED_SIDES: Final = (("<u4", 12), ("<u2", 16), ("<u4", 30), ("<u2", 34))
"""What is kept of it of two IPv4 addresses."""
_GAPS_AT: Final = 4
"""Where it is told how often lives were marked until it was frozen."""


def sides_of(records: Words) -> Bytes:
    """Each record's sides as ends.SIDES packs them."""
    raw = np.ascontiguousarray(records).view(np.uint8)
    sides: Bytes = np.empty((len(records), SIDES.size), np.uint8)
    for (code, at), offset in zip(_SIDES, _IN_RECORD, strict=True):
        column(sides, code, at)[:] = column(raw, code, offset)
    return sides


def column(rows: Bytes, code: str, at: int) -> npt.NDArray[Any]:
    """The numbers that lie at one place of each row."""
    return np.ndarray(len(rows), code, rows.data, at, rows.strides[:1])


def are_mapped(records: Words) -> Truths:
    """Whether both addresses that each record names are IPv4 ones."""
    return columns.are_ipv4(records) & columns.are_ipv4(records, columns.LOCAL)


def write_sides(rows: Bytes, sides: Bytes, *, is_mapped: bool) -> None:
    """Writes sides where frozen lives have theirs, behind the namespace."""
    at = HEAD.size + 4
    for code, offset in _MAPPED_SIDES if is_mapped else _SIDES:
        column(rows, code, at)[:] = column(sides, code, offset)
        at += int(code[-1])


def rows_of(
    freezer: Freezer, life: Life, sides: Bytes, told: Callable[[int], Numbers | None]
) -> Bytes:
    """Many lives frozen that are like one, but for their sides and their numbers.

    Args:
        freezer: its shape is in use as often as there are lives, then.
        life: one of them.
        sides: of each.
        told: what a number of that one stands for; None if for itself.
    """
    frozen = freezer.freeze(life)
    if frozen is None:
        raise AssertionError("it is fit to be frozen")
    (number, _, _) = HEAD.unpack_from(frozen)
    freezer.change_uses(number, len(sides) - 1)
    rows: Bytes = np.empty((len(sides), len(frozen)), np.uint8)
    rows[:] = np.frombuffer(frozen, np.uint8)
    is_mapped = freezer.shape_of(number).is_mapped
    write_sides(rows, sides, is_mapped=is_mapped)
    begin = numbers_at(is_mapped=is_mapped)
    for place, mark in enumerate(memoryview(frozen[begin:]).cast("Q")):
        meant = told(mark)
        if meant is not None:
            column(rows, "<i8", begin + 8 * place)[:] = meant
    return rows


def timed(numbers: Callable[[int], Numbers]) -> Callable[[int], Numbers | None]:
    """What the numbers of shapes.time_of() stand for, as rows_of() takes it."""

    def told(mark: int) -> Numbers | None:
        which = number_of(mark)
        return None if which is None else numbers(which)

    return told


def shape_numbers(rows: Bytes) -> Words:
    """The number of each one's shape."""
    return column(rows, "<u4", 0).astype(np.uint64)


def groups_of(rows: Bytes, *others: npt.NDArray[Any]) -> list[Numbers]:
    """Where those are that have one shape and namespace, and as many gaps behind them.

    Args:
        rows: of one width.
        others: what else those of a group have in common: a number for each row.
    """
    of_row = [column(rows, "<u8", 0), column(rows, "<u4", HEAD.size), *others]
    if all((numbers == numbers[0]).all() for numbers in of_row):
        return [np.arange(len(rows))]
    order = np.lexsort(of_row)
    is_new = np.zeros(len(rows), np.bool_)
    for numbers in of_row:
        ordered = numbers.take(order)
        is_new[1:] |= ordered[1:] != ordered[:-1]
    return np.split(order, np.flatnonzero(is_new))


def lack(rows: Bytes, freezer: Freezer, which: Truths) -> None:
    """Marks some as lives that may lack a record."""
    if which.any():
        column(rows, "<u4", _GAPS_AT)[which] = freezer.gaps - 1


def slices(rows: Bytes) -> list[bytes]:
    """Each row as bytes."""
    rows = np.ascontiguousarray(rows)
    slices: list[bytes] = rows.view(f"V{rows.shape[1]}").ravel().tolist()
    return slices


def have_ends(rows: Bytes, shape: Shape, records: Words) -> Truths:
    """Whether what was frozen is between the ends that each record names."""
    expected = rows.copy()
    write_sides(expected, sides_of(records), is_mapped=shape.is_mapped)
    have: Truths = (expected == rows).all(axis=1)
    have &= column(rows, "<u4", HEAD.size) == columns.netns(records)
    have &= are_mapped(records) == shape.is_mapped
    return have
