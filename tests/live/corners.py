"""Corner cases: each plays in a network namespace of its own, under one recording by each carrier.

A corner is a function that makes traffic while the recordings go on and returns a check: what the
lives of its namespace must tell. What must hold for every corner is checked besides: the ledger
equals TcpExt, and sockets are counted by state as the kernel lists them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from faults.scrapes import last_scrape

from .lives import CLIENT_OPENING, CLOSED_FIRST, CLOSED_SECOND, SERVER_OPENING, Account, Lives
from .serving import Scrape
from .sockets import counters, states_here, take_comm_of_process, this_process
from .stage import Stage
from .traced import Trace, replayed

if TYPE_CHECKING:
    from pathlib import Path

    from .namespaces import Namespace

CARRIERS: Final = ("kprobe", "fentry")
_PORT: Final = 8001
_AT_ONCE: Final = 4
"""Corners that play side by side while they wait."""
_STATES: Final = {
    "01": "established",
    "02": "syn_sent",
    "03": "syn_recv",
    "04": "fin_wait1",
    "05": "fin_wait2",
    "06": "time_wait",
    "08": "close_wait",
    "09": "last_ack",
    "0A": "listen",
    "0B": "closing",
}
"""What /proc/net/tcp calls a state; syn_recv and new_syn_recv are one there."""


class Told(NamedTuple):
    """What one carrier's recording tells of a corner's namespace."""

    lives: Lives
    drops: Counter[str]
    """Of its listeners, by stage, without zeros."""
    scrape: Scrape
    netns: int
    attach: str

    @property
    def accepts(self) -> int:
        """What its listeners' accept() returned, as counted."""
        return self.scrape.total("tcptrace_listener_accepts_total", netns=self.netns)


Check = Callable[[Told], None]


class CornerStage(Stage):
    """Where one corner plays: in a namespace that was there before the recordings began."""

    namespace: Namespace

    def sysctl(self, name: str, value: int | str) -> None:
        """Sets `net.NAME` in the namespace."""
        self.namespace.sysctl(name, value)

    def client_closed_first(self, opening: tuple[str, ...] = CLIENT_OPENING) -> Account:
        """The account of a client that sent the first FIN, and is in TIME_WAIT."""
        states = (*opening, *CLOSED_FIRST)
        return self.client(states, "local fin", "closed", time_wait="open")

    def server_closed_second(
        self, opening: tuple[str, ...] = SERVER_OPENING, **more: Any
    ) -> Account:
        """The account of a server that closed once the client's FIN had come."""
        return self.accepted((*opening, *CLOSED_SECOND), "remote fin", "closed", **more)

    def server_closed_first(self, opening: tuple[str, ...] = SERVER_OPENING) -> Account:
        """The account of a server that sent the first FIN, and is in TIME_WAIT."""
        states = (*opening, *CLOSED_FIRST)
        return self.accepted(states, "local fin", "closed", time_wait="open")

    def server_never_accepted(self) -> Account:
        """The account of a child that waited for accept() when its listener closed."""
        states = (*SERVER_OPENING, "CLOSE")
        return self.accepted(states, "local listener_closed", "never_accepted", process=None)


@dataclass(frozen=True)
class Corner:
    """One corner case.

    Attributes:
        case: its name, for people.
        kernel: what the kernel does.
        told: what tcptrace tells of it.
        waits: most of the time it waits for the kernel's timers, and plays beside others that do.
    """

    name: str
    case: str
    kernel: str
    told: str
    play: Callable[[CornerStage], Check]
    waits: bool


def corner(
    case: str, *, kernel: str, told: str, waits: bool = False
) -> Callable[[Callable[[CornerStage], Check]], Corner]:
    """Makes a corner of the function that plays it."""

    def make(play: Callable[[CornerStage], Check]) -> Corner:
        return Corner(play.__name__, case, kernel, told, play, waits)

    return make


class Corners:
    """All chosen corners, played once under both recordings."""

    def __init__(self, corners: list[Corner], directory: Path) -> None:
        self._checks: dict[str, Check] = {}
        self._failures: dict[str, BaseException] = {}
        self._stages = {one.name: _stage(number, one) for number, one in enumerate(corners)}
        self._paths = {attach: directory / attach for attach in CARRIERS}
        self.traces: dict[str, Trace] = {}
        try:
            self._record(corners)
        finally:
            for stage in self._stages.values():
                stage.leave()
        self._lives = {attach: replayed(path) for attach, path in self._paths.items()}
        self.scrapes = {
            attach: Scrape("".join(f"{series} {value}\n" for series, value in samples.items()))
            for attach, samples in (
                (attach, last_scrape(path)) for attach, path in self._paths.items()
            )
        }

    def _record(self, corners: list[Corner]) -> None:
        with ExitStack() as stack:
            for attach, path in self._paths.items():
                trace = Trace("record", "-o", str(path), "--attach", attach)
                self.traces[attach] = stack.enter_context(trace)
            for trace in self.traces.values():
                trace.wait_until_tracing()
            for waits, at_once in ((True, _AT_ONCE), (False, 1)):
                chosen = [one for one in corners if one.waits is waits]
                with ThreadPoolExecutor(at_once) as pool:
                    list(pool.map(self._play, chosen))
            self._before = self._in_each(states_here)
            for trace in self.traces.values():
                trace.end()
            self._after = self._in_each(states_here)
            self._counters = self._in_each(counters)

    def _play(self, one: Corner) -> None:
        stage = self._stages[one.name]
        take_comm_of_process()
        stage.process = this_process()
        try:
            with stage.namespace.inside():
                self._checks[one.name] = one.play(stage)
        except BaseException as failure:  # noqa: BLE001 - told by the corner's own test
            self._failures[one.name] = failure

    def _in_each(self, read: Callable[[], Counter[str]]) -> dict[str, Counter[str]]:
        found = {}
        for name, stage in self._stages.items():
            with stage.namespace.inside():
                found[name] = read()
        return found

    def check(self, one: Corner, attach: str) -> None:
        """Compares what one carrier tells of a corner with what was done, and with the kernel."""
        if one.name in self._failures:
            raise self._failures[one.name]
        stage, scrape = self._stages[one.name], self.scrapes[attach]
        lives = Lives(life for life in self._lives[attach] if life.netns == stage.netns)
        print(lives)
        drops = scrape.by("stage", "tcptrace_listener_drops_total", netns=stage.netns)
        told = Told(lives, +Counter(drops), scrape, stage.netns, attach)
        self.traces[attach].check(lives)
        self._checks[one.name](told)
        self._check_ledger(one.name, told)
        self._check_states(one.name, told)

    def _check_ledger(self, name: str, told: Told) -> None:
        kernel = self._counters[name]
        overflows = ("syn_accept_queue_full", "ack_accept_queue_full", "abort_on_overflow")
        others = ("syn_syn_queue_full", "syn_last_quarter", "other")
        cookies = told.scrape.by("result", "tcptrace_syn_cookies_total", netns=told.netns)
        differences = told.scrape.by(
            "counter", "tcptrace_reconciliation_difference", netns=told.netns
        )
        assert sum(told.drops[stage] for stage in overflows) == kernel["ListenOverflows"]
        assert sum(told.drops[stage] for stage in overflows + others) == kernel["ListenDrops"]
        assert told.drops["syn_syn_queue_full"] == kernel["TCPReqQFullDrop"]
        assert +Counter(cookies) == +Counter(
            sent=kernel["SyncookiesSent"],
            valid=kernel["SyncookiesRecv"],
            invalid=kernel["SyncookiesFailed"],
        )
        assert len(differences) == 7
        assert set(differences.values()) == {0}

    def _check_states(self, name: str, told: Told) -> None:
        """What is told lies between what the kernel listed before and after the trace's end."""
        counted = Counter(told.scrape.by("state", "tcptrace_sockets", netns=told.netns))
        counted["syn_recv"] += counted.pop("new_syn_recv", 0)
        first, last = (
            Counter({_STATES[state]: count for state, count in listed[name].items()})
            for listed in (self._before, self._after)
        )
        beyond = {
            state: (first[state], counted[state], last[state])
            for state in _STATES.values()
            if not min(first[state], last[state])
            <= counted[state]
            <= max(first[state], last[state])
        }
        assert beyond == {}


def _stage(number: int, one: Corner) -> CornerStage:
    stage = CornerStage(one.name, f"127.1.{number}.1", _PORT, "both")
    stage.namespace = stage.make_namespace("")
    stage.netns = stage.namespace.inode
    return stage
