"""Traffic of every kind, made by the plain sockets API."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final

from .sockets import accept, connect, listen, reset, wait_for_fin

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterable
    from contextlib import ExitStack

    from .lives import Address
    from .namespaces import Namespace

EVERY: Final = 15
"""One in so many stays open to the end, one is closed by one end only."""


def mix(namespace: Namespace, address: Address, kept: ExitStack, numbers: Iterable[int]) -> None:
    """Connections one after the other in every way that they end; some stay open.

    Args:
        namespace: where both ends are.
        address: the listener's.
        kept: keeps open the listener, every EVERYth connection and one end of every EVERYth.
        numbers: one for each connection; may take its time.
    """
    choice = random.Random(1)  # noqa: S311 - traffic, no secret
    ends: list[socket.socket] = []
    with namespace.inside():
        listener = kept.enter_context(listen(address))
        for number in numbers:
            client = connect(address)
            server = accept(listener)
            if number % EVERY == 0:
                ends += [client, server]
                continue
            if number % EVERY == 1:
                client.close()  # FIN_WAIT2 here, CLOSE_WAIT there
                wait_for_fin(server)
                ends.append(server)
                continue
            first, second = choice.choice([(client, server), (server, client)])
            if choice.random() < 0.3:
                reset(first)
            else:
                first.close()
                wait_for_fin(second)
            second.close()
    for end in ends:
        kept.enter_context(end)
