"""What a comparison with the kernel comes to, and how far apart two figures are. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from tcptrace.lifecycle.figures import Figure

Interval = tuple[int, int]


class Comparison(NamedTuple):
    """One figure of one namespace."""

    netns: int
    figure: Figure
    kernel: int
    ours: int
    """Both since the first reading; of a number of sockets, both at the last sample."""
    difference: int
    """Ours minus the kernel's; 0 where the two can be the same."""


def distance(zero: Interval, now: Interval) -> int:
    """How far ours is above (positive) or below the kernel; 0 if both can be the same."""
    if now[0] > zero[1]:
        return zero[1] - now[0]
    if now[1] < zero[0]:
        return zero[0] - now[1]
    return 0
