"""The scenarios, by name."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from .churns import churn, restart
from .faults import CLOCK_STEPPED, CPU_UNPLUGGED, NONE, STOPPED, TINY_RING
from .floods import flood
from .overflows import overflow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from .rows import Row

PLAYS: Final[Mapping[str, Callable[[], Iterator[Row]]]] = {
    "overflow": partial(overflow, "auto", NONE),
    "overflow-kprobe": partial(overflow, "kprobe", NONE),
    "overflow-tiny-ring": partial(overflow, "auto", TINY_RING),
    "overflow-stopped": partial(overflow, "auto", STOPPED),
    "flood": partial(flood, "auto", NONE),
    "flood-tiny-ring": partial(flood, "auto", TINY_RING),
    "churn": partial(churn, "auto", NONE),
    "churn-kprobe": partial(churn, "kprobe", NONE),
    "churn-tiny-ring": partial(churn, "auto", TINY_RING),
    "churn-stopped": partial(churn, "auto", STOPPED),
    "churn-cpu": partial(churn, "auto", CPU_UNPLUGGED),
    "churn-clock": partial(churn, "auto", CLOCK_STEPPED),
    "restart": restart,
}
