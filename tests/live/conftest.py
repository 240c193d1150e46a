"""What every live test needs; nothing here ever skips: a guest that can't run a test fails it."""

from __future__ import annotations

import itertools
import os
import shutil
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from .corners import CARRIERS, Corner, Corners
from .probes import Probes
from .sockets import (
    LOOPBACK,
    TIME_WAIT,
    accept,
    connect,
    listen,
    states_at,
    wait_for_fin,
    wait_until_quiet,
)
from .stage import Played, Scenario
from .traced import TCPTRACE, Trace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_TOOLS = ("bpftool", "ip", "mount", "ss", "tc", "umount", TCPTRACE)
_TOOLS_OF = {
    "test_containers": ("crun",),
    "test_ledger": ("hping3",),
    "test_nginx": ("ab", "nginx"),
    "test_prometheus": ("openssl", "prometheus", "promtool"),
    "test_verdicts": ("hping3", "nft"),
}
"""Another release's root, with another bcc, has not all of them: it runs a part of the suite."""
_LAST_OF_THE_MINUTE = ("test_tells_of_the_end_of_timewait", "test_leaves_no_probe_when_killed")
_FIRST = (
    "test_collector",
    "test_doctor",
    "test_filters",
    "test_recording",
    "test_ledger",
    "test_snapshot",
    "test_prometheus",
    "test_top",
    "test_otlp",
    "test_page",
    "test_hostile",
    "test_overload",
    "test_verify",
    "test_verdicts",
    "test_corners_opening",
    "test_corners_closing",
    "test_corners_processes",
    *_LAST_OF_THE_MINUTE,
)
"""Modules and tests before all that are played by each carrier, while TIME_WAIT goes by."""
_PORTS = itertools.count(20_001)
"""Below the ephemeral range, so that no client's own port is ever a traced one."""


@pytest.fixture(scope="session", autouse=True)
def _prerequisites(request: pytest.FixtureRequest) -> None:
    assert os.geteuid() == 0, "the live suite must run as root"
    modules = {item.path.stem for item in request.session.items}
    tools = {*_TOOLS, *(tool for module in modules for tool in _TOOLS_OF.get(module, ()))}
    missing = sorted(tool for tool in tools if shutil.which(tool) is None)
    assert not missing, f"the live suite needs {', '.join(missing)}"
    first_ephemeral = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    assert first_ephemeral > 22_000, "the suite's ports lie in the ephemeral range"


@pytest.fixture(scope="session", params=CARRIERS)
def attach(request: pytest.FixtureRequest) -> str:
    """What carries the probes."""
    return str(request.param)


@pytest.fixture(scope="session")
def new_port() -> Callable[[], int]:
    """Gives a port that no other trace of the session has used."""
    return lambda: next(_PORTS)


@pytest.fixture
def port(new_port: Callable[[], int]) -> int:
    """A port of this test's own."""
    return new_port()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Makes a test of each scenario and of each corner of a module."""
    for name, kind in (("part", Scenario), ("corner", Corner)):
        if name in metafunc.fixturenames:
            found = [one for one in vars(metafunc.module).values() if isinstance(one, kind)]
            metafunc.parametrize(name, found, ids=[one.name for one in found])


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Orders the tests: see _FIRST; then what the one carrier has played, then the other."""
    items.sort(key=_turn)


def _turn(item: pytest.Item) -> int:
    if not isinstance(item, pytest.Function):
        return 0
    name, module = item.originalname, item.module.__name__.rpartition(".")[2]
    for first in (name, module):
        if first in _FIRST:
            return _FIRST.index(first)
    carrier = item.callspec.params.get("attach") if hasattr(item, "callspec") else None
    return 0 if carrier is None else len(_FIRST) + CARRIERS.index(carrier)


@pytest.fixture(scope="session")
def played(request: pytest.FixtureRequest, attach: str, new_port: Callable[[], int]) -> Played:
    """All scenarios that were chosen, played under one trace."""
    items = [item for item in request.session.items if isinstance(item, pytest.Function)]
    calls = [item.callspec.params for item in items if hasattr(item, "callspec")]
    parts = [params.get("part") for params in calls if params.get("attach") == attach]
    chosen = [part for part in parts if isinstance(part, Scenario)]
    return Played(chosen, new_port(), attach)


@pytest.fixture(scope="session")
def corners(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Corners:
    """All corners that were chosen, played under one recording by each carrier."""
    items = [item for item in request.session.items if isinstance(item, pytest.Function)]
    calls = [item.callspec.params for item in items if hasattr(item, "callspec")]
    found = [params.get("corner") for params in calls]
    chosen = {one.name: one for one in found if isinstance(one, Corner)}
    return Corners([*chosen.values()], tmp_path_factory.mktemp("corners"))


class LongTraces(NamedTuple):
    """Two traces at once, of one connection that is in TIME_WAIT."""

    by_carrier: dict[str, Trace]
    before: Probes
    """What the kernel held before they began."""


@pytest.fixture(scope="session")
def long_traces(new_port: Callable[[], int]) -> Iterator[LongTraces]:
    """Begins the minute of TIME_WAIT that goes by under other tests."""
    port = new_port()
    before = Probes.now()
    with ExitStack() as kept:
        traces = {
            attach: kept.enter_context(Trace("port", str(port), "--json", "--attach", attach))
            for attach in CARRIERS
        }
        for trace in traces.values():
            trace.wait_until_tracing()
        with listen((LOOPBACK, port)) as listener:
            client = connect((LOOPBACK, port))
            with accept(listener) as server:
                client.close()
                wait_for_fin(server)
        wait_until_quiet(port, LOOPBACK)
        assert states_at(port, LOOPBACK) == {TIME_WAIT: 1}
        yield LongTraces(traces, before)
