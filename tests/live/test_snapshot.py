"""Sockets that were there before the trace: counted from a snapshot, as `ss` counts them."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from itertools import count, islice
from threading import Event, Thread
from typing import TYPE_CHECKING, Final

from .namespaces import Namespace
from .serving import Serving
from .sockets import in_thread
from .states import last_differences, listed
from .traffic import mix
from .waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

_PORT: Final = 8001
_CONNECTIONS: Final = 300
_TRAFFIC_S: Final = 240.0
_PACE_S: Final = 0.05
"""Between two connections until the trace has begun: as long as that may take, they are few."""
_LINGERING: Final = 20
"""Of each kind at least."""
_ADDRESSES: Final = ("127.0.0.1", "::1")
_AGREE_S: Final = {"fentry": 30.0, "kprobe": 100.0}
"""A kprobe that is skipped leaves a count wrong until the next snapshot, at most a minute later."""


def test_equals_ss_when_started_in_the_middle(attach: str) -> None:
    with ExitStack() as stack:
        namespaces = [
            stack.enter_context(Namespace(f"snapshot-{6 if ':' in address else 4}"))
            for address in _ADDRESSES
        ]
        serving = stack.enter_context(Serving("--attach", attach))
        begun = Event()
        traffic = [
            in_thread(partial(mix, namespace, (address, _PORT), stack, _numbers(begun)))
            for namespace, address in zip(namespaces, _ADDRESSES, strict=True)
        ]
        serving.wait_until_tracing()
        begun.set()
        until(lambda: not any(map(Thread.is_alive, traffic)), "the traffic to end", _TRAFFIC_S)
        for namespace in namespaces:
            _compare(serving, namespace, _AGREE_S[attach])


def _compare(serving: Serving, namespace: Namespace, agree_s: float) -> None:
    assert last_differences(serving, namespace, agree_s) == {}
    there = listed(namespace)
    assert there["close_wait"] >= _LINGERING
    assert there["established"] >= 2 * _LINGERING
    assert there["listen"] == 1


def _numbers(begun: Event) -> Iterator[int]:
    """Until the trace has begun, and _CONNECTIONS more."""
    numbers = count()
    while not begun.wait(_PACE_S):
        yield next(numbers)
    yield from islice(numbers, _CONNECTIONS)
