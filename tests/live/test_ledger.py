"""The ledger agrees with the kernel's own counters, exactly, stage by stage."""

from __future__ import annotations

import itertools
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final, NamedTuple

import pytest

from .namespaces import Namespace
from .packets import send_syn
from .serving import Scrape, Serving
from .sockets import Attempt, accept, connect, counters, listen, states_at
from .waiting import until

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterator

_FULL: Final = 8001
_IDLE: Final = 8002
_AMPLE: Final = 8003
_ATTEMPTS: Final = 8
_LATE: Final = 3
_SETTLED_S: Final = 4.0
"""The exporter reads the ledger once a second."""
_SYN_RECV: Final = "03"
_UNREACHED: Final = 8004
_NETWORK: Final = "10.9.3."
_STRANGERS: Final = 5
_FLOOD: Final = 120
_TINY_RING: Final = "8k"
_OVERFLOWS: Final = ("syn_accept_queue_full", "ack_accept_queue_full", "abort_on_overflow")
_DROPS: Final = (*_OVERFLOWS, "syn_syn_queue_full", "syn_last_quarter", "other")


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


class Told(NamedTuple):
    """What the exporter and the kernel say of one namespace."""

    scrape: Scrape
    netns: int
    kernel: Counter[str]
    lost: int


@pytest.fixture(scope="module", params=["ring", "tiny-ring"])
def told(request: pytest.FixtureRequest) -> Iterator[dict[Case, Told]]:
    """All cases played at once under one exporter, with a ring that is large enough or not."""
    ring = ["--ring-size", _TINY_RING] if request.param == "tiny-ring" else []
    with ExitStack() as stack:
        namespaces = {case: _namespace(stack, case) for case in CASES}
        serving = stack.enter_context(Serving(*ring)).wait_until_tracing()
        with ThreadPoolExecutor(len(CASES)) as pool:
            kernels = dict(
                zip(
                    CASES,
                    pool.map(lambda case: _play(case, namespaces[case]), CASES),
                    strict=True,
                )
            )
        reads = _settled(serving, namespaces)
        lost = reads.total("tcptrace_events_lost_total")
        yield {case: Told(reads, namespaces[case].inode, kernels[case], lost) for case in CASES}


def _namespace(stack: ExitStack, case: Case) -> Namespace:
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


def _settled(serving: Serving, namespaces: dict[Case, Namespace]) -> Scrape:
    """A reading of the ledger after which nothing has changed for some readings."""
    inodes = [namespace.inode for namespace in namespaces.values()]
    last: list[int] = []
    since_s = time.monotonic()

    def settled() -> Scrape | None:
        nonlocal last, since_s
        scrape = serving.scrape()
        name = "tcptrace_listener_drops_total"
        drops = [scrape.total(name, netns=inode) for inode in inodes]
        if drops != last:
            last, since_s = drops, time.monotonic()
        return scrape if time.monotonic() - since_s > _SETTLED_S else None

    found = until(settled, "the ledger to be read")
    assert found is not None
    return found


def _play(case: Case, namespace: Namespace) -> Counter[str]:
    """Overflows one of three listeners; the others have traffic that fits, or none."""
    with namespace.inside(), ExitStack() as sockets:
        full = sockets.enter_context(listen((case.address, _FULL), backlog=1))
        sockets.enter_context(listen((case.address, _IDLE), backlog=1))
        ample = sockets.enter_context(listen((case.address, _AMPLE)))
        for _ in range(3):
            with connect((case.address, _AMPLE)), accept(ample):
                pass
        attempts = [Attempt((case.address, _FULL), case.source) for _ in range(_ATTEMPTS)]
        until(lambda: counters()["ListenDrops"] > 0, "a drop")
        # At once, some final ACKs are dropped; by now it is full, and every SYN will be.
        before = counters()["ListenDrops"]
        attempts += [Attempt((case.address, _FULL), case.source) for _ in range(_LATE)]
        until(lambda: counters()["ListenDrops"] >= before + 2 * _LATE, "drops and drops again")
        if case.is_flooded:
            _flood(case, namespace)
            _answer_strangers(case)
        accept(full).close()
        for attempt in attempts:
            attempt.socket.close()
        full.close()
        # What still comes to the closed listener is refused, and counted nowhere.
        until(lambda: not states_at(_FULL, case.address)[_SYN_RECV], "the last request to go")
        return counters()


def _flood(case: Case, namespace: Namespace) -> None:
    """A bounded SYN flood from made-up addresses: hping3 at 500 SYNs a second."""
    done = subprocess.run(
        ["ip", "netns", "exec", namespace.name, "hping3", "--quiet", "--syn", "--rand-source",
         "--count", str(_FLOOD), "--interval", "u2000", "--destport", str(_FULL), case.address],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert f"{_FLOOD} packets transmitted" in done.stdout + done.stderr, done.stderr


def _answer_strangers(case: Case) -> None:
    """SYNs from neighbours that are not there: their SYN-ACKs come back as ICMP errors."""
    server = (f"{_NETWORK}1", _UNREACHED)
    with listen(server):
        for number in range(_STRANGERS):
            send_syn((f"{_NETWORK}{10 + number}", 1234), server)
        if case.icmp_drops:
            until(lambda: states_at(_UNREACHED, server[0])[_SYN_RECV] == _STRANGERS, "requests")
        until(lambda: not states_at(_UNREACHED, server[0])[_SYN_RECV], "hosts to be unreachable")


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_equals_the_kernels_counters(told: dict[Case, Told], case: Case) -> None:
    scrape, netns, kernel, _ = told[case]
    drops = scrape.by("stage", "tcptrace_listener_drops_total", netns=netns)
    cookies = scrape.by("result", "tcptrace_syn_cookies_total", netns=netns)
    assert kernel["ListenOverflows"] > 0
    assert sum(drops[stage] for stage in _OVERFLOWS) == kernel["ListenOverflows"]
    assert sum(drops[stage] for stage in _DROPS) == kernel["ListenDrops"]
    assert drops["syn_syn_queue_full"] == kernel["TCPReqQFullDrop"]
    assert cookies == {
        "sent": kernel["SyncookiesSent"],
        "valid": kernel["SyncookiesRecv"],
        "invalid": kernel["SyncookiesFailed"],
    }
    assert drops["other"] == case.icmp_drops
    if case.abort and not case.cookies:
        assert drops["ack_accept_queue_full"] == 0


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_says_itself_that_nothing_differs(told: dict[Case, Told], case: Case) -> None:
    scrape, netns, _, _ = told[case]
    differences = scrape.by("counter", "tcptrace_reconciliation_difference", netns=netns)
    assert len(differences) == 7
    assert set(differences.values()) == {0}


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_every_drop_is_on_its_listener(told: dict[Case, Told], case: Case) -> None:
    scrape, netns, _, _ = told[case]
    drops = scrape.by("port", "tcptrace_listener_drops_total", netns=netns)
    assert drops[str(_FULL)] > 0
    assert drops[str(_IDLE)] == drops[str(_AMPLE)] == 0
    other = scrape.values(
        "tcptrace_listener_drops_total", netns=netns, port=_UNREACHED, stage="other"
    )
    assert sum(other.values()) == case.icmp_drops
    assert scrape.value("tcptrace_listener_syns_total", netns=netns, port=_IDLE) == 0
    assert (
        scrape.total("tcptrace_listener_syns_total", netns=netns, port=_AMPLE)
        + scrape.total("tcptrace_syn_cookies_total", netns=netns, port=_AMPLE, result="sent")
        == 3
    )


def test_events_are_lost_only_by_the_tiny_ring(
    told: dict[Case, Told], request: pytest.FixtureRequest
) -> None:
    lost = next(iter(told.values())).lost
    assert (lost > 0) == ("tiny-ring" in request.node.name)
