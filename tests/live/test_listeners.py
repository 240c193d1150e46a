"""`tcptrace listeners`: limits, peaks and owners of listeners from before and from within."""

from __future__ import annotations

import json
import socket
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Final

import pytest
from unit.runtimes import WEB, FakeRuntime

from .cgroups import Cgroup
from .namespaces import Namespace
from .sockets import accept, connect, listen, make, this_process
from .traced import Trace
from .waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_BEFORE: Final = "127.2.0.1"
_GROUP: Final = "127.2.0.2"
_WITHIN: Final = "127.2.0.3"
_AGAIN: Final = "127.2.0.4"
_UID: Final = "2c48913c-b29f-11e7-9350-020968147796"
_POD: Final = f"/kubepods.slice/kubepods-pod{_UID.replace('-', '_')}.slice"
_INSIDE: Final = "127.2.0.5"
_LIMIT: Final = 5
_BURST: Final = 4
_GROUP_LIMITS: Final = (3, 4, 6)

Told = dict[str, Any]


class Listing(Trace):
    """A running `tcptrace listeners --json`."""

    def __init__(self, attach: str, port: int, runtime: FakeRuntime) -> None:
        self.port = port
        self.runtime = runtime
        super().__init__(
            *("listeners", "--json", "--interval", "500ms", "--attach", attach),
            *("--cri-socket", str(runtime.path), str(port)),
        )

    def wait_for_listener(self, address: str, condition: Callable[[Told], object]) -> Told:
        """Waits until the last line about a listener is as wanted, and returns it."""

        def found() -> Told | None:
            assert self.process.poll() is None, self.stderr
            lines = [json.loads(line) for line in self.stdout_so_far()]
            of_address = [line for line in lines if line["address"] == address]
            return of_address[-1] if of_address and condition(of_address[-1]) else None

        told = until(found, f"{address} to be told so")
        assert told is not None
        return told


@pytest.fixture(scope="module")
def listing(
    attach: str, new_port: Callable[[], int], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Listing]:
    """Begins with two listeners there already: one, and a reuseport group."""
    port = new_port()
    with ExitStack() as stack:
        stack.enter_context(listen((_BEFORE, port), backlog=_LIMIT))
        for limit in _GROUP_LIMITS:
            member = stack.enter_context(make(_GROUP))
            member.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            member.bind((_GROUP, port))
            member.listen(limit)
        runtime = FakeRuntime(tmp_path_factory.mktemp("cri") / "socket")
        stack.callback(runtime.stop)
        yield stack.enter_context(Listing(attach, port, runtime).wait_until_tracing())


def test_what_was_there_before(listing: Listing) -> None:
    told = listing.wait_for_listener(_BEFORE, lambda _told: True)
    assert told["port"] == listing.port
    assert told["owner"] == this_process()._asdict()
    (only,) = told["sockets"]
    assert only["accept_queue"] == {"length": 0, "limit": _LIMIT, "peak": 0}
    assert only["somaxconn"] >= _LIMIT


def test_a_reuseport_group_and_each_of_its_sockets(listing: Listing) -> None:
    told = listing.wait_for_listener(_GROUP, lambda told: len(told["sockets"]) == 3)
    limits = sorted(member["accept_queue"]["limit"] for member in told["sockets"])
    assert tuple(limits) == _GROUP_LIMITS


def test_a_burst_between_two_looks_is_a_peak(listing: Listing) -> None:
    with listen((_WITHIN, listing.port), backlog=_LIMIT) as listener:
        clients = [connect((_WITHIN, listing.port)) for _ in range(_BURST)]
        for client in clients:
            accept(listener).close()
            client.close()
        told = listing.wait_for_listener(
            _WITHIN,
            lambda told: (
                told["accepts"] == _BURST and told["sockets"][0]["accept_queue"]["length"] == 0
            ),
        )
    assert told["owner"] == this_process()._asdict()
    assert told["sockets"][0]["accept_queue"]["peak"] == _BURST
    assert told["syns"] == _BURST
    assert not any(told["drops"].values())
    listing.wait_for_listener(_WITHIN, lambda told: not told["is_open"])


def test_where_a_listener_is(listing: Listing) -> None:
    """In a pod and a network namespace of its own; the container's end changes nothing."""
    path = f"{_POD}/cri-containerd-{WEB}.scope"
    with Namespace(f"listeners-{listing.port}") as namespace, namespace.inside():
        cgroup = Cgroup(path)
        with cgroup.inside():
            listener = listen((_INSIDE, listing.port))
            told = listing.wait_for_listener(
                _INSIDE, lambda told: told["container"] and told["container"]["name"]
            )
        cgroup.remove()
        assert (told["netns"], told["netns_name"]) == (namespace.inode, namespace.name)
        assert told["cgroup"] == path
        assert told["container"] == {"id": WEB, "runtime": "containerd", "name": "nginx"}
        assert told["pod"] == {
            "uid": _UID,
            "qos": "guaranteed",
            "name": "web-0",
            "namespace": "shop",
        }
        assert told["systemd"] == {"unit": None, "slice": _POD.rpartition("/")[2], "user": None}
        with listener:
            listener.listen(_LIMIT)
            told = listing.wait_for_listener(
                _INSIDE, lambda told: told["sockets"][0]["accept_queue"]["limit"] == _LIMIT
            )
        assert told["container"]["id"] == WEB


def test_a_second_listen_changes_the_limit(listing: Listing) -> None:
    with listen((_AGAIN, listing.port), backlog=_LIMIT) as listener:
        listing.wait_for_listener(_AGAIN, lambda told: told["is_open"])
        listener.listen(_LIMIT + 3)
        listing.wait_for_listener(
            _AGAIN,
            lambda told: (
                told["sockets"] and told["sockets"][0]["accept_queue"]["limit"] == _LIMIT + 3
            ),
        )
