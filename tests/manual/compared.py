"""One fault under every tool of docs/comparison.md: an accept queue that overflows; as root.

`python -m tests.manual.compared --to DIR [TOOL]…` writes DIR/TOOL.txt: the command, then what it
printed while listen(8) got bursts of 20. bcc's tools need the kernel's headers, bpftrace BTF.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Final, NamedTuple

from faults.stage import Stage
from live.traced import TCPTRACE

if TYPE_CHECKING:
    from collections.abc import Sequence

_START_S: Final = 240.0
"""bcc compiles the kernel's headers, in a guest that is ten times slower than its host."""
_FAULT_S: Final = 9.0
_BURST_S: Final = 3.0
_QUIET_S: Final = 5.0
"""A tool that says nothing until something happens is ready after so long."""
_END_S: Final = 60.0
_MOST: Final = 20_000


class Tool(NamedTuple):
    """One tool.

    Attributes:
        command: what is run, in the server's namespace.
        ready: what it prints once it sees; "" for a tool that looks once, in the middle of a burst.
        typed: what is typed into it: at first, and to end it.
        everywhere: whether it looks at all namespaces, and only from the first one.
    """

    command: str
    ready: str
    typed: tuple[str, str] = ("", "")
    everywhere: bool = False


_NSTAT: Final = "nstat -a TcpExtListenOverflows TcpExtListenDrops TcpExtTCPReqQFullDoCookies"
_KFREE: Final = "bpftrace -e 'tracepoint:skb:kfree_skb { @[args->reason, kstack(3)] = count(); }'"
TOOLS: Final = {
    "ss": Tool("ss -ltn 'sport = :8080'", ""),
    "ss-syn-recv": Tool("ss -tan state syn-recv 'sport = :8080'", ""),
    "nstat": Tool(_NSTAT, ""),
    "tcpdump": Tool(
        "tcpdump -lni wire 'tcp port 8080 and tcp[tcpflags] & tcp-syn != 0'", "listening on"
    ),
    "tcpstates-bpfcc": Tool("tcpstates-bpfcc -L 8080", "OLDSTATE"),
    "tcplife-bpfcc": Tool("tcplife-bpfcc -L 8080", "PID"),
    "tcpsynbl-bpfcc": Tool("tcpsynbl-bpfcc", "Tracing"),
    "tcpdrop-bpfcc": Tool("tcpdrop-bpfcc", "TIME"),
    "tcpretrans-bpfcc": Tool("tcpretrans-bpfcc", "Tracing"),
    "tcpdrop-bpftrace": Tool("tcpdrop.bt", "Tracing"),
    "kfree-skb-bpftrace": Tool(_KFREE, "Attaching"),
    "dropwatch": Tool(
        "dropwatch -l kas", "dropwatch>", ("start\n", "stop\nexit\n"), everywhere=True
    ),
    "tcptrace-listeners": Tool("tcptrace listeners --once --interval 6s 8080", "tracing "),
    "tcptrace-port": Tool("tcptrace port 8080", "tracing "),
    "tcptrace-why": Tool("tcptrace why --duration 9s", "tracing "),
}


def play(name: str, tool: Tool, to: Path) -> None:
    """Makes the fault while one tool looks, and keeps what it printed."""
    with Stage() as stage:
        stage.serve(backlog=8, pause_s=0.2)
        visitors = stage.clients(stay_s=0.1)
        stage.loop.every(_BURST_S, lambda: visitors.connect(stage.here, 20), 0.1)
        # `ip netns exec` would hide /sys/kernel/tracing.
        inside = [] if tool.everywhere else ["nsenter", f"--net={stage.server.path}"]
        command = [*inside, "bash", "-c", tool.command]
        if tool.ready:
            printed = watched(stage, command, tool)
        else:
            # Right behind a burst, before accept() has come.
            stage.loop.run(2 * _BURST_S + 0.15)
            printed = subprocess.run(
                command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, text=True
            ).stdout
    (to / f"{name}.txt").write_text(f"# {tool.command}\n{printed[:_MOST]}", encoding="utf-8")


def watched(stage: Stage, command: Sequence[str], tool: Tool) -> str:
    """Runs a tool that goes on until it is ended."""
    with subprocess.Popen(
        ["stdbuf", "-oL", *command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        env=_environment(),
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        lines: list[str] = []
        reader = Thread(target=lambda: lines.extend(iter(process.stdout.readline, "")), daemon=True)  # type: ignore[union-attr]
        reader.start()
        process.stdin.write(tool.typed[0])
        process.stdin.flush()
        end_s = time.monotonic() + _START_S
        while tool.ready not in "".join(lines) and time.monotonic() < end_s:
            if process.poll() is not None:
                break
            time.sleep(0.1)
            if tool.typed[0] and time.monotonic() > end_s - _START_S + _QUIET_S:
                break
        time.sleep(1)
        stage.loop.run(_FAULT_S)
        with suppress(BrokenPipeError):  # what it printed tells why
            process.stdin.write(tool.typed[1])
            process.stdin.close()
        try:
            if process.poll() is None and not tool.typed[1]:
                subprocess.run(["pkill", "-INT", "-s", str(process.pid)], check=False)
            process.wait(_END_S)
        except subprocess.TimeoutExpired:
            subprocess.run(["pkill", "-KILL", "-s", str(process.pid)], check=False)
        reader.join(_END_S)
        return "".join(lines)


def _environment() -> dict[str, str]:
    return {
        "PATH": f"{Path(TCPTRACE).parent}:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": "/root",
        "PYTHONUNBUFFERED": "1",
        "COLUMNS": "110",
        "LC_ALL": "C.UTF-8",
    }


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.manual.compared", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="TOOL", help=", ".join(TOOLS))
    parser.add_argument("--to", type=Path, required=True, metavar="DIR")
    options = parser.parse_args()
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    for name in options.names or TOOLS:
        begun_s = time.monotonic()
        play(name, TOOLS[name], options.to)
        print(f"compared: {name}, {time.monotonic() - begun_s:.0f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
