"""Under attack by a local process the exporter stays up, bounded and right."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import urllib.request
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import pytest

from .hostile import FIRST_PORT, LISTENERS
from .namespaces import Namespace, tool
from .serving import Scrape, Serving
from .sockets import counters
from .traced import Trace
from .waiting import DEADLINE_S, until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.once

_ATTACK_S: Final = 15
_NAMESPACES: Final = 150
_MOST_RSS_MB: Final = 150
_SNAPSHOT_S: Final = 60.0
_POINTER: Final = re.compile(r"ffff[89a-f][0-9a-f]{11}|1844[67]\d{16}")
"""A kernel address, in hexadecimal or decimal."""
_FORMATS: Final = (
    "text/plain",
    "application/openmetrics-text; version=1.0.0",
    "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited",
)
_STATES: Final = {
    "ESTAB": "established", "SYN-SENT": "syn_sent", "SYN-RECV": "syn_recv", "LISTEN": "listen",
    "FIN-WAIT-1": "fin_wait1", "FIN-WAIT-2": "fin_wait2", "TIME-WAIT": "time_wait",
    "CLOSE-WAIT": "close_wait", "LAST-ACK": "last_ack", "CLOSING": "closing",
}  # fmt: skip
"""As ss writes them, and as the metric does."""


class Attack(NamedTuple):
    """An attack that has been, whose sockets are still there."""

    serving: Serving
    listing: Trace
    namespace: Namespace
    connections: int
    namespaces: int
    dmesg: str
    """What the kernel has logged meanwhile."""


def _dmesg() -> list[str]:
    return tool("dmesg").splitlines()


@pytest.fixture(scope="module")
def attack() -> Iterator[Attack]:
    logged = _dmesg()
    with ExitStack() as stack:
        namespace = stack.enter_context(Namespace("hostile"))
        serving = stack.enter_context(Serving())
        listing = stack.enter_context(Trace("listeners", "--interval", "2s"))
        serving.wait_until_tracing()
        listing.wait_until_tracing()
        with namespace.inside():
            attacker = stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-m", "live.hostile", str(_ATTACK_S), str(_NAMESPACES)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                    cwd=Path(__file__).parents[1],
                )
            )
        stack.callback(attacker.kill)
        assert attacker.stdout is not None
        word, connections, namespaces = attacker.stdout.readline().split()
        assert word == "done"
        print(f"{connections} connections, {namespaces} namespaces")
        fresh = "\n".join(_dmesg()[len(logged) :])
        yield Attack(serving, listing, namespace, int(connections), int(namespaces), fresh)


def test_it_attacked(attack: Attack) -> None:
    assert attack.connections > 100
    assert attack.namespaces == _NAMESPACES


def test_it_is_up_and_bounded(attack: Attack) -> None:
    for trace in (attack.serving, attack.listing):
        assert trace.process.poll() is None, trace.stderr
        status = Path(f"/proc/{trace.pid}/status").read_text()
        peak_kb = int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0])
        print(f"resident at most: {peak_kb / 1024:.0f} MB")
        assert peak_kb / 1024 < _MOST_RSS_MB


def test_drops_are_the_kernels(attack: Attack) -> None:
    """Retransmitted SYNs go on being dropped, so that they are read between two equal readings."""

    def figures() -> tuple[int, int]:
        with attack.namespace.inside():
            found = counters()
        return found["ListenDrops"], found["ListenOverflows"]

    def agrees() -> bool:
        before = figures()
        scrape = attack.serving.scrape()
        told = scrape.total("tcptrace_listener_drops_total", netns=attack.namespace.inode)
        return before == figures() and told == before[0] > LISTENERS

    until(agrees, "the drops to be the kernel's", _SNAPSHOT_S)
    differences = attack.serving.scrape().values(
        "tcptrace_reconciliation_difference", netns=attack.namespace.inode
    )
    assert differences
    assert set(differences.values()) == {0}


def test_counts_are_those_of_ss_after_the_next_snapshot(attack: Attack) -> None:
    said: list[object] = []

    def agrees() -> bool:
        before = _by_ss(attack.namespace)
        told = _told(attack.serving.scrape(), attack.namespace.inode)
        said[:] = [before, told]
        return before == _by_ss(attack.namespace) and told == before

    try:
        until(agrees, "the counts to be those of ss", 2 * _SNAPSHOT_S)
    finally:
        print(*said, sep="\n")
    assert said[0]["listen"] == LISTENERS + 1  # type: ignore[index]


def _by_ss(namespace: Namespace) -> Counter[str]:
    lines = tool("ip", "netns", "exec", namespace.name, "ss", "-tanH").splitlines()
    return Counter(_STATES[line.split()[0]] for line in lines)


def _told(scrape: Scrape, netns: int) -> Counter[str]:
    found = scrape.by("state", "tcptrace_sockets", netns=netns)
    merged = Counter[str]()
    for state, count in found.items():
        merged["syn_recv" if state == "new_syn_recv" else state] += count
    return +merged


@pytest.mark.parametrize("accept", _FORMATS, ids=["text", "openmetrics", "protobuf"])
def test_metrics_are_escaped_and_hide_pointers(attack: Attack, accept: str) -> None:
    request = urllib.request.Request(attack.serving.url, headers={"Accept": accept})  # noqa: S310
    with urllib.request.urlopen(request, timeout=DEADLINE_S) as answer:  # noqa: S310 - ours
        raw = answer.read()
    assert b"\\x1b[2J" in raw
    assert b"\x1b[2J" not in raw.replace(b"\\x1b[2J", b"")
    assert "\u202e".encode() not in raw
    if "protobuf" not in accept:
        text = raw.decode()
        assert all(line.isprintable() for line in text.split("\n"))
        assert not _POINTER.search(text)


def test_the_table_is_escaped_and_hides_pointers(attack: Attack) -> None:
    until(
        lambda: any(str(FIRST_PORT) in line for line in attack.listing.stdout_so_far()),
        "the listeners to be shown",
    )
    attack.listing.process.send_signal(signal.SIGINT)
    assert attack.listing.wait() == 0
    shown = attack.listing.stdout_so_far()
    assert any("\\x1b[2J" in line for line in shown)
    assert all(line.isprintable() for line in shown)
    assert not any(map(_POINTER.search, shown))


def test_the_kernel_has_nothing_to_complain_of(attack: Attack) -> None:
    assert not re.findall(r"(?i).*(?:bpf|kprobe|tcptrace|warning|bug:|oops).*", attack.dmesg)


def test_it_ends_tidily(attack: Attack) -> None:
    attack.serving.end()
