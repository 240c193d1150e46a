"""Frozen lives of one shape, side by side: a row of bytes each, as freezing packs them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from tcptrace.lifecycle.freezing import HEAD, numbers_at
from tcptrace.lifecycle.shapes import number_of
from tcptrace.wire import columns
from tcptrace.wire.layout import OFFSETS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy.typing as npt

    from tcptrace.lifecycle.freezing import Freezer, Shape
    from tcptrace.lifecycle.life import Life
    from tcptrace.wire.columns import Words

    Bytes = npt.NDArray[np.uint8]
    Numbers = npt.NDArray[np.int64]
    Truths = npt.NDArray[np.bool_]

_SIDES: Final = (
    ("<u8", OFFSETS["local"]),
    ("<u8", OFFSETS["local"] + 8),
    ("<u2", OFFSETS["local_port"]),
    ("<u8", OFFSETS["remote"]),
    ("<u8", OFFSETS["remote"] + 8),
    ("<u2", OFFSETS["remote_port"]),
)
"""The numbers that ends.SIDES consists of, and where a record has them."""
_MAPPED_SIDES: Final = (
    ("<u4", OFFSETS["local"] + 12),
    ("<u2", OFFSETS["local_port"]),
    ("<u4", OFFSETS["remote"] + 12),
    ("<u2", OFFSETS["remote_port"]),
)
"""What is kept of it of two IPv4 addresses."""
_GAPS_AT: Final = 4
"""Where it is told how often lives were marked until it was frozen."""


def column(rows: Bytes, code: str, at: int) -> npt.NDArray[Any]:
    """The numbers that lie at one place of each row."""
    return np.ndarray(len(rows), code, rows.data, at, rows.strides[:1])


def are_mapped(records: Words) -> Truths:
    """Whether both addresses that each record names are IPv4 ones."""
    return columns.are_ipv4(records) & columns.are_ipv4(records, columns.LOCAL)


def _sides(
    rows: Bytes, records: Words, *, is_mapped: bool
) -> Iterator[tuple[npt.NDArray[Any], npt.NDArray[Any]]]:
    """The numbers of both sides: those of frozen lives, and those of the records."""
    raw = np.ascontiguousarray(records).view(np.uint8)
    at = HEAD.size + 4
    for code, offset in _MAPPED_SIDES if is_mapped else _SIDES:
        yield column(rows, code, at), column(raw, code, offset)
        at += int(code[-1])


def rows_of(
    freezer: Freezer, life: Life, records: Words, told: Callable[[int], Numbers | None]
) -> Bytes:
    """Many lives frozen that are like one, but for their sides and their numbers.

    Args:
        freezer: its shape is in use as often as there are lives, then.
        life: one of them.
        records: one that names its ends, of each.
        told: what a number of that one stands for; None if for itself.
    """
    frozen = freezer.freeze(life)
    if frozen is None:
        raise AssertionError("it is fit to be frozen")
    (number, _, _) = HEAD.unpack_from(frozen)
    freezer.change_uses(number, len(records) - 1)
    rows: Bytes = np.empty((len(records), len(frozen)), np.uint8)
    rows[:] = np.frombuffer(frozen, np.uint8)
    is_mapped = freezer.shape_of(number).is_mapped
    for written, told_of in _sides(rows, records, is_mapped=is_mapped):
        written[:] = told_of
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
    have: Truths = column(rows, "<u4", HEAD.size) == columns.netns(records)
    have &= are_mapped(records) == shape.is_mapped
    for frozen, told_of in _sides(rows, records, is_mapped=shape.is_mapped):
        have &= frozen == told_of
    return have
