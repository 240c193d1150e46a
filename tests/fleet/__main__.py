"""Two hosts and one Prometheus: `python -m tests.fleet`, or `make test-fleet`.

Two guests, with different kernels, run `tcptrace serve`; one is well, the other refuses
connections. A Prometheus on this machine scrapes both, evaluates what ships (its times divided),
and answers what the fleet dashboard asks.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from faults.boards import BOARDS, panels, read_board, with_values
from faults.prometheus import Prometheus, free_port
from faults.verdicts import DIVISOR, write_rules

from dashboards.build.fleet_rules import FLEET

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

CHECKOUT: Final = Path(__file__).resolve().parents[2]
RUN = str(CHECKOUT / "tests/vm/run")
METRICS: Final = 9436
HOSTS: Final = {"web-1": ("6.12", "refusing"), "web-2": ("6.1", "well")}
REFUSES: Final = "web-1"
PORT: Final = "8443"
SCRAPE_S: Final = 2.0
PLAY_S: Final = 600.0
BOOT_S = 420.0
SETTLE_S: Final = 180.0
ALERT: Final = "TcptraceAcceptQueueOverflow"
EXPECTED: Final = {
    "fleet:tcptrace_hosts:count": 2,
    "fleet:tcptrace_hosts_up:sum": 2,
    "fleet:tcptrace_hosts_refusing:count": 1,
    "fleet:tcptrace_hosts_losing_events:count": 0,
    "fleet:tcptrace_hosts_differing:count": 0,
    "fleet:tcptrace_accept_queue_fullest:max": 1,
}
"""What must come to be."""


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fleet", description=__doc__)
    parser.add_argument("--play", type=float, default=PLAY_S, metavar="SECONDS")
    options = parser.parse_args(arguments)
    ports = {name: free_port() for name in HOSTS}
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tcptrace-fleet-")))
        guests = []
        for name, (kernel, role) in HOSTS.items():
            guest = _guest(kernel, role, ports[name], options.play, scratch / f"{name}.log")
            guests.append(stack.enter_context(guest))
        targets = {name: f"127.0.0.1:{port}" for name, port in ports.items()}
        prometheus = stack.enter_context(Prometheus(scratch, SCRAPE_S, targets))
        prometheus.load(write_rules(scratch, DIVISOR))
        try:
            return _look(prometheus, guests)
        finally:
            for log in sorted(scratch.glob("web-*.log")):
                print(f"fleet: {log.stem}: {log.read_text().strip()}")


@contextmanager
def _guest(
    kernel: str, role: str, port: int, play_s: float, log: Path
) -> Iterator[subprocess.Popen[bytes]]:
    command = [
        RUN, "--timeout", f"{BOOT_S + play_s:g}",
        "--forward", f"{port}:{METRICS}", kernel,
        "python", "-m", "tests.fleet.host", role, f"{play_s:g}",
    ]  # fmt: skip
    with log.open("wb") as output:
        guest = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, cwd=CHECKOUT)
    try:
        yield guest
    finally:
        guest.send_signal(signal.SIGINT)
        guest.wait()


def _look(prometheus: Prometheus, guests: list[subprocess.Popen[bytes]]) -> int:
    def are_up() -> bool:
        assert all(guest.poll() is None for guest in guests), "a guest has ended"
        return _value(prometheus, "fleet:tcptrace_hosts_up:sum") == len(HOSTS)

    prometheus.wait_for(
        are_up,
        "both hosts",
        BOOT_S,
    )
    print(f"fleet: Prometheus scrapes {len(HOSTS)} hosts", flush=True)
    begun_s = time.time()
    try:
        prometheus.wait_for(
            lambda: _firing(prometheus) == {(ALERT, REFUSES)}, f"{ALERT} of {REFUSES}", SETTLE_S
        )
    finally:
        print(f"fleet: firing: {_firing(prometheus)}", flush=True)
    prometheus.wait_for(
        lambda: all(_value(prometheus, name) == value for name, value in EXPECTED.items()),
        "what is expected over all hosts",
        SETTLE_S,
    )
    for rule in FLEET:
        for found in prometheus.query(rule.record):
            labels = {k: v for k, v in found.labels.items() if k not in ("__name__", "job")}
            print(f"  {rule.record} {labels or ''} {found.points[0][1]:g}")
    return _ask_the_dashboard(prometheus, begun_s)


def _value(prometheus: Prometheus, expr: str) -> float | None:
    found = prometheus.query(expr)
    return found[0].points[0][1] if len(found) == 1 else None


def _firing(prometheus: Prometheus) -> set[tuple[str, str]]:
    """Which alerts of which hosts."""
    found = prometheus.query('ALERTS{alertstate="firing"}')
    return {(one.labels["alertname"], one.labels["instance"]) for one in found}


class Answer(NamedTuple):
    """What one query of the dashboard found."""

    title: str
    series: int
    hosts: set[str]
    expected: set[str]


def _answers(prometheus: Prometheus, begun_s: float) -> Iterator[Answer]:
    (board,) = (read_board(path) for path in BOARDS if path.stem == "tcptrace-fleet")
    for panel in panels(board):
        for target in panel.get("targets", ()):
            expr = with_values(target["expr"], SCRAPE_S)
            found = prometheus.query_range(expr, begun_s, time.time(), SCRAPE_S)
            hosts = {one.labels["instance"] for one in found if "instance" in one.labels}
            yield Answer(panel["title"], len(found), hosts, _expected_hosts(expr, panel["title"]))


def _ask_the_dashboard(prometheus: Prometheus, begun_s: float) -> int:
    """Every query is answered; those by host with both, those of what refuses with the one."""
    end_s = time.monotonic() + SETTLE_S
    while True:
        answers = list(_answers(prometheus, begun_s))
        wrong = [one.title for one in answers if one.hosts != one.expected]
        if not wrong or time.monotonic() > end_s:
            break
        time.sleep(SCRAPE_S)
    for one in answers:
        told = ", ".join(sorted(one.hosts)) or "no host apart"
        print(f"  {one.title}: {one.series} series, {told}")
    print(f"fleet: {len(answers)} queries of the dashboard; wrong hosts: {wrong or 'none'}")
    return 1 if wrong else 0


def _expected_hosts(expr: str, title: str) -> set[str]:
    if "by (comm, port)" in expr or "by (alertname)" in expr or "by (version" in expr:
        return set()
    if ("refusals" in expr and "fleet" not in expr) or title == "Alerts that fire":
        return {REFUSES}
    if "topk" in expr and "> 0" not in expr:
        return set(HOSTS)
    return set()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
