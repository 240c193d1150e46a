"""Listeners whose queues overflow in every way: a network namespace for each combination."""

from __future__ import annotations

import itertools
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final, NamedTuple

from .namespaces import Namespace
from .packets import send_packets, send_syn
from .sockets import SYN_RECV, Attempt, accept, connect, counters, listen, states_at
from .waiting import until

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterable, Mapping

    from .serving import Scrape, Serving

FULL: Final = 8001
IDLE: Final = 8002
AMPLE: Final = 8003
_ATTEMPTS: Final = 8
_LATE: Final = 3
_SETTLED_S: Final = 4.0
"""The exporter reads the ledger once a second."""
UNREACHED: Final = 8004
_NETWORK: Final = "10.9.3."
_STRANGERS: Final = 5
_FLOOD: Final = 120
OVERFLOWS: Final = ("syn_accept_queue_full", "ack_accept_queue_full", "abort_on_overflow")
DROPS: Final = (*OVERFLOWS, "syn_syn_queue_full", "syn_last_quarter", "other")


class Case(NamedTuple):
    """A namespace of its own for each combination."""

    cookies: int
    abort: int
    address: str
    source: str
    is_flooded: bool

    @property
    def icmp_drops(self) -> int:
        """Half-open connections that an ICMP error ends: a cookie leaves none."""
        return _STRANGERS if self.is_flooded and self.cookies < 2 else 0

    @property
    def name(self) -> str:
        family = 6 if ":" in self.address else 4
        flood = "-flood" if self.is_flooded else ""
        return f"ledger-{self.cookies}{self.abort}-{family}{flood}"


CASES: Final = [
    Case(cookies, abort, *ends, is_flooded)
    for cookies, abort, ends, is_flooded in itertools.product(
        (0, 1, 2), (0, 1), (("127.0.0.1", "127.0.0.1"), ("::1", "::1")), (False, True)
    )
    if not is_flooded or ends[0] == "127.0.0.1"
]


def make_namespace(stack: ExitStack, case: Case) -> Namespace:
    namespace = stack.enter_context(Namespace(case.name))
    namespace.sysctl("ipv4.tcp_syncookies", case.cookies)
    namespace.sysctl("ipv4.tcp_abort_on_overflow", case.abort)
    if case.is_flooded:
        # Where the SYN-ACKs to the flood's made-up sources vanish.
        namespace.add_hole("10.9.2.1")
        namespace.ip("route", "add", "default", "via", "10.9.2.2")
        namespace.ip("neighbour", "add", "10.9.2.2", "lladdr", "02:00:00:00:00:01", "dev", "hole")
        # Where nobody answers for an address: host unreachable.
        namespace.ip("link", "add", "wire", "type", "veth", "peer", "name", "end")
        namespace.ip("address", "add", f"{_NETWORK}1/24", "dev", "wire")
        for device in ("wire", "end"):
            namespace.ip("link", "set", device, "up")
    return namespace


def settled(serving: Serving, inodes: Iterable[int]) -> Scrape:
    """A reading of the ledger after which nothing has changed for some readings."""
    inodes = [*inodes]
    last: list[int] = []
    since_s = time.monotonic()

    def is_settled() -> Scrape | None:
        nonlocal last, since_s
        scrape = serving.scrape()
        name = "tcptrace_listener_drops_total"
        drops = [scrape.total(name, netns=inode) for inode in inodes]
        if drops != last:
            last, since_s = drops, time.monotonic()
        return scrape if time.monotonic() - since_s > _SETTLED_S else None

    found = until(is_settled, "the ledger to be read")
    assert found is not None
    return found


def as_counters(scrape: Scrape, netns: int) -> Mapping[str, int]:
    """What the exporter's ledger comes to in the kernel's own TcpExt counters."""
    drops = scrape.by("stage", "tcptrace_listener_drops_total", netns=netns)
    cookies = scrape.by("result", "tcptrace_syn_cookies_total", netns=netns)
    return {
        "ListenOverflows": sum(drops[stage] for stage in OVERFLOWS),
        "ListenDrops": sum(drops[stage] for stage in DROPS),
        "TCPReqQFullDrop": drops["syn_syn_queue_full"],
        "SyncookiesSent": cookies["sent"],
        "SyncookiesRecv": cookies["valid"],
        "SyncookiesFailed": cookies["invalid"],
    }


def play_all(namespaces: Mapping[Case, Namespace]) -> dict[Case, Counter[str]]:
    """Plays every case at once; returns the kernel's counters of each namespace."""
    with ThreadPoolExecutor(len(namespaces)) as pool:
        counted = pool.map(lambda item: play(*item), namespaces.items())
        return dict(zip(namespaces, counted, strict=True))


def play(case: Case, namespace: Namespace) -> Counter[str]:
    """Overflows one of three listeners; the others have traffic that fits, or none."""
    with namespace.inside(), ExitStack() as sockets:
        full = sockets.enter_context(listen((case.address, FULL), backlog=1))
        sockets.enter_context(listen((case.address, IDLE), backlog=1))
        ample = sockets.enter_context(listen((case.address, AMPLE)))
        for _ in range(3):
            with connect((case.address, AMPLE)), accept(ample):
                pass
        attempts = [Attempt((case.address, FULL), case.source) for _ in range(_ATTEMPTS)]
        until(lambda: counters()["ListenDrops"] > 0, "a drop")
        # At once, some final ACKs are dropped; by now it is full, and every SYN will be.
        before = counters()["ListenDrops"]
        attempts += [Attempt((case.address, FULL), case.source) for _ in range(_LATE)]
        until(lambda: counters()["ListenDrops"] >= before + 2 * _LATE, "drops and drops again")
        if case.is_flooded:
            send_packets(namespace, (case.address, FULL), "--syn", _FLOOD)
            _answer_strangers(case)
        accept(full).close()
        for attempt in attempts:
            attempt.socket.close()
        full.close()
        # What still comes to the closed listener is refused, and counted nowhere.
        until(lambda: not states_at(FULL, case.address)[SYN_RECV], "the last request to go")
        return counters()


def _answer_strangers(case: Case) -> None:
    """SYNs from neighbours that are not there: their SYN-ACKs come back as ICMP errors."""
    server = (f"{_NETWORK}1", UNREACHED)
    with listen(server):
        for number in range(_STRANGERS):
            send_syn((f"{_NETWORK}{10 + number}", 1234), server)
        if case.icmp_drops:
            until(lambda: states_at(UNREACHED, server[0])[SYN_RECV] == _STRANGERS, "requests")
        until(lambda: not states_at(UNREACHED, server[0])[SYN_RECV], "hosts to be unreachable")
