"""Histories to be generated, and how many.

HISTORIES in the environment says how many legal ones are replayed in all; `make test-histories`
asks for 10,000.
"""

from __future__ import annotations

import itertools
import os
import socket
from typing import TYPE_CHECKING, Final

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from unit import samples
from unit.lifecycle.model.crowd import Crowd
from unit.lifecycle.model.plan import Acceptance, Chain, Closing, Opening, TimeWaitEnd, Use
from unit.lifecycle.model.shop import Manners
from unit.lifecycle.model.world import World
from unit.lifecycle.stream import Ends

if TYPE_CHECKING:
    from unit.lifecycle.model.end import Host

HISTORIES: Final = int(os.environ.get("HISTORIES", "1000"))


def replays(share: float) -> settings:
    """Settings for a test that replays a share of the histories."""
    return settings(
        max_examples=max(1, round(share * HISTORIES)),
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )


THOROUGH: Final = replays(0.2)

ADDRESSES = (
    (samples.endpoint("10.0.0.2", 0), samples.endpoint("10.0.0.1", 0), socket.AF_INET),
    (samples.endpoint("10.0.0.2", 0), samples.endpoint("10.0.0.1", 0), socket.AF_INET6),
    (samples.endpoint("fd00::2", 0), samples.endpoint("fd00::1", 0), socket.AF_INET6),
)
"""IPv4, v4-mapped, IPv6."""

SEEN = (True, True)
"""Client and server."""

uses = st.builds(
    Use,
    opening=st.sampled_from(Opening),
    closing=st.sampled_from(Closing),
    acceptance=st.sampled_from(Acceptance),
    timewait_end=st.sampled_from(TimeWaitEnd),
    is_orphan=st.booleans(),
    is_bound=st.booleans(),
    retries=st.integers(1, 3),
    client_is_seen=st.sampled_from([True, True, True, False]),
    server_is_seen=st.sampled_from([True, True, True, False]),
)
guest_uses = st.builds(
    Use,
    opening=st.sampled_from(Opening),
    closing=st.sampled_from(Closing),
    acceptance=st.just(Acceptance.SOON),
    timewait_end=st.sampled_from(TimeWaitEnd),
    is_orphan=st.booleans(),
    is_bound=st.booleans(),
    retries=st.integers(1, 3),
    client_is_seen=st.sampled_from([True, True, False]),
    server_is_seen=st.sampled_from([True]),
)
pauses = st.lists(
    st.integers(1, 3 * samples.MS) | st.integers(1, 300 * samples.MS), min_size=1, max_size=8
)


@st.composite
def worlds(draw: st.DrawFn, most_uses: int = 4) -> World:
    chains = []
    for number in range(draw(st.integers(1, 4))):
        local, remote, family = draw(st.sampled_from(ADDRESSES))
        client = Ends(
            local._replace(port=40_000 + number), remote._replace(port=8000 + number), family
        )
        server = client.other_side
        if draw(st.booleans()):
            server = server._replace(netns=7)
        chains.append(
            Chain(
                client,
                server,
                tuple(draw(st.lists(uses, min_size=1, max_size=most_uses))),
                tuple(draw(pauses)),
                draw(st.integers(0, 10 * samples.MS)),
            )
        )
    return World(chains)


accept_pauses = st.lists(
    st.sampled_from([samples.US, samples.MS, 20 * samples.MS, 300 * samples.MS, 3 * samples.S]),
    min_size=1,
    max_size=4,
)


@st.composite
def manners(draw: st.DrawFn) -> Manners:
    has_cookies = draw(st.booleans())
    return Manners(
        limit=draw(st.integers(0, 3)),
        max_syn_backlog=draw(st.sampled_from([1, 2, 4, 256])),
        has_cookies=has_cookies,
        aborts=not has_cookies and draw(st.booleans()),
        pauses_ns=tuple(draw(accept_pauses)),
        open_ns=draw(st.none() | st.integers(0, 20 * samples.MS)),
    )


@st.composite
def crowds(draw: st.DrawFn) -> Crowd:
    """Connections that meet at one listener or two."""
    shops = draw(st.lists(manners(), min_size=1, max_size=2))
    chains = []
    for number in range(draw(st.integers(1, 8))):
        local, remote, family = draw(st.sampled_from(ADDRESSES))
        port = 8000 + draw(st.integers(0, len(shops) - 1))
        client = Ends(local._replace(port=40_000 + number), remote._replace(port=port), family)
        server = client.other_side
        chains.append(
            Chain(
                client,
                server._replace(netns=7) if port == 8001 else server,
                tuple(draw(st.lists(guest_uses, min_size=1, max_size=3))),
                tuple(draw(pauses)),
                draw(st.integers(0, 5 * samples.MS)),
            )
        )
    return Crowd(shops, chains, 8000)


def hosts() -> st.SearchStrategy[Host]:
    """Histories of both kinds."""
    return worlds() | crowds()


def _long_history() -> World:
    """Every opening, every closing, side by side; always the same."""
    local, remote, family = ADDRESSES[0]
    chains = []
    for number, (opening, closing) in enumerate(itertools.product(Opening, Closing)):
        use = Use(
            opening,
            closing,
            Acceptance.SOON,
            TimeWaitEnd.TIMER,
            number % 2 == 0,
            number % 3 == 0,
            1,
            *SEEN,
        )
        client = Ends(
            local._replace(port=40_000 + number), remote._replace(port=8000 + number), family
        )
        chains.append(Chain(client, client.other_side, (use,), (1000,), 0))
    return World(chains)


HISTORY: Final = _long_history()
